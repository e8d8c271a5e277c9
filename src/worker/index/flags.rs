//! `rag index` outside a cluster: files in, a directory out.
//!
//! What is indexed comes from `--spec` (the YAML of a VectorIndex) or from flags. A claim or ConfigMap that
//! the YAML names is not there: `--source NAME=PATH` says where the files of a source lie; without it
//! `from.volume.path` counts from the directory of the YAML.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plan::{self, Encoding, Plan};
use super::{Action, build, store_failure, verify};
use crate::api::index::{
    Chunking, DataQuality, EmbeddedStore, Format, Keyword, Mapping, Source, Store, Strategy, VectorIndex,
    VectorIndexSpec,
};
use crate::api::reason::Reason;
use crate::api::{DataFrom, LocalRef};
use crate::corpus;
use crate::store::embedded::read_manifest;
use crate::store::{Distance, Manifest};
use crate::worker::encoder;
use crate::worker::exit::{Failure, print_result};
use crate::worker::receipt::{VerifyReport, whole};
use crate::yaml;

/// Texts in one batch for an encoder in this process.
const BATCH: usize = 256;
/// Version name outside a cluster.
const VERSION: &str = "local";

/// Flags of `rag index`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What a Job does; outside a cluster a version is always built and verified.
    #[arg(value_enum, default_value_t)]
    pub action: Action,
    /// YAML of a VectorIndex.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "map", "include", "exclude", "strategy", "max_tokens", "overlap_tokens", "keyword"])]
    pub spec: Option<PathBuf>,
    /// File or directory of documents, once or more; NAME= says which source of --spec is meant, or how
    /// reports call it.
    #[arg(long, value_name = "[NAME=]PATH")]
    pub source: Vec<String>,
    /// Format of the files: auto, jsonl, markdown, text or html.
    #[arg(long, default_value = "auto", value_parser = format)]
    pub format: Format,
    /// Fields of JSON documents, such as id=_id,title=title,text=text,metadata=domain:task.
    #[arg(long, default_value = "", value_parser = mapping, hide_default_value = true)]
    pub map: Mapping,
    /// Glob patterns of files to read; `*` stops at `/`.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Glob patterns of files to leave out.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// How documents are cut: recursive, markdown, fixed or none.
    #[arg(long, default_value = "recursive", value_parser = strategy)]
    pub strategy: Strategy,
    /// Most tokens of a chunk, 16 to 8192.
    #[arg(long, default_value_t = Chunking::default().max_tokens)]
    pub max_tokens: i32,
    /// Tokens that neighbouring chunks share.
    #[arg(long, default_value_t = Chunking::default().overlap_tokens)]
    pub overlap_tokens: i32,
    /// Build a keyword side (BM25) too.
    #[arg(long)]
    pub keyword: bool,
    /// Directory of a static model: model.safetensors, tokenizer.json, config.json.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Directory to write; it must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A version built before: vectors of unchanged texts are taken over, and the shrink guard compares with it.
    #[arg(long, value_name = "DIR")]
    pub previous: Option<PathBuf>,
}

/// Why nothing was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The flags do not make sense. Exit 64.
    Usage(String),
    Failed(Failure),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn usage<T>(text: impl Into<String>) -> Result<T, Ended> {
    Err(Ended::Usage(text.into()))
}

/// Builds and verifies.
pub async fn run(args: Args) -> Result<(), Ended> {
    match args.action {
        Action::Build => {}
        Action::Verify | Action::Prune => {
            return usage("verify and prune are tasks of a Job; outside a cluster a build verifies itself");
        }
    }
    let Some(out) = args.out.clone() else { return usage("--out DIR is missing: where the version will stand") };
    let Some(model) = &args.model else { return usage("--model DIR is missing: the encoder of the documents") };
    let (spec, sources) = sources(&args)?;
    let local = encoder::local(model)?;
    let previous_documents = match &args.previous {
        Some(dir) => Some(read_manifest(dir).map_err(store_failure)?.documents),
        None => None,
    };
    let settings = local.settings();
    let plan = Plan {
        target: out.clone(),
        owner_uid: String::new(),
        version: VERSION.to_owned(),
        sources,
        chunker: plan::chunker(&spec.chunking)?,
        chunking: plan::chunking_value(&spec.chunking),
        keyword: spec.keyword.enabled,
        quality: spec.data_quality.clone(),
        encoding: Encoding {
            fingerprint: local.fingerprint(),
            distance: Distance::Cosine,
            normalized: settings.normalize,
            passage_prefix: settings.passage_prefix.clone(),
            max_input_tokens: settings.max_input_tokens,
            batch_size: BATCH,
            max_concurrency: 2,
        },
        previous: args.previous.clone(),
        previous_documents,
    };
    let encoder = Arc::new(local);
    let manifest = build::run(plan, encoder.clone()).await?;
    let expected = verify::Expected {
        owner_uid: String::new(),
        version: VERSION.to_owned(),
        content_digest: manifest.content_digest.clone(),
        fingerprint: manifest.fingerprint.clone(),
        documents: whole(manifest.documents),
        chunks: whole(manifest.chunks),
        self_retrieval_min: spec.data_quality.self_retrieval_min,
    };
    match verify::run(&out, &expected, encoder.as_ref()).await {
        Ok(verified) => print_result(&summary(&out, &manifest, &verified)).map_err(Ended::Failed),
        Err(failure) => Err(Ended::Failed(set_apart(&out, failure))),
    }
}

/// A version that was not verified must not be served by its name.
fn set_apart(out: &Path, failure: Failure) -> Failure {
    let mut name = out.as_os_str().to_owned();
    name.push(".failed");
    let kept = match std::fs::rename(out, &name) {
        Ok(()) => format!("; what was built is kept as {}", Path::new(&name).display()),
        Err(error) => format!("; what was built stands at {} ({error})", out.display()),
    };
    match failure {
        Failure::Invalid { reason, text } => Failure::Invalid { reason, text: text + &kept },
        Failure::Unavailable { reason, text } => Failure::Unavailable { reason, text: text + &kept },
    }
}

fn summary(out: &Path, manifest: &Manifest, verified: &VerifyReport) -> String {
    use std::fmt::Write as _;
    let build = &manifest.build;
    let mut text = String::new();
    let _ = writeln!(text, "index          {}", out.display());
    let _ = writeln!(
        text,
        "documents      {} indexed of {} ({} set aside, {} without text)",
        manifest.documents, build.source, build.quarantined, build.skipped
    );
    let _ = writeln!(
        text,
        "chunks         {} ({} reused, {} longer than the encoder reads)",
        manifest.chunks, build.reused_chunks, build.cut_chunks
    );
    let _ = writeln!(text, "bytes          {}", manifest.size_bytes());
    let _ = writeln!(text, "fingerprint    {}", manifest.fingerprint);
    let _ = writeln!(text, "source digest  {}", manifest.source_digest);
    let _ = writeln!(text, "content digest {}", manifest.content_digest);
    let _ = writeln!(text, "self-retrieval {:.3} of {} chunks", verified.self_retrieval, verified.sampled);
    for example in &build.examples {
        let _ = writeln!(text, "set aside      {example}");
    }
    text
}

/// What is indexed, and where its files lie here.
fn sources(args: &Args) -> Result<(VectorIndexSpec, Vec<corpus::Source>), Ended> {
    let mut given = args.source.iter().map(|flag| named(flag)).collect::<Vec<_>>();
    let (spec, base) = match &args.spec {
        Some(file) => (read_spec(file)?, file.parent().unwrap_or(Path::new("")).to_owned()),
        None => (of_flags(args, &mut given)?, PathBuf::new()),
    };
    let mut sources = Vec::new();
    for source in &spec.sources {
        let path = match given.iter().position(|(name, _)| name.as_deref() == Some(source.name.as_str())) {
            Some(n) => given.remove(n).1,
            None => match &source.from.volume {
                Some(volume) => base.join(&volume.path),
                None => {
                    return usage(format!(
                        "source {} is a ConfigMap, which is not here; write --source {}=PATH",
                        source.name, source.name
                    ));
                }
            },
        };
        let boundary = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        sources.push(plan::at(source, path, boundary)?);
    }
    if let Some((name, path)) = given.first() {
        let names: Vec<&str> = spec.sources.iter().map(|s| s.name.as_str()).collect();
        let found = name.clone().map_or_else(|| path.display().to_string(), |name| format!("{name}=…"));
        return usage(format!(
            "--source {found} names no source that is left; write --source NAME=PATH with one of {}",
            names.join(", ")
        ));
    }
    Ok((spec, sources))
}

fn read_spec(file: &Path) -> Result<VectorIndexSpec, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::unavailable(Reason::SourceUnavailable.as_str(), format!("{}: {e}", file.display())))?;
    let index: VectorIndex = yaml::read(&text).map_err(|e| {
        let text = format!("{} is no VectorIndex: {e}", file.display());
        Failure::invalid(Reason::InvalidSpec.as_str(), text)
    })?;
    if index.spec.sources.is_empty() {
        let text = format!("{}: spec.sources is empty; name at least one source", file.display());
        return Err(Failure::invalid(Reason::InvalidSpec.as_str(), text));
    }
    Ok(index.spec)
}

/// The spec that flags describe; gives every path a name.
fn of_flags(args: &Args, given: &mut [(Option<String>, PathBuf)]) -> Result<VectorIndexSpec, Ended> {
    if given.is_empty() {
        return usage("nothing to index: write --spec FILE or --source PATH");
    }
    let mut sources: Vec<Source> = Vec::new();
    for (n, (name, _)) in (1_usize..).zip(given.iter_mut()) {
        let name = name.get_or_insert_with(|| if n == 1 { "source".to_owned() } else { format!("source-{n}") });
        if sources.iter().any(|other| other.name == *name) {
            return usage(format!("two sources are named {name}; write --source NAME=PATH with different names"));
        }
        sources.push(Source {
            name: name.clone(),
            domain: None,
            from: DataFrom::default(),
            format: args.format,
            mapping: args.map.clone(),
            include: args.include.clone(),
            exclude: args.exclude.clone(),
        });
    }
    Ok(VectorIndexSpec {
        embedding_model_ref: LocalRef { name: VERSION.to_owned() },
        sources,
        chunking: Chunking {
            strategy: args.strategy,
            max_tokens: args.max_tokens,
            overlap_tokens: args.overlap_tokens,
            ..Chunking::default()
        },
        store: Store { embedded: Some(EmbeddedStore { claim_name: VERSION.to_owned() }) },
        search: Default::default(),
        keyword: Keyword { enabled: args.keyword },
        data_quality: DataQuality::default(),
        build: Default::default(),
        retention: Default::default(),
        deletion_policy: Default::default(),
    })
}

/// `NAME=PATH` or `PATH`; what is before `=` is a name only if it looks like one.
fn named(flag: &str) -> (Option<String>, PathBuf) {
    match flag.split_once('=') {
        Some((name, path)) if is_name(name) => (Some(name.to_owned()), path.into()),
        Some(_) | None => (None, flag.into()),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(allowed)
}

fn format(text: &str) -> Result<Format, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Format::Auto),
        "jsonl" => Ok(Format::Jsonl),
        "markdown" => Ok(Format::Markdown),
        "text" => Ok(Format::Text),
        "html" => Ok(Format::Html),
        _ => Err("write auto, jsonl, markdown, text or html".to_owned()),
    }
}

fn strategy(text: &str) -> Result<Strategy, String> {
    match text.to_ascii_lowercase().as_str() {
        "recursive" => Ok(Strategy::Recursive),
        "markdown" => Ok(Strategy::Markdown),
        "fixed" => Ok(Strategy::Fixed),
        "none" => Ok(Strategy::None),
        _ => Err("write recursive, markdown, fixed or none".to_owned()),
    }
}

/// `id=_id,title=title,text=text,metadata=domain:task`; what is not named keeps its default.
fn mapping(text: &str) -> Result<Mapping, String> {
    let mut mapping = Mapping::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let Some((key, field)) = part.split_once('=').filter(|(_, field)| !field.is_empty()) else {
            return Err(format!("{part:?} is no field=name; write id=_id,title=title,text=text,metadata=a:b"));
        };
        match key {
            "id" => mapping.id = field.to_owned(),
            "title" => mapping.title = field.to_owned(),
            "text" => mapping.text = field.to_owned(),
            "metadata" => mapping.metadata = field.split(':').map(str::to_owned).collect(),
            _ => return Err(format!("{key:?} is unknown; there are id, title, text and metadata")),
        }
    }
    Ok(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_names_are_read() {
        let map = mapping("id=_id,metadata=domain:task").unwrap();
        assert_eq!((map.id.as_str(), map.title.as_str()), ("_id", "title"));
        assert_eq!(map.metadata, ["domain", "task"]);
        assert!(mapping("ident=x").unwrap_err().contains("\"ident\" is unknown"));
        assert!(mapping("id").unwrap_err().contains("\"id\" is no field=name"));
        assert_eq!(named("docs=a=b"), (Some("docs".into()), "a=b".into()));
        assert_eq!(named("./a=b"), (None, "./a=b".into()));
    }
}
