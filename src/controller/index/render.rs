//! The Jobs of an index: names, inputs and pods, as they are created.
//!
//! Invariants: a name is a function of owner, purpose and version (for a prune: of the directories), so a lost
//! write is found again; the nonce of a run is its Job's name; sources are mounted read-only, the index claim
//! is writable only where a directory is made or deleted.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::Value;

use super::plan::Spec;
use crate::api::index::IndexVersion;
use crate::api::{EmbeddingModel, VectorIndex, names};
use crate::controller::config::Config;
use crate::controller::model;
use crate::controller::plan::{Action, ChildKind};
use crate::controller::pod::{self, JobRequest, Mounts, Pod};
use crate::controller::reconcile::owner;
use crate::worker::job::{BuildTask, Encoder, JobInput, PruneTask, Task, VerifyTask, paths};

/// Value of the purpose label.
pub const BUILD: &str = "build";
pub const VERIFY: &str = "verify";
pub const PRUNE: &str = "prune";

/// Attempts of a Job after the first; data that are wrong (exit 42) are not tried again.
const RETRIES: i32 = 2;
/// Deleting directories takes seconds; a claim that cannot be mounted must not hold the next attempt for long.
const PRUNE_SECONDS: i64 = 600;

/// What every Job of an index is made from.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    pub index: &'a VectorIndex,
    pub config: &'a Config,
    /// Claims that only one node may mount.
    pub one_node: &'a [String],
}

/// The encoder of a Job, as its pod reaches it.
#[derive(Clone, Copy)]
pub struct Coder<'a> {
    pub model: &'a EmbeddingModel,
    pub encoder: &'a Encoder,
}

/// Directory of a version: never reused, since it holds the UID and a number that only grows; at most 59
/// bytes for names of at most 40 and numbers below 10⁸.
pub fn physical(index: &VectorIndex, number: i64) -> String {
    let uid: String = uid(index).chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{}-{}-v{number}", index.name_any(), uid.to_lowercase())
}

/// Name of the Job that builds or verifies a version.
pub fn job_name(index: &VectorIndex, purpose: &str, version: &str) -> String {
    pod::job_name(&index.name_any(), &(uid(index), purpose, version))
}

/// Name of the Job that deletes these directories.
pub fn prune_name(index: &VectorIndex, physical: &[String]) -> String {
    pod::job_name(&index.name_any(), &(uid(index), PRUNE, physical))
}

fn uid(index: &VectorIndex) -> String {
    index.uid().unwrap_or_default()
}

/// The Job that builds `version`, taking unchanged vectors from `previous`.
pub fn build(
    base: Base<'_>,
    spec: &Spec<'_>,
    coder: Coder<'_>,
    version: &IndexVersion,
    previous: Option<&IndexVersion>,
) -> Action {
    let name = job_name(base.index, BUILD, &version.name);
    let task = Task::Build(BuildTask {
        physical: version.physical.clone(),
        owner_uid: uid(base.index),
        version: version.name.clone(),
        sources: spec.sources.to_vec(),
        chunking: spec.chunking.clone(),
        keyword: spec.keyword,
        data_quality: spec.data_quality.clone(),
        encoder: coder.encoder.clone(),
        // One claim is mounted: vectors on another cannot be taken over, documents can still be compared.
        previous: previous.filter(|p| p.claim == version.claim).map(|p| p.physical.clone()),
        previous_documents: previous.and_then(|p| p.documents),
    });
    let mounts = spec
        .sources
        .iter()
        .fold(Mounts::default(), |mounts, s| mounts.data(&s.from, &format!("{}/{}", paths::SOURCES, s.name)))
        .claim(&version.claim, paths::INDEX, false);
    let mounts = model::mounts(coder.model, mounts);
    job(base, BUILD, name, spec.deadline_seconds, task, mounts, &version.claim)
}

/// The Job that reads `version` back; `None` while the build has not reported.
pub fn verify(base: Base<'_>, spec: &Spec<'_>, coder: Coder<'_>, version: &IndexVersion) -> Option<Action> {
    let name = job_name(base.index, VERIFY, &version.name);
    let task = Task::Verify(VerifyTask {
        physical: version.physical.clone(),
        owner_uid: uid(base.index),
        version: version.name.clone(),
        content_digest: version.content_digest.clone()?,
        documents: version.documents?,
        chunks: version.chunks?,
        self_retrieval_min: spec.data_quality.self_retrieval_min,
        encoder: coder.encoder.clone(),
    });
    let mounts = model::mounts(coder.model, Mounts::default().claim(&version.claim, paths::INDEX, true));
    Some(job(base, VERIFY, name, spec.deadline_seconds, task, mounts, &version.claim))
}

/// The Job that deletes directories of one claim.
pub fn prune(base: Base<'_>, claim: &str, physical: &[String]) -> Action {
    let name = prune_name(base.index, physical);
    let task = Task::Prune(PruneTask { owner_uid: uid(base.index), physical: physical.to_vec() });
    let mounts = Mounts::default().claim(claim, paths::INDEX, false);
    job(base, PRUNE, name, PRUNE_SECONDS, task, mounts, claim)
}

fn job(
    base: Base<'_>,
    purpose: &'static str,
    name: String,
    deadline_seconds: i64,
    task: Task,
    mounts: Mounts,
    claim: &str,
) -> Action {
    let input = JobInput { v: 1, run: name.clone(), task };
    let measured = purpose != PRUNE;
    let pod = Pod {
        config: base.config,
        image: None,
        args: vec!["index".to_owned(), purpose.to_owned()],
        input: Some(&input),
        mounts,
        resources: base.index.spec.build.resources.as_ref().filter(|_| measured),
        defaults: if measured { pod::WORKER } else { pod::LIGHT },
        labels: pod::labels(&base.index.name_any(), &uid(base.index)),
        together: base.one_node.iter().find(|c| *c == claim).cloned(),
        serves: false,
    };
    let namespace = base.index.namespace().unwrap_or_default();
    let request = JobRequest {
        name: name.clone(),
        namespace: &namespace,
        owner: owner(base.index),
        purpose,
        deadline_seconds,
        retries: RETRIES,
        pod,
    };
    Action::Create { kind: ChildKind::Job, name, body: body(&pod::job(&request)) }
}

fn body(job: &Job) -> Value {
    // A Job is plain data: it always has a JSON form.
    serde_json::to_value(job).unwrap_or_default()
}

/// What a Job of ours was told to do, read back from the Job itself.
pub fn task_of(job: &Job) -> Option<Task> {
    let container = job.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    let input = container.env.as_ref()?.iter().find(|e| e.name == names::ENV_JOB)?.value.as_deref()?;
    serde_json::from_str::<JobInput>(input).ok().map(|input| input.task)
}

/// What a Job of ours is for.
pub fn purpose_of(job: &Job) -> &str {
    job.labels().get(names::LABEL_PURPOSE).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        /// A directory's name is one path segment, and a version's of its own.
        #[test]
        fn directories_have_names_of_their_own(
            name in "[a-z]([a-z0-9-]{0,38}[a-z0-9])?", uid in "[0-9A-Fa-f]{8}-[0-9a-f-]{27}",
            number in 0_i64..100_000_000,
        ) {
            let index: VectorIndex = serde_json::from_value(json!({
                "apiVersion": "ragops.dev/v1alpha1", "kind": "VectorIndex", "metadata": {"name": name, "uid": uid},
                "spec": {"embeddingModelRef": {"name": "m"}, "sources": [], "store": {}}
            })).unwrap();
            let directory = physical(&index, number);
            let plain = directory.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            prop_assert!(plain && directory.len() <= 59, "{directory}");
            prop_assert_ne!(physical(&index, number + 1), directory);
        }
    }
}
