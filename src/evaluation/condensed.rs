//! Whether unjudged documents could explain a drop.
//!
//! Why: where judges looked only at what earlier systems found (a pool), a candidate that finds new, good documents
//! scores worse. Condensed lists, from which unjudged documents are removed, score it without them (Sakai,
//! *Alternatives to Bpref*, SIGIR 2007). With positives only, every other document is unjudged and the share of
//! unjudged documents is another name for precision: then nothing can be said.

use super::dataset::Dataset;
use super::metric::{Gains, Judgments, Metric};
use super::run::Run;

/// How many documents of a list are looked at.
pub const DEPTH: usize = 10;

/// Whether at least half of the judged queries have a document that was judged and found not relevant.
pub fn pooled(dataset: &Dataset) -> bool {
    let rejected = dataset.judged().filter(|(_, judgments)| judgments.has_rejected()).count();
    rejected > 0 && rejected.saturating_mul(2) >= dataset.judged_count()
}

/// Mean over the judged queries of the share of the first ten places with a document that nobody judged for the query.
pub fn unjudged_share(dataset: &Dataset, run: &Run) -> f64 {
    let of_query = |(query, judgments): (&str, &Judgments)| {
        let list = run.list(query).unwrap_or_default();
        list.iter().take(DEPTH).filter(|hit| !judgments.knows(hit.document)).count()
    };
    let unjudged: usize = dataset.judged().map(of_query).sum();
    let places = dataset.judged_count().saturating_mul(DEPTH);
    if places == 0 { 0.0 } else { unjudged as f64 / places as f64 }
}

/// Value of each judged query on its condensed list.
pub fn condensed(dataset: &Dataset, metric: Metric, run: &Run) -> Vec<f64> {
    let of_query = |(query, judgments): (&str, &Judgments)| {
        let list = run.list(query).unwrap_or_default();
        let judged = list.iter().map(|hit| hit.document).filter(|document| judgments.knows(document));
        metric.value(&Gains::of(judgments, judged))
    };
    dataset.judged().map(of_query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::dataset::Files;
    use crate::evaluation::run::Hit;

    fn dataset(qrels: &str) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        std::fs::write(
            files.queries.as_ref().unwrap(),
            "{\"_id\":\"q1\",\"text\":\"t\"}\n{\"_id\":\"q2\",\"text\":\"t\"}\n",
        )
        .unwrap();
        std::fs::write(&files.qrels, format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
        Dataset::read(&files).unwrap()
    }

    fn run(documents: &[&str]) -> Run {
        let hits = documents.iter().zip(0..).map(|(d, i)| Hit { document: (*d).to_owned(), score: -f64::from(i) });
        let mut run = Run::default();
        run.insert("q1".to_owned(), hits.collect());
        run
    }

    #[test]
    fn half_of_the_queries_with_a_rejected_document_are_a_pool() {
        assert!(pooled(&dataset("q1\ta\t1\nq1\tb\t0\nq2\ta\t1\n")));
        assert!(!pooled(&dataset("q1\ta\t1\nq2\ta\t1\n")));
        // In the pool and not judged is not judged.
        assert!(!pooled(&dataset("q1\ta\t1\nq1\tb\t-1\nq2\ta\t1\n")));
    }

    #[test]
    fn condensed_lists_leave_unjudged_documents_out() {
        let set = dataset("q1\ta\t1\nq1\tb\t0\nq1\tc\t-1\nq2\ta\t1\n");
        let found = run(&["x", "c", "b", "y", "a"]);
        assert_eq!(unjudged_share(&set, &found), 3.0 / 20.0);
        let metric: Metric = "mrr".parse().unwrap();
        assert_eq!(condensed(&set, metric, &found), [0.5, 0.0]);
        let deep: Vec<String> = (0..12).map(|i| format!("x{i}")).collect();
        let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
        assert_eq!(unjudged_share(&set, &run(&deep)), 0.5);
    }
}
