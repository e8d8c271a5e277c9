//! `rag index`: builds an index version, reads it back, deletes versions.
//!
//! In a Job (`RAG_JOB` set) the task of the input says what is done and a receipt what came out. Outside,
//! a version is built from flags or from the YAML of a VectorIndex, and verified at once.
//!
//! Invariants: the same inputs give the same vectors, chunk order and content digest; a version is complete
//! or it is not there; what a build says of itself is never believed, `verify` reads the files back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::encoder::{self, Mounts};
use super::exit::{Failure, finish, job_input, report};
use super::http;
use super::job::{JobInput, PruneTask, Task, paths};
use super::receipt::{Body, BuildReport, PruneReport, clip, whole};
use super::store;
use crate::api::reason::Reason;
use crate::embedding::openai::Patience;
use crate::store::embedded::{self, Pruned, prune};
use crate::store::{Manifest, StoreError};

pub mod build;
pub mod flags;
pub mod pipeline;
pub mod plan;
pub mod progress;
pub mod verify;

pub use flags::Args;

/// What a Job does; outside a Job only `build` exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Read, check, cut, embed and write one version.
    #[default]
    Build,
    /// Read one version back (in a Job).
    Verify,
    /// Delete versions (in a Job).
    Prune,
}

/// Where the kubelet mounts what a Job reads and writes.
#[derive(Clone, Debug)]
pub struct Places {
    pub sources: PathBuf,
    pub index: PathBuf,
    pub encoder: Mounts,
    pub patience: Patience,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            sources: paths::SOURCES.into(),
            index: paths::INDEX.into(),
            encoder: Mounts::default(),
            patience: Patience::BUILD,
        }
    }
}

/// Runs `rag index`.
pub fn run(args: Args) -> ExitCode {
    let input = match job_input() {
        Ok(input) => input,
        Err(unread) => return unread.finish(),
    };
    let runtime = http::runtime();
    match input {
        Some(input) => {
            let run = input.run.clone();
            let outcome = runtime.and_then(|runtime| runtime.block_on(job(input, args.action, &Places::default())));
            finish(&run, outcome)
        }
        None => match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(flags::run(args))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(flags::Ended::Usage(text)) => {
                eprintln!("error: {text}");
                ExitCode::from(64)
            }
            Err(flags::Ended::Failed(failure)) => report(Err(failure)),
        },
    }
}

/// Carries out one Job.
pub async fn job(input: JobInput, action: Action, places: &Places) -> Result<Body, Failure> {
    match (action, input.task) {
        (Action::Build, Task::Build(task)) => {
            let client = Arc::new(encoder::client(&task.encoder, places.patience, &places.encoder)?);
            let manifest = build::run(plan::Plan::of_task(&task, places)?, client).await?;
            Ok(Body::Build(build_report(&manifest)))
        }
        (Action::Verify, Task::Verify(task)) => {
            let client = encoder::client(&task.encoder, places.patience, &places.encoder)?;
            let dir = places.index.join(plain_name(&task.physical)?);
            verify::run(&dir, &verify::Expected::of_task(&task), &client).await.map(Body::Verify)
        }
        (Action::Prune, Task::Prune(task)) => prune_all(&places.index, &task).map(Body::Prune),
        (
            Action::Build | Action::Verify | Action::Prune,
            Task::Build(_)
            | Task::Verify(_)
            | Task::Prune(_)
            | Task::Check(_)
            | Task::Evaluate(_)
            | Task::Probe(_)
            | Task::Serve(_),
        ) => Err(Failure::invalid(
            Reason::InvalidSpec.as_str(),
            format!("`rag index {action:?}` was given the input of another task").to_lowercase(),
        )),
    }
}

fn build_report(manifest: &Manifest) -> BuildReport {
    BuildReport {
        content_digest: manifest.content_digest.clone(),
        source_digest: manifest.source_digest.clone(),
        source: whole(manifest.build.source),
        documents: whole(manifest.documents),
        quarantined: whole(manifest.build.quarantined),
        skipped: whole(manifest.build.skipped),
        chunks: whole(manifest.chunks),
        reused_chunks: whole(manifest.build.reused_chunks),
        size_bytes: whole(manifest.size_bytes()),
        cut_chunks: whole(manifest.build.cut_chunks),
        // Five of them leave room for everything else, also when every character must be escaped.
        examples: manifest.build.examples.iter().map(|example| clip(example, 160, 600)).collect(),
    }
}

fn prune_all(root: &Path, task: &PruneTask) -> Result<PruneReport, Failure> {
    let mut report = PruneReport { deleted: 0, missing: 0, foreign: Vec::new() };
    for physical in &task.physical {
        match prune(root, physical, &task.owner_uid).map_err(store_failure)? {
            Pruned::Deleted => report.deleted = report.deleted.saturating_add(1),
            Pruned::Missing => report.missing = report.missing.saturating_add(1),
            Pruned::Foreign => report.foreign.push(physical.clone()),
        }
    }
    Ok(report)
}

/// A name of a directory below the index claim.
fn plain_name(physical: &str) -> Result<&str, Failure> {
    embedded::plain_name(physical).map_err(store_failure)
}

/// The text of a chunk that is embedded and that keywords find.
pub fn embedded_text(title: &str, text: &str) -> String {
    if title.is_empty() { text.to_owned() } else { format!("{title} {text}") }
}

/// How an error of the store ends a worker that writes versions or reads back what was written.
pub fn store_failure(error: StoreError) -> Failure {
    store::failure(error, store::Incomplete::Lost)
}
