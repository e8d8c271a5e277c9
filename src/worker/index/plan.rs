//! What a build needs to know, read from a job input: after this nothing of the input can be wrong.

use std::path::{Path, PathBuf};

use super::{Places, plain_name};
use crate::api::reason::Reason;
use crate::api::{index as api, model};
use crate::corpus::{self, Chunker, Globs};
use crate::store::Distance;
use crate::worker::encoder;
use crate::worker::exit::Failure;
use crate::worker::job::BuildTask;
use crate::worker::path;

/// One build.
pub struct Plan {
    /// Where the version will stand.
    pub target: PathBuf,
    pub owner_uid: String,
    pub version: String,
    pub sources: Vec<corpus::Source>,
    pub chunker: Chunker,
    /// The same, for digest and manifest.
    pub chunking: serde_json::Value,
    pub keyword: bool,
    pub quality: api::DataQuality,
    pub encoding: Encoding,
    /// A version whose vectors of unchanged texts are taken over.
    pub previous: Option<PathBuf>,
    pub previous_documents: Option<u64>,
}

/// What a build must know of the encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    pub fingerprint: String,
    pub distance: Distance,
    pub normalized: bool,
    pub passage_prefix: String,
    pub max_input_tokens: usize,
    /// Texts in one request.
    pub batch_size: usize,
    /// Requests in flight.
    pub max_concurrency: usize,
}

impl Plan {
    /// Reads the task of a Job.
    pub fn of_task(task: &BuildTask, places: &Places) -> Result<Self, Failure> {
        let settings = encoder::settings(&task.encoder)?;
        let sources = task.sources.iter().map(|s| mounted(s, &places.sources)).collect::<Result<Vec<_>, _>>()?;
        let at_least_one = |n: i32| usize::try_from(n).unwrap_or(1).max(1);
        let previous = task.previous.as_deref().map(plain_name).transpose()?.map(|name| places.index.join(name));
        Ok(Self {
            target: places.index.join(plain_name(&task.physical)?),
            owner_uid: task.owner_uid.clone(),
            version: task.version.clone(),
            sources,
            chunker: chunker(&task.chunking)?,
            chunking: chunking_value(&task.chunking),
            keyword: task.keyword,
            quality: task.data_quality.clone(),
            encoding: Encoding {
                fingerprint: task.encoder.identity.fingerprint(),
                distance: distance(task.encoder.identity.distance),
                normalized: settings.normalize,
                passage_prefix: settings.passage_prefix,
                max_input_tokens: settings.max_input_tokens,
                batch_size: at_least_one(task.encoder.batch_size),
                max_concurrency: at_least_one(task.encoder.max_concurrency),
            },
            previous,
            previous_documents: task.previous_documents.and_then(|n| u64::try_from(n).ok()),
        })
    }
}

/// A source whose files are mounted below `<sources>/<name>`.
fn mounted(source: &api::Source, sources: &Path) -> Result<corpus::Source, Failure> {
    let boundary = sources.join(plain_name(&source.name)?);
    let root = match &source.from.volume {
        Some(volume) if !volume.path.is_empty() => boundary.join(inner_path(&source.name, &volume.path)?),
        Some(_) | None => boundary.clone(),
    };
    at(source, root, boundary)
}

/// A path that stays below where it begins.
fn inner_path(source: &str, path: &str) -> Result<PathBuf, Failure> {
    path::below(path).ok_or_else(|| {
        let text = format!("source {source}: path {path:?} must be relative and without `..`");
        Failure::invalid(Reason::InvalidSpec.as_str(), text)
    })
}

/// A source whose files lie at `root`.
pub fn at(source: &api::Source, root: PathBuf, boundary: PathBuf) -> Result<corpus::Source, Failure> {
    let globs = Globs::new(&source.include, &source.exclude)
        .map_err(|e| Failure::invalid(Reason::InvalidSpec.as_str(), format!("source {}: {e}", source.name)))?;
    let globs = match &source.from.config_map {
        Some(map) => globs.with_keys(&map.keys),
        None => globs,
    };
    let mapping = corpus::Mapping {
        id: source.mapping.id.clone(),
        title: source.mapping.title.clone(),
        text: source.mapping.text.clone(),
        metadata: source.mapping.metadata.clone(),
    };
    let format = match source.format {
        api::Format::Auto => corpus::Format::Auto,
        api::Format::Jsonl => corpus::Format::Jsonl,
        api::Format::Markdown => corpus::Format::Markdown,
        api::Format::Text => corpus::Format::Text,
        api::Format::Html => corpus::Format::Html,
    };
    let (name, domain) = (source.name.clone(), source.domain.clone());
    Ok(corpus::Source { name, domain, root, boundary, format, mapping, globs })
}

/// How documents are cut.
pub fn chunker(chunking: &api::Chunking) -> Result<Chunker, Failure> {
    let strategy = match chunking.strategy {
        api::Strategy::Recursive => corpus::Strategy::Recursive,
        api::Strategy::Markdown => corpus::Strategy::Markdown,
        api::Strategy::Fixed => corpus::Strategy::Fixed,
        api::Strategy::None => corpus::Strategy::None,
    };
    let size = |n: i32| usize::try_from(n).unwrap_or(0);
    Chunker::new(corpus::Chunking {
        strategy,
        max_tokens: size(chunking.max_tokens),
        overlap_tokens: size(chunking.overlap_tokens),
    })
    .map_err(|e| Failure::invalid(Reason::InvalidSpec.as_str(), e.to_string()))
}

/// The chunking as it enters digest and manifest.
pub fn chunking_value(chunking: &api::Chunking) -> serde_json::Value {
    serde_json::to_value(chunking).unwrap_or_default()
}

/// The store's own word.
pub fn distance(distance: model::Distance) -> Distance {
    match distance {
        model::Distance::Cosine => Distance::Cosine,
        model::Distance::Dot => Distance::Dot,
        model::Distance::Euclidean => Distance::Euclidean,
    }
}
