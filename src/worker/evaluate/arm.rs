//! Asking an arm: every judged query, chunks folded into documents.
//!
//! Why more is asked than the metrics need: judgments name documents, an arm answers with chunks; k documents
//! take about k times the mean number of chunks a document has, and more where they cluster. And [`LEAST`] documents are
//! asked where the metrics need less, so that it can be told how often a tie crosses the tenth place.
//!
//! Invariants: at most [`CONCURRENCY`] questions at once; an empty list is an answer, an error is not; when
//! too many questions failed for a verdict, the rest is not asked.

use futures::StreamExt;
use futures::future::BoxFuture;

use super::measure::compat;
use super::plan::Asking;
use super::progress::Progress;
use super::stopped::{Cause, Stopped};
use crate::evaluation::dataset::Dataset;
use crate::evaluation::likeness;
use crate::evaluation::mixed::{DEPTH, Domains};
use crate::evaluation::run::{Hit, Run, collapsed};
use crate::evaluation::silhouette::Silhouette;
use crate::evaluation::verdict::LEAST_COVERAGE;
use crate::worker::serve::MAX_K_EVALUATION;

/// Questions at once.
const CONCURRENCY: usize = 8;
/// Chunks a document, when the arm does not say.
const CHUNKS_PER_DOCUMENT: usize = 10;
/// Documents that are asked for at least: those that the facts of a run look at, and the next, which may be tied with the
/// last of them. Metrics cut by themselves.
const LEAST: usize = likeness::DEPTH + 1;

/// What an arm says it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub revision: String,
    pub content_digest: String,
    pub fingerprint: String,
    pub documents: Option<u64>,
    pub chunks: Option<u64>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The arm could not be reached or answered with an error.
    #[error("{0}")]
    Failed(String),
    /// The answer came from another revision than the one that was to be measured.
    #[error("{0}")]
    OtherRevision(String),
    /// What answers takes no questions of an evaluation.
    #[error("{0}")]
    WrongPort(String),
}

/// Documents that are asked for their domain: those whose share is told, and as many again where ties or the query's own
/// document push them down.
pub const DESCRIBED: usize = 2 * DEPTH;

/// Something that answers questions with scored chunks.
pub trait Searcher: Send + Sync {
    /// What it serves.
    fn served(&self) -> &Served;

    /// Domains of the first documents of what was answered; empty where none was told.
    fn domains(&self) -> Domains {
        Domains::new()
    }

    /// How far the domains of its documents lie apart. `None`: it tells none; an error costs the fact, never the run.
    fn silhouette(&self) -> BoxFuture<'_, Result<Option<Silhouette>, String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The best chunks for a query: the document that each belongs to, and its score.
    fn search<'a>(&'a self, query: &'a str, chunks: usize) -> BoxFuture<'a, Result<Vec<Hit>, SearchError>>;
}

/// The answers of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Answers {
    pub run: Run,
    /// Queries that were answered.
    pub answered: usize,
    /// Domains of the first documents, as far as the arm tells them.
    pub domains: Domains,
}

/// Asks every judged query for its best documents.
pub async fn ask(
    searcher: &dyn Searcher,
    name: &str,
    dataset: &Dataset,
    asking: Asking,
    progress: &mut Progress,
) -> Result<Answers, Stopped> {
    // Where a query's own document is removed, one more must come.
    let depth = asking.depth.max(LEAST).saturating_add(usize::from(asking.counting.ignore_identical_ids));
    let first = first_ask(searcher.served(), depth);
    let total = dataset.judged_count();
    let questions = dataset.judged().filter_map(|(id, _)| Some((id, dataset.text(id)?)));
    let mut answers = futures::stream::iter(questions)
        .map(|(id, text)| async move { (id, ask_one(searcher, text, depth, first).await) })
        .buffer_unordered(CONCURRENCY);
    let (mut run, mut answered, mut failed) = (Run::new(compat(asking.counting.compat)), 0_usize, Vec::new());
    progress.start(name, total);
    while let Some((id, answer)) = answers.next().await {
        match answer {
            Ok(hits) => {
                run.insert(id.to_owned(), hits);
                answered = answered.saturating_add(1);
            }
            Err(SearchError::OtherRevision(text)) => return Err(Stopped::new(Cause::InputsChanged, text)),
            Err(SearchError::WrongPort(text)) => {
                progress.end();
                return Err(Stopped::new(Cause::EndpointUnavailable, text));
            }
            Err(SearchError::Failed(text)) => failed.push((id, text)),
        }
        progress.step();
        if too_many(failed.len(), total) {
            progress.end();
            return Err(low_coverage(name, answered, total, &failed));
        }
    }
    progress.end();
    if asking.counting.ignore_identical_ids {
        run.drop_identical_ids();
    }
    Ok(Answers { run, answered, domains: searcher.domains() })
}

async fn ask_one(searcher: &dyn Searcher, text: &str, depth: usize, first: usize) -> Result<Vec<Hit>, SearchError> {
    let mut chunks = first;
    loop {
        let hits = searcher.search(text, chunks).await?;
        let came = hits.len();
        let documents = collapsed(hits, depth);
        if documents.len() >= depth || came < chunks || chunks >= MAX_K_EVALUATION {
            return Ok(documents);
        }
        chunks = chunks.saturating_mul(2).min(MAX_K_EVALUATION);
    }
}

fn first_ask(served: &Served, depth: usize) -> usize {
    let per_document = served
        .chunks
        .zip(served.documents.filter(|d| *d > 0))
        .and_then(|(chunks, documents)| usize::try_from(chunks.div_ceil(documents)).ok())
        .filter(|c| *c > 0)
        .unwrap_or(CHUNKS_PER_DOCUMENT);
    depth.saturating_mul(per_document).min(MAX_K_EVALUATION)
}

fn too_many(failed: usize, total: usize) -> bool {
    (total.saturating_sub(failed) as f64) < LEAST_COVERAGE * total as f64
}

/// The smallest query id stands for all, so that a repeated run says the same where it can.
fn low_coverage(name: &str, answered: usize, total: usize, failed: &[(&str, String)]) -> Stopped {
    let example = failed.iter().min().map_or_else(String::new, |(id, why)| format!(" Query `{id}`: {why}."));
    Stopped::new(
        Cause::LowCoverage,
        format!(
            "{} of {total} queries got no answer from the {name} ({answered} did before the run stopped); at least \
             {} % must be answered for a verdict.{example}",
            failed.len(),
            LEAST_COVERAGE * 100.0
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::progress::Display;
    use super::*;
    use crate::evaluation::dataset::Files;
    use crate::evaluation::run::List;
    use crate::worker::job::Counting;

    /// An index in memory: chunk `i` belongs to the document that `of` names.
    struct Index {
        served: Served,
        chunks: Vec<Hit>,
        asked: Mutex<Vec<usize>>,
        failing: Vec<&'static str>,
    }

    impl Searcher for Index {
        fn served(&self) -> &Served {
            &self.served
        }

        fn search<'a>(&'a self, query: &'a str, chunks: usize) -> BoxFuture<'a, Result<Vec<Hit>, SearchError>> {
            Box::pin(async move {
                self.asked.lock().unwrap().push(chunks);
                if self.failing.contains(&query) {
                    return Err(SearchError::Failed("answered 500".to_owned()));
                }
                Ok(self.chunks.iter().take(chunks).cloned().collect())
            })
        }
    }

    fn index(documents: usize, chunks: Vec<Hit>) -> Index {
        let served = Served {
            revision: "r".to_owned(),
            content_digest: "c".to_owned(),
            fingerprint: "f".to_owned(),
            documents: Some(documents as u64),
            chunks: Some(chunks.len() as u64),
        };
        Index { served, chunks, asked: Mutex::default(), failing: Vec::new() }
    }

    fn dataset(queries: usize) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        let of = |i: usize| format!("{{\"_id\":\"q{i:03}\",\"text\":\"t{i:03}\"}}\n");
        std::fs::write(files.queries.as_ref().unwrap(), (0..queries).map(of).collect::<String>()).unwrap();
        let judgments: String = (0..queries).map(|i| format!("q{i:03}\td0\t1\n")).collect();
        std::fs::write(&files.qrels, format!("query-id\tcorpus-id\tscore\n{judgments}")).unwrap();
        Dataset::read(&files).unwrap()
    }

    fn asking(depth: usize) -> Asking {
        Asking { depth, counting: Counting::default(), all_ids: false }
    }

    fn ask_all(index: &Index, dataset: &Dataset, depth: usize) -> Result<Answers, Stopped> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(ask(index, "candidate", dataset, asking(depth), &mut Progress::new(Display::None)))
    }

    #[test]
    fn more_chunks_are_asked_until_the_documents_suffice() {
        // 80 chunks of 16 documents, the first 50 all of d0: the mean says 5 chunks a document, 60 for 12.
        let chunks = (0..80_usize)
            .map(|i| Hit { document: format!("d{}", i.saturating_sub(49) / 2), score: 1.0 - i as f64 / 100.0 })
            .collect();
        let index = index(16, chunks);
        let answers = ask_all(&index, &dataset(1), 12).unwrap();
        let documents: Vec<&str> = answers.run.list("q000").unwrap().iter().map(|h| h.document).collect();
        assert_eq!(documents, (0..12).map(|d| format!("d{d}")).collect::<Vec<_>>());
        assert_eq!(*index.asked.lock().unwrap(), [60, 120]);
    }

    #[test]
    fn eleven_documents_are_asked_where_the_metrics_need_less() {
        let chunks = (0..40).map(|i| Hit { document: format!("d{i}"), score: -f64::from(i) }).collect();
        let index = index(40, chunks);
        for (depth, expected) in [(1, 11), (10, 11), (11, 11), (12, 12)] {
            let answers = ask_all(&index, &dataset(1), depth).unwrap();
            assert_eq!(answers.run.list("q000").unwrap().len(), expected, "{depth}");
            assert_eq!(index.asked.lock().unwrap().pop(), Some(expected), "{depth}");
        }
    }

    #[test]
    fn one_document_more_is_asked_where_a_query_may_find_itself() {
        let documents = (0..20).map(|i| if i == 1 { "q000".to_owned() } else { format!("d{i}") });
        let chunks = documents.zip(0..).map(|(document, i)| Hit { document, score: -f64::from(i) }).collect();
        let index = index(20, chunks);
        let counting = Counting { ignore_identical_ids: true, ..Counting::default() };
        let asking = Asking { counting, ..asking(12) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers =
            runtime.block_on(ask(&index, "candidate", &dataset(1), asking, &mut Progress::new(Display::None))).unwrap();
        let documents: Vec<&str> = answers.run.list("q000").unwrap().iter().map(|h| h.document).collect();
        assert_eq!((documents.len(), &documents[..2], documents[11]), (12, &["d0", "d2"][..], "d12"));
        assert_eq!(*index.asked.lock().unwrap(), [13]);
    }

    #[test]
    fn an_index_that_has_no_more_is_not_asked_again() {
        let chunks = (0..4).map(|i| Hit { document: "d0".to_owned(), score: f64::from(i) }).collect();
        let index = index(1, chunks);
        let answers = ask_all(&index, &dataset(1), 3).unwrap();
        assert_eq!(answers.run.list("q000").unwrap().len(), 1);
        assert_eq!(*index.asked.lock().unwrap(), [44]);
    }

    #[test]
    fn an_arm_that_does_not_say_is_asked_for_ten_chunks_a_document() {
        let silent = Served { documents: None, ..index(1, Vec::new()).served };
        assert_eq!(first_ask(&silent, 7), 70);
        assert_eq!(first_ask(&Served { documents: Some(0), ..silent.clone() }, 7), 70);
        assert_eq!(first_ask(&silent, 1000), MAX_K_EVALUATION);
        assert_eq!(first_ask(&Served { documents: Some(10), chunks: Some(11), ..silent }, 10), 20);
    }

    #[test]
    fn one_failure_in_a_hundred_is_borne_and_two_stop_the_run() {
        let mut index = index(1, vec![Hit { document: "d0".to_owned(), score: 1.0 }]);
        index.failing = vec!["t042"];
        let answers = ask_all(&index, &dataset(100), 10).unwrap();
        assert_eq!((answers.answered, answers.run.list("q042")), (99, None));
        index.failing = vec!["t042", "t007"];
        let stopped = ask_all(&index, &dataset(100), 10).unwrap_err();
        assert_eq!(stopped.cause, Cause::LowCoverage);
        assert!(stopped.text.contains("2 of 100 queries got no answer from the candidate"), "{stopped}");
        assert!(stopped.text.contains("Query `q007`: answered 500"), "{stopped}");
    }

    #[test]
    fn an_empty_list_is_an_answer() {
        let answers = ask_all(&index(1, Vec::new()), &dataset(5), 10).unwrap();
        assert_eq!((answers.answered, answers.run.list("q000")), (5, Some(List::default())));
    }
}
