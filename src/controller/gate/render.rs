//! The Job that reads a gate's data set in full.

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use super::declared::Retrieval;
use crate::api::EvalGate;
use crate::controller::config::Config;
use crate::controller::pod::{self, JobRequest, Mounts, Pod};
use crate::controller::reconcile::owner;
use crate::worker::job::{AskedOfDataset, CheckTask, JobInput, Task, paths};
use crate::worker::receipt::whole;

/// Purpose label of the Job.
pub const PURPOSE_CHECK: &str = "check";

/// Name of the next check: after one that counted for the present spec it is another, so that a check can be made
/// again.
pub fn check_name(gate: &EvalGate) -> String {
    let digest = crate::worker::job::spec_digest(&gate.spec);
    let dataset = gate.status.as_ref().and_then(|status| status.dataset.as_ref());
    let before = dataset.filter(|dataset| dataset.spec_digest == digest).map(|dataset| dataset.checked_at.as_str());
    pod::job_name(&gate.name_any(), &(gate.uid().unwrap_or_default(), PURPOSE_CHECK, &digest, before))
}

/// The Job.
pub fn check(gate: &EvalGate, config: &Config, name: &str, retrieval: &Retrieval<'_>) -> Job {
    let task = CheckTask {
        dataset: retrieval.dataset.clone(),
        gate: Some(AskedOfDataset::of(retrieval.spec)),
        slices: Vec::new(),
        cluster_by: None,
    };
    let input = JobInput { v: 1, run: name.to_owned(), task: Task::Check(task) };
    pod::job(&JobRequest {
        name: name.to_owned(),
        namespace: &gate.namespace().unwrap_or_default(),
        owner: owner(gate),
        purpose: PURPOSE_CHECK,
        deadline_seconds: whole(retrieval.timeout.as_secs()),
        retries: 0,
        pod: Pod {
            config,
            image: None,
            args: vec!["evaluate".to_owned()],
            input: Some(&input),
            mounts: Mounts::default().data(&retrieval.dataset.from, paths::DATASET),
            resources: None,
            defaults: pod::WORKER,
            labels: pod::labels(&gate.name_any(), &gate.uid().unwrap_or_default()),
            together: None,
            serves: false,
        },
    })
}
