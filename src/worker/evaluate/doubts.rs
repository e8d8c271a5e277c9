//! Reasons to doubt what went into a run: inputs that are well formed and make one arm look better than it is.
//!
//! Why sentences and no errors: each of them can be meant. A bad index finds as little as one with other ids, and a run of
//! five documents may be all that a server gives.
//!
//! Invariant: nothing here enters a verdict.

use std::collections::BTreeMap;

use super::measure::Answered;
use super::plan::Gate;
use crate::evaluation::dataset::Dataset;
use crate::evaluation::likeness::DEPTH;
use crate::evaluation::run::Run;
use crate::evaluation::slice::{clusters, short_name};
use crate::evaluation::verdict::Method;

/// Lists of the largest length, as a share of all, from which on that length is no chance: where an arm simply finds no more,
/// its lists have many lengths, and hardly two of them the largest.
const CUT: f64 = 0.1;
/// An arm of other ids finds a judged document among its first ten for less than this share of the queries for which the
/// other arm does, …
const FINDS: f64 = 0.5;
/// … and shares less than this of them with the other arm. Both must hold: a bad index finds little, but mostly among what
/// a good one finds too. By chance some ids meet: numbers of a small corpus, queries that resemble the next one.
const SHARES: f64 = 0.25;
/// Queries for which the other arm must find one, so that chance is no finding.
const LEAST_FOUND: usize = 20;
/// Share of the queries from which on a cluster is too large to be one of many.
const LARGE: f64 = 0.1;

/// What deserves a look, in sentences. `overlap`: share of the first ten documents that both arms have.
pub fn of(
    dataset: &Dataset,
    gate: &Gate,
    candidate: &Answered,
    baseline: Option<&Answered>,
    overlap: Option<f64>,
) -> Vec<String> {
    let of_both = |baseline: &Answered| {
        // Of equal arms the rest says nothing more.
        same(candidate, baseline).map_or_else(
            || {
                let arms = [("candidate", &candidate.run), ("baseline", &baseline.run)];
                let other_ids = overlap.and_then(|overlap| other_ids(dataset, arms, overlap));
                cut(dataset, gate, arms).into_iter().chain(other_ids).collect()
            },
            |same| vec![same],
        )
    };
    let bounded = baseline.is_some() || gate.judging.rules.iter().any(|rule| rule.confident());
    let large = Some(gate).filter(|_| bounded).and_then(|gate| large_cluster(dataset, gate));
    baseline.map(of_both).into_iter().flatten().chain(large).collect()
}

type Named<'a> = (&'static str, &'a Run);

/// Both arms are one: nothing is compared. A revision tells also how an index is searched; a run file has no fingerprint.
fn same(candidate: &Answered, baseline: &Answered) -> Option<String> {
    let identity = &candidate.identity;
    let what = match identity.fingerprint.as_str() {
        "" => "run".to_owned(),
        _ => format!("revision {}", identity.revision),
    };
    let digest: String = identity.content_digest.chars().take(12).collect();
    (*identity == baseline.identity).then(|| {
        format!(
            "Candidate and baseline are the same {what} (content digest {digest}): nothing is compared. Look at what names \
             the two arms."
        )
    })
}

/// The lists of one arm end at a length that those of the other and a metric go beyond.
fn cut(dataset: &Dataset, gate: &Gate, arms: [Named<'_>; 2]) -> Option<String> {
    let metrics = gate.judging.rules.iter().map(|rule| rule.metric()).filter(|metric| metric.higher_is_better());
    let deepest = metrics.max_by_key(|metric| metric.depth())?;
    let lengths =
        |run: &Run| -> Vec<usize> { dataset.judged().filter_map(|(query, _)| Some(run.list(query)?.len())).collect() };
    let [(first, a), (second, b)] = arms.map(|(name, run)| (name, lengths(run)));
    let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
    let (short, lengths, long, most) =
        if longest(&a) < longest(&b) { (first, &a, second, longest(&b)) } else { (second, &b, first, longest(&a)) };
    let end = longest(lengths);
    // A list that has lost the document of its own query is one shorter.
    let ends_there = end.saturating_sub(usize::from(gate.counting.ignore_identical_ids));
    let cut = lengths.iter().filter(|length| **length >= ends_there).count();
    let doubted = end < most && end < deepest.depth() && cut as f64 >= CUT * lengths.len() as f64;
    doubted.then(|| {
        format!(
            "No list of the {short} has more than {end} documents, the {long}'s have up to {most}, and {deepest} looks \
             further down: a run that was cut makes the other arm look better."
        )
    })
}

/// One arm finds almost nothing that is judged, and almost nothing of what the other finds.
fn other_ids(dataset: &Dataset, arms: [Named<'_>; 2], overlap: f64) -> Option<String> {
    let finds = |run: &Run| {
        let found = |query| run.list(query).unwrap_or_default().iter().take(DEPTH);
        dataset.judged().filter(|(query, judged)| found(query).any(|at| judged.names(at.document))).count()
    };
    let [(first, a), (second, b)] = arms.map(|(name, run)| (name, finds(run)));
    let (less, few, more, many) = if a < b { (first, a, second, b) } else { (second, b, first, a) };
    let doubted = many >= LEAST_FOUND && (few as f64) < FINDS * many as f64 && overlap < SHARES;
    doubted.then(|| {
        format!(
            "Among its first ten documents the {less} finds a judged one for {few} of {} queries, the {more} for {many}, and \
             the two share {:.0} %: the {less} may name documents or queries by other ids than the judgments do. Compare a \
             few lines before you believe the difference.",
            dataset.judged_count(),
            overlap * 100.0
        )
    })
}

/// One cluster is so large that few of them decide.
fn large_cluster(dataset: &Dataset, gate: &Gate) -> Option<String> {
    let statistics = &gate.judging.statistics;
    let key = statistics.cluster_by.as_deref()?;
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for cluster in clusters(dataset, key) {
        let size = sizes.entry(cluster).or_default();
        *size = size.saturating_add(1);
    }
    let (largest, queries) = (sizes.into_values().max()?, dataset.judged_count());
    // Measured with half of the queries in one cluster and a candidate that is worse by exactly the margin.
    let so = match statistics.method {
        Method::PairedT => {
            "the bounds of PairedT are then too narrow (measured with one half: 29 % passed, where 5 % may)"
        }
        Method::PairedSignFlip => {
            "few clusters then decide; PairedSignFlip was measured near its error rate (with one half: 5.7 % for 5 %)"
        }
        Method::BoundedMean => "BoundedMean also assumes that the size of a cluster says nothing about what it loses",
    };
    let share = largest as f64 / queries as f64;
    (largest > 1 && share > LARGE).then(|| {
        let key = short_name(key);
        format!(
            "The largest cluster by `{key}` holds {largest} of {queries} queries ({:.0} %). clusterBy assumes many clusters \
             of similar size: {so}.",
            share * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::measure::Identity;
    use super::super::plan::metric_flag;
    use super::*;
    use crate::api::gate::{Baseline, Statistics};
    use crate::evaluation::dataset::Files;
    use crate::evaluation::run::Hit;
    use crate::worker::job::Counting;

    const QUERIES: usize = 100;

    /// Document `d<i>` is relevant for query `q<i>`; `source` of each query.
    fn dataset(source: impl Fn(usize) -> usize) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        let of = |i| format!("{{\"_id\":\"q{i}\",\"text\":\"t\",\"metadata\":{{\"source\":{}}}}}\n", source(i));
        std::fs::write(files.queries.as_ref().unwrap(), (0..QUERIES).map(of).collect::<String>()).unwrap();
        let judgments: String = (0..QUERIES).map(|i| format!("q{i}\td{i}\t1\n")).collect();
        std::fs::write(&files.qrels, format!("query-id\tcorpus-id\tscore\n{judgments}")).unwrap();
        Dataset::read(&files).unwrap()
    }

    /// For query `i` the documents `d<n>` of `list(i)`.
    fn arm(digest: &str, list: impl Fn(usize) -> Vec<usize>) -> Answered {
        let mut run = Run::default();
        for i in 0..QUERIES {
            let hits = list(i)
                .into_iter()
                .zip(1..)
                .map(|(d, rank)| Hit { document: format!("d{d}"), score: 1.0 / f64::from(rank) });
            run.insert(format!("q{i}"), hits.collect());
        }
        let identity =
            Identity { revision: "run".to_owned(), content_digest: digest.to_owned(), fingerprint: String::new() };
        Answered { identity, run, answered: QUERIES, domains: BTreeMap::new(), silhouette: Ok(None) }
    }

    fn gate(metric: &str, statistics: Statistics) -> Gate {
        Gate::new(vec![metric_flag(metric).unwrap()], statistics, None, None, Baseline::Stable).unwrap()
    }

    fn doubts(metric: &str, candidate: &Answered, baseline: &Answered, overlap: f64) -> Vec<String> {
        let gate = gate(metric, Statistics::default());
        of(&dataset(|i| i), &gate, candidate, Some(baseline), Some(overlap))
    }

    fn first(n: usize) -> impl Fn(usize) -> Vec<usize> {
        move |i| (i..i + n).collect()
    }

    #[test]
    fn a_run_that_was_cut_above_a_metric_is_doubted() {
        let (short, long) = (arm("a", first(5)), arm("b", first(20)));
        let expected = "No list of the baseline has more than 5 documents, the candidate's have up to 20, and recall@10 looks \
                        further down: a run that was cut makes the other arm look better.";
        assert_eq!(doubts("recall@10:margin=0.1", &long, &short, 1.0), [expected]);
        let turned = &doubts("map:margin=0.1", &short, &long, 1.0)[0];
        assert!(turned.starts_with("No list of the candidate has more than 5 documents, the baseline's"), "{turned}");
        // No metric looks there; both end there; shares of unjudged documents are no praise.
        assert!(doubts("recall@5:margin=0.1", &long, &short, 1.0).is_empty());
        assert!(doubts("recall@10:margin=0.1", &arm("c", first(5)), &short, 1.0).is_empty());
        assert!(doubts("unj@10:max=0.9", &long, &short, 1.0).is_empty());
        // Lists of many lengths end where nothing more was found.
        let uneven = arm("d", |i| (i..=i + i % 19).collect());
        assert!(doubts("recall@50:margin=0.1", &arm("e", first(30)), &uneven, 1.0).is_empty());
        // Where a query's own document is taken out, most lists are one shorter.
        let own = arm("f", |i| (i..i + if i < 95 { 4 } else { 5 }).collect());
        let counting = Counting { ignore_identical_ids: true, ..Counting::default() };
        let gate = gate("recall@10:margin=0.1", Statistics::default()).counting(counting);
        assert_eq!(of(&dataset(|i| i), &gate, &long, Some(&own), Some(1.0)), [expected]);
    }

    #[test]
    fn an_arm_that_finds_almost_nothing_of_both_is_doubted() {
        let good = arm("a", first(10));
        // The list of another query, or documents numbered otherwise, of which some meet by chance.
        let shifted =
            |by: usize, met: usize| arm("b", move |i| if i < met { vec![i] } else { (i + by..i + by + 10).collect() });
        let found = doubts("recall@10:margin=0.1", &good, &shifted(20, 49), 0.24);
        assert_eq!(
            found,
            [
                "Among its first ten documents the baseline finds a judged one for 49 of 100 queries, the candidate for 100, and \
              the two share 24 %: the baseline may name documents or queries by other ids than the judgments do. Compare a \
              few lines before you believe the difference."
            ]
        );
        let turned = doubts("recall@10:margin=0.1", &shifted(20, 0), &good, 0.0);
        assert!(turned.len() == 1 && turned[0].contains("the candidate finds a judged one for 0 of"), "{turned:?}");
        // A bad index shares what it finds; one that finds half is none of another corpus.
        assert!(doubts("recall@10:margin=0.1", &good, &shifted(20, 49), 0.25).is_empty());
        assert!(doubts("recall@10:margin=0.1", &good, &shifted(20, 50), 0.0).is_empty());
        // Few findings are chance.
        let finds = |n: usize| arm(&n.to_string(), move |i| if i < n { vec![i] } else { vec![i + 200] });
        assert!(doubts("recall@1:margin=0.1", &finds(19), &finds(0), 0.0).is_empty());
        assert_eq!(doubts("recall@1:margin=0.1", &finds(20), &finds(0), 0.0).len(), 1);
    }

    #[test]
    fn one_run_as_both_arms_is_doubted_and_nothing_else_of_it() {
        let found =
            doubts("recall@10:margin=0.1", &arm("0123456789abcdef", first(5)), &arm("0123456789abcdef", first(5)), 1.0);
        let expected = "Candidate and baseline are the same run (content digest 0123456789ab): nothing is compared. Look at \
                        what names the two arms.";
        assert_eq!(found, [expected]);
        let served = |revision: &str| {
            let mut arm = arm("c", first(5));
            arm.identity = Identity { revision: revision.to_owned(), fingerprint: "f".to_owned(), ..arm.identity };
            arm
        };
        let found = doubts("recall@10:margin=0.1", &served("r1"), &served("r1"), 1.0);
        assert!(found.len() == 1 && found[0].contains("are the same revision r1 (content digest c)"), "{found:?}");
        // Searched in another mode it is another revision of the same content.
        assert!(doubts("recall@10:margin=0.1", &served("r1"), &served("r2"), 1.0).is_empty());
    }

    #[test]
    fn a_cluster_of_more_than_a_tenth_of_the_queries_is_doubted() {
        use crate::api::gate::Method;
        let doubts = |metric: &str, method, large: usize, compared: bool| {
            let statistics = Statistics { method, cluster_by: Some("source".to_owned()), ..Statistics::default() };
            let (candidate, baseline) = (arm("a", first(5)), arm("b", first(5)));
            let source = move |i: usize| if i < large { 0 } else { i };
            of(&dataset(source), &gate(metric, statistics), &candidate, Some(&baseline).filter(|_| compared), Some(1.0))
        };
        let metric = "success@1:margin=0.1";
        for (method, so) in [
            (Method::PairedT, "the bounds of PairedT are then too narrow"),
            (Method::PairedSignFlip, "PairedSignFlip was measured near its error rate"),
            (Method::BoundedMean, "BoundedMean also assumes that the size of a cluster says nothing"),
        ] {
            let found = doubts(metric, method, 50, true);
            let begin = "The largest cluster by `source` holds 50 of 100 queries (50 %). clusterBy assumes many clusters of \
                         similar size: ";
            assert!(found.len() == 1 && found[0].starts_with(begin) && found[0].contains(so), "{found:?}");
        }
        assert_eq!(doubts(metric, Method::PairedT, 11, true).len(), 1);
        assert!(doubts(metric, Method::PairedT, 10, true).is_empty());
        // Bounds are asked for without a baseline only by a floor that must hold at the lower bound.
        assert!(doubts("success@1:floor=0.1", Method::PairedT, 50, false).is_empty());
        assert_eq!(doubts("success@1:floor=0.1,confident=true", Method::PairedT, 50, false).len(), 1);
    }
}
