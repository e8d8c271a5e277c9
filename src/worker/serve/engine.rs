//! One index version with its encoder and its retrieval settings: from a question to results.
//!
//! Why apart from HTTP: the traffic port, the evaluation port and an evaluation in this process must give
//! the same results.
//!
//! Invariants: the order of results is total (score descending, then id ascending); the first results are the
//! same for every k; store reads run off the threads that answer, a bounded number at once, also when their callers
//! gave up, and evaluation never has more than half of that number.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::fuse::{DEPTH, fuse};
use crate::api::release::{Mode, Retrieval};
use crate::embedding::{EmbedError, Encoder, Side};
use crate::evaluation::mixed;
use crate::evaluation::silhouette::{Document, MOST_DOCUMENTS, Silhouette, silhouette};
use crate::store::embedded::EmbeddedIndex;
use crate::store::{Filter, Manifest, Scored, StoreError, StoredChunk};
use crate::worker::exit::Failure;
use crate::worker::store::{self, Incomplete};

/// Documents that are read in one turn where thousands are.
const PIECE: usize = 100;

/// Retrieval settings within their bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub top_k: usize,
    pub mode: Mode,
    rrf_k: f64,
    min_score: Option<f64>,
    overfetch: usize,
}

impl Settings {
    /// Checks what the API's schema says, since stored objects may predate it.
    pub fn of(retrieval: &Retrieval) -> Result<Self, Failure> {
        let bounded = |field: &str, value: i32, least: i32, most: i32| {
            usize::try_from(value).ok().filter(|_| (least..=most).contains(&value)).ok_or_else(|| {
                Failure::invalid(
                    "InvalidSpec",
                    format!("retrieval.{field} is {value}; write a number from {least} to {most}"),
                )
            })
        };
        if retrieval.min_score.is_some_and(|score| !score.is_finite()) {
            return Err(Failure::invalid("InvalidSpec", "retrieval.minScore is not a finite number"));
        }
        Ok(Self {
            top_k: bounded("topK", retrieval.top_k, 1, 100)?,
            mode: retrieval.mode,
            rrf_k: bounded("fusion.rrf.k", retrieval.fusion.rrf.k, 1, 1000)? as f64,
            min_score: retrieval.min_score,
            overfetch: bounded("overfetch", retrieval.overfetch, 0, 100)?,
        })
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub query: String,
    /// Results wanted; at least 1.
    pub k: usize,
    pub filter: Option<Filter>,
    /// Used instead of the query's own vector.
    pub vector: Option<Vec<f32>>,
}

/// How many of the turns a caller may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Users, or a process that has none.
    Whole,
    /// What must not slow users down.
    Half,
}

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("vector has {found} numbers, this index has {expected} dimensions")]
    Dimensions { found: usize, expected: usize },
    #[error("the encoder gave no vector: {0}")]
    Encoder(#[from] EmbedError),
    #[error("the index cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the search stopped: {0}")]
    Stopped(String),
}

/// One index version, ready to be asked.
pub struct Engine {
    index: Arc<EmbeddedIndex>,
    encoder: Arc<dyn Encoder>,
    settings: Settings,
    /// Searches at once: more than there are cores only take time from each other.
    searches: Arc<Semaphore>,
    /// Those of them that [`Share::Half`] may take.
    half: Arc<Semaphore>,
}

impl Engine {
    /// Opens a version and checks that encoder and settings fit it. Blocks while it reads the vectors.
    pub fn open(directory: &Path, encoder: Arc<dyn Encoder>, settings: Settings) -> Result<Self, Failure> {
        let index = EmbeddedIndex::open(directory).map_err(|error| store::failure(error, Incomplete::NotYet))?;
        let manifest = index.manifest();
        if manifest.dimensions != encoder.dimensions() {
            return Err(Failure::invalid(
                "FingerprintMismatch",
                format!(
                    "index {} has {} dimensions, the encoder {}; serve it with the encoder that built it",
                    directory.display(),
                    manifest.dimensions,
                    encoder.dimensions()
                ),
            ));
        }
        let wants_keywords = match settings.mode {
            Mode::Vector => false,
            Mode::Keyword | Mode::Hybrid => true,
        };
        if wants_keywords && !manifest.keyword {
            return Err(Failure::invalid(
                "InvalidSpec",
                format!(
                    "mode {:?} needs the keyword side, which index {} was built without; set keyword.enabled and \
                     build it again, or use mode Vector",
                    settings.mode,
                    directory.display()
                ),
            ));
        }
        let cores = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let (searches, half) = (Arc::new(Semaphore::new(cores)), Arc::new(Semaphore::new(cores / 2)));
        Ok(Self { index: Arc::new(index), encoder, settings, searches, half })
    }

    pub fn manifest(&self) -> &Manifest {
        self.index.manifest()
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Vectors of the probe texts by the encoder that built the version.
    pub fn references(&self) -> &[Vec<f32>] {
        self.index.references()
    }

    /// The best k chunks.
    pub async fn search(&self, question: Question, share: Share) -> Result<Vec<Scored>, SearchError> {
        let vector = self.vector(&question).await?;
        let (index, settings) = (self.index.clone(), self.settings);
        self.blocking(share, move || retrieve(&index, &settings, &question, vector.as_deref())).await
    }

    /// Title, text and metadata of results, in their order.
    pub async fn chunks(&self, hits: &[Scored], share: Share) -> Result<Vec<StoredChunk>, SearchError> {
        let ordinals: Vec<u32> = hits.iter().map(|hit| hit.ordinal).collect();
        let index = self.index.clone();
        self.blocking(share, move || index.chunks(&ordinals)).await
    }

    /// The best chunk of each of the first `documents` documents.
    pub async fn described(
        &self,
        hits: &[Scored],
        documents: usize,
        share: Share,
    ) -> Result<Vec<StoredChunk>, SearchError> {
        let mut seen = HashSet::new();
        let first = hits.iter().filter(|hit| seen.len() < documents && seen.insert(hit.document().to_owned()));
        self.chunks(&first.cloned().collect::<Vec<_>>(), share).await
    }

    /// How far the domains of the version lie apart, a document seen by its first chunk. In pieces, so that a search
    /// never waits for all of it.
    pub async fn silhouette(&self, share: Share) -> Result<Option<Silhouette>, SearchError> {
        let index = self.index.clone();
        let first = self.blocking(share, move || Ok(index.first_chunks(MOST_DOCUMENTS))).await?;
        let mut documents = Vec::new();
        for piece in first.chunks(PIECE) {
            let (index, piece) = (self.index.clone(), piece.to_vec());
            documents.extend(self.blocking(share, move || of_known_domain(&index, &piece)).await?);
        }
        self.blocking(share, move || Ok(silhouette(&documents))).await
    }

    /// Whether the store still answers. It takes no turn: a server that is full is not one that is broken.
    pub async fn check(&self) -> Result<(), SearchError> {
        let index = self.index.clone();
        apart(move || index.check()).await
    }

    /// The vector to search with; `None` when the mode needs none, or when the encoder knows nothing of the text
    /// (all zeros has no direction, and would find something at random).
    async fn vector(&self, question: &Question) -> Result<Option<Vec<f32>>, SearchError> {
        let vector = match (self.settings.mode, &question.vector) {
            (Mode::Keyword, _) => return Ok(None),
            (Mode::Vector | Mode::Hybrid, Some(vector)) => vector.clone(),
            (Mode::Vector | Mode::Hybrid, None) => {
                let texts = [question.query.clone()];
                self.encoder.embed(&texts, Side::Query).await?.into_iter().next().unwrap_or_default()
            }
        };
        let expected = self.manifest().dimensions;
        if vector.len() != expected {
            return Err(SearchError::Dimensions { found: vector.len(), expected });
        }
        Ok(vector.iter().any(|value| *value != 0.0).then_some(vector))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        share: Share,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, SearchError> {
        let stopped = |error: tokio::sync::AcquireError| SearchError::Stopped(error.to_string());
        // First the narrow gate: who waits here is not before users in the queue behind it.
        let half = match share {
            Share::Whole => None,
            Share::Half => Some(self.half.clone().acquire_owned().await.map_err(stopped)?),
        };
        let turn = self.searches.clone().acquire_owned().await.map_err(stopped)?;
        // The work goes on when nobody waits for it any more, so it is the work that holds the turn.
        apart(move || {
            let _held = (half, turn);
            work()
        })
        .await
    }
}

/// Store reads off the threads that answer.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, SearchError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| SearchError::Stopped(error.to_string()))?;
    Ok(done?)
}

fn of_known_domain(index: &EmbeddedIndex, ordinals: &[u32]) -> Result<Vec<Document>, StoreError> {
    let chunks = index.chunks(ordinals)?;
    let known = chunks.iter().filter_map(|chunk| Some((chunk.ordinal, mixed::of_document(&chunk.metadata)?)));
    known.map(|(ordinal, domain)| Ok(Document { domain: domain.to_owned(), vector: index.vector(ordinal)? })).collect()
}

/// The search itself, in the order of the settings.
fn retrieve(
    index: &EmbeddedIndex,
    settings: &Settings,
    question: &Question,
    vector: Option<&[f32]>,
) -> Result<Vec<Scored>, StoreError> {
    let filter = question.filter.as_ref();
    let nearest = |k: usize| -> Result<Vec<Scored>, StoreError> {
        let Some(vector) = vector else { return Ok(Vec::new()) };
        let mut hits = index.search_vector(vector, k, filter)?;
        if let Some(least) = settings.min_score {
            hits.retain(|hit| hit.score >= least);
        }
        Ok(hits)
    };
    let wanted = question.k.saturating_add(settings.overfetch);
    let mut hits = match settings.mode {
        Mode::Vector => nearest(wanted)?,
        Mode::Keyword => index.search_keyword(&question.query, wanted, filter)?,
        Mode::Hybrid => {
            let words = index.search_keyword(&question.query, DEPTH, filter)?;
            fuse([&nearest(DEPTH)?, &words], settings.rrf_k)
        }
    };
    hits.truncate(question.k);
    Ok(hits)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use futures::future::BoxFuture;
    use futures::stream::{FuturesUnordered, StreamExt as _};
    use futures::{FutureExt as _, TryStreamExt as _};

    use super::*;
    use crate::api::release::{Fusion, Rrf};
    use crate::store::embedded::{Builder, NewChunk, Stamp};
    use crate::store::{BuildCounts, Distance};

    struct Same;

    impl Encoder for Same {
        fn embed<'a>(&'a self, texts: &'a [String], _: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
            Box::pin(async move { Ok(vec![vec![1.0, 0.0]; texts.len()]) })
        }
        fn dimensions(&self) -> usize {
            2
        }
    }

    fn engine(directory: &Path) -> Engine {
        of_documents(directory, 1)
    }

    /// Documents of one chunk, of two domains in turn that lie at right angles.
    pub fn of_documents(directory: &Path, documents: u64) -> Engine {
        let version = directory.join("v1");
        let mut builder = Builder::create(&version, 2, Distance::Cosine, false).unwrap();
        for n in 0..documents {
            let (domain, vector) = if n.is_multiple_of(2) { ("tax", [1.0, 0.0]) } else { ("legal", [0.0, 1.0]) };
            let metadata = serde_json::json!({"domain": domain});
            let (id, document, text) = (format!("d{n}#0"), format!("d{n}"), "text");
            let metadata = metadata.as_object().unwrap();
            let chunk = NewChunk { id: &id, document: &document, title: "", embedded: text, text, metadata };
            builder.add(&chunk, &vector).unwrap();
        }
        let stamp = Stamp {
            owner_uid: String::new(),
            version: "v1".into(),
            fingerprint: "f".into(),
            content_digest: "c".into(),
            source_digest: "s".into(),
            normalized: true,
            documents,
            chunking: serde_json::json!({}),
            build: BuildCounts::default(),
        };
        builder.finish(stamp, &[vec![1.0, 0.0]]).unwrap();
        let retrieval = Retrieval { fusion: Fusion { rrf: Rrf { k: 60 } }, ..Retrieval::default() };
        Engine::open(&version, Arc::new(Same), Settings::of(&retrieval).unwrap()).unwrap()
    }

    /// A read that takes as long as its channel is open.
    fn held(open: Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>) -> impl FnOnce() -> Result<(), StoreError> {
        move || {
            let _ = open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
            Ok(())
        }
    }

    /// What must not wait for what is held; a test that fails shall end.
    async fn at_once<T>(work: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("it waits for a turn")
    }

    #[tokio::test]
    async fn a_full_server_is_still_alive() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let (hold, open) = std::sync::mpsc::channel();
        let open = Arc::new(std::sync::Mutex::new(open));
        let turns = engine.searches.available_permits();
        let mut searches: FuturesUnordered<_> =
            (0..2 * turns).map(|_| engine.blocking(Share::Whole, held(open.clone()))).collect();
        assert!(searches.next().now_or_never().is_none());
        assert_eq!(engine.searches.available_permits(), 0);
        at_once(engine.check()).await.unwrap();
        drop(hold);
        searches.try_collect::<Vec<()>>().await.unwrap();
    }

    #[tokio::test]
    async fn evaluation_leaves_half_of_the_turns_to_users() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let (hold, open) = std::sync::mpsc::channel();
        let open = Arc::new(std::sync::Mutex::new(open));
        let turns = engine.searches.available_permits();
        let mut runs: FuturesUnordered<_> =
            (0..2 * turns).map(|_| engine.blocking(Share::Half, held(open.clone()))).collect();
        assert!(runs.next().now_or_never().is_none());
        assert_eq!(engine.searches.available_permits(), turns - turns / 2);
        let hits = at_once(engine.search(Question { k: 1, ..Question::default() }, Share::Whole)).await.unwrap();
        assert_eq!(hits.len(), 1);
        drop(hold);
        runs.try_collect::<Vec<()>>().await.unwrap();
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_keeps_its_turn_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        let turns = engine.searches.available_permits();
        let (hold, open) = std::sync::mpsc::channel();
        let open = Arc::new(std::sync::Mutex::new(open));
        for share in [Share::Whole, Share::Half] {
            let caller = engine.blocking(share, held(open.clone()));
            assert!(caller.now_or_never().is_none(), "it is under way, and now its caller is gone");
        }
        assert_eq!((engine.searches.available_permits(), engine.half.available_permits()), (turns - 2, turns / 2 - 1));
        drop(hold);
        let all = u32::try_from(turns).unwrap();
        drop(at_once(engine.searches.acquire_many(all)).await.unwrap());
        assert_eq!(engine.half.available_permits(), turns / 2);
    }

    #[tokio::test]
    async fn every_piece_of_the_documents_enters_the_silhouette() {
        let dir = tempfile::tempdir().unwrap();
        let documents = 2 * PIECE + 1;
        let engine = of_documents(dir.path(), documents as u64);
        let found = engine.silhouette(Share::Half).await.unwrap().unwrap();
        assert_eq!((found.documents, found.mean), (documents, 1.0));
        assert_eq!(engine.half.available_permits(), engine.searches.available_permits() / 2, "every turn is back");
    }

    #[tokio::test]
    async fn a_store_that_is_gone_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path());
        engine.check().await.unwrap();
        let vectors = dir.path().join("v1/vectors.f32");
        std::fs::File::options().write(true).open(&vectors).unwrap().set_len(0).unwrap();
        let error = engine.check().await.unwrap_err().to_string();
        assert!(error.contains("vectors.f32"), "{error}");
    }
}
