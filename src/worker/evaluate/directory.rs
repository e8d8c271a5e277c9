//! An arm that is an index directory: searched in this process by the code of `rag serve`.
//!
//! Why no server beside it: a pipeline then needs no port and nothing to stop, and measures the same.
//!
//! Invariants: queries are encoded by the encoder that built the index, or by none; a question has the bounds
//! of the evaluation port; the arm is called as `rag serve` over the same directory calls itself, so the
//! summary of a run does not depend on how the index was reached.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::arm::{DESCRIBED, SearchError, Searcher, Served};
use super::stopped::{Cause, Stopped};
use crate::api::release::{Mode, Retrieval};
use crate::embedding::{EmbedError, Encoder, Side};
use crate::evaluation::mixed::{self, Domains};
use crate::evaluation::run::Hit;
use crate::evaluation::silhouette::Silhouette;
use crate::store::embedded::read_manifest;
use crate::store::{Manifest, StoredChunk};
use crate::worker::encoder;
use crate::worker::exit::Failure;
use crate::worker::serve::engine::{self, Engine, Settings, Share};
use crate::worker::serve::{evaluation_question, revision};

/// An encoder of this machine.
pub struct Model {
    directory: PathBuf,
    fingerprint: String,
    encoder: Arc<dyn Encoder>,
}

impl Model {
    /// Reads a model directory.
    pub fn load(directory: &Path) -> Result<Self, String> {
        let local = encoder::local(directory).map_err(|failure| failure.to_string())?;
        Ok(Self { directory: directory.to_owned(), fingerprint: local.fingerprint(), encoder: Arc::new(local) })
    }
}

/// An index directory, how it is searched, and what encodes its queries.
pub struct Directory {
    path: PathBuf,
    retrieval: Retrieval,
    encoder: Arc<dyn Encoder>,
}

impl Directory {
    /// A version that is there and can be searched so with one of the models.
    pub fn find(path: PathBuf, mode: Mode, models: &[Model]) -> Result<Self, String> {
        let manifest = read_manifest(&path).map_err(|e| e.to_string())?;
        let encoder = match mode {
            Mode::Vector => builder(&path, &manifest, models)?,
            Mode::Keyword => with_keywords(&path, &manifest).map(|()| Arc::new(Absent(manifest.dimensions)) as _)?,
            Mode::Hybrid => with_keywords(&path, &manifest).and_then(|()| builder(&path, &manifest, models))?,
        };
        Ok(Self { path, retrieval: Retrieval { mode, ..Retrieval::default() }, encoder })
    }
}

/// The encoder that built a version.
fn builder(path: &Path, manifest: &Manifest, models: &[Model]) -> Result<Arc<dyn Encoder>, String> {
    if let Some(model) = models.iter().find(|model| model.fingerprint == manifest.fingerprint) {
        return Ok(model.encoder.clone());
    }
    let found: Vec<String> =
        models.iter().map(|model| format!("{} has {}", model.directory.display(), model.fingerprint)).collect();
    let found = if found.is_empty() { "no --model is given".to_owned() } else { found.join(", ") };
    Err(format!(
        "FingerprintMismatch: index {} was built by an encoder with fingerprint {}, but {found}; write --model DIR \
         with the model directory that built it",
        path.display(),
        manifest.fingerprint
    ))
}

fn with_keywords(path: &Path, manifest: &Manifest) -> Result<(), String> {
    if manifest.keyword {
        return Ok(());
    }
    Err(format!(
        "index {} was built without the keyword side that modes keyword and hybrid need; build it again with \
         `rag index --keyword`, or use mode vector",
        path.display()
    ))
}

/// Stands where a search by words alone needs no encoder.
struct Absent(usize);

impl Encoder for Absent {
    fn embed<'a>(&'a self, _: &'a [String], _: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
        let error = EmbedError::Invalid("a search by words was asked for a vector".to_owned());
        Box::pin(std::future::ready(Err(error)))
    }

    fn dimensions(&self) -> usize {
        self.0
    }
}

/// An opened index directory.
pub struct DirectorySearcher {
    engine: Engine,
    served: Served,
    /// Whether the domains of documents are wanted.
    labelled: bool,
    domains: Mutex<Domains>,
}

impl DirectorySearcher {
    /// Reads the vectors into memory. `labelled`: the domains of documents are wanted.
    pub fn open(directory: &Directory, labelled: bool) -> Result<Self, Stopped> {
        let unreadable = |failure: Failure| Stopped::new(Cause::SourceUnavailable, failure.to_string());
        let settings = Settings::of(&directory.retrieval).map_err(unreadable)?;
        let engine = Engine::open(&directory.path, directory.encoder.clone(), settings).map_err(unreadable)?;
        let manifest = engine.manifest();
        let served = Served {
            revision: revision(manifest, &directory.retrieval),
            content_digest: manifest.content_digest.clone(),
            fingerprint: manifest.fingerprint.clone(),
            documents: Some(manifest.documents),
            chunks: Some(manifest.chunks),
        };
        Ok(Self { engine, served, labelled, domains: Mutex::default() })
    }
}

impl Searcher for DirectorySearcher {
    fn served(&self) -> &Served {
        &self.served
    }

    fn domains(&self) -> Domains {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn silhouette(&self) -> BoxFuture<'_, Result<Option<Silhouette>, String>> {
        Box::pin(async move {
            if !self.labelled {
                return Ok(None);
            }
            self.engine.silhouette(Share::Whole).await.map_err(|e| e.to_string())
        })
    }

    fn search<'a>(&'a self, query: &'a str, chunks: usize) -> BoxFuture<'a, Result<Vec<Hit>, SearchError>> {
        Box::pin(async move {
            let question = evaluation_question(query, chunks).map_err(SearchError::Failed)?;
            let failed = |e: engine::SearchError| SearchError::Failed(e.to_string());
            let hits = self.engine.search(question, Share::Whole).await.map_err(failed)?;
            let documents = if self.labelled { DESCRIBED } else { 0 };
            let described = self.engine.described(&hits, documents, Share::Whole).await.map_err(failed)?;
            let domain = |chunk: &StoredChunk| Some(mixed::of_document(&chunk.metadata)?.to_owned());
            let told = described.iter().filter_map(|chunk| Some((chunk.document.clone(), domain(chunk)?)));
            self.domains.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
            Ok(hits.iter().map(|hit| Hit { document: hit.document().to_owned(), score: hit.score }).collect())
        })
    }
}
