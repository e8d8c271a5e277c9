//! The Job that reads a gate's data set in full.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

use crate::api::EvalGate;
use crate::api::gate::Dataset;
use crate::controller::config::Config;
use crate::controller::pod::{self, JobRequest, Mounts, Pod};
use crate::controller::reconcile::owner;
use crate::worker::job::{CheckTask, JobInput, Task, paths};

/// Purpose label of the Job.
pub const PURPOSE_CHECK: &str = "check";

/// Name of the next check: after one that counted for the present spec it is another, so that a check can be made
/// again.
pub fn check_name(gate: &EvalGate) -> String {
    let digest = super::spec_digest(&gate.spec);
    let dataset = gate.status.as_ref().and_then(|status| status.dataset.as_ref());
    let before = dataset.filter(|dataset| dataset.spec_digest == digest).map(|dataset| dataset.checked_at.as_str());
    pod::job_name(&gate.name_any(), &(gate.uid().unwrap_or_default(), PURPOSE_CHECK, &digest, before))
}

/// The Job.
pub fn check(gate: &EvalGate, config: &Config, name: &str, dataset: &Dataset, timeout: Duration) -> Job {
    let input = JobInput { v: 1, run: name.to_owned(), task: Task::Check(CheckTask { dataset: dataset.clone() }) };
    pod::job(&JobRequest {
        name: name.to_owned(),
        namespace: &gate.namespace().unwrap_or_default(),
        owner: owner(gate),
        purpose: PURPOSE_CHECK,
        deadline_seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        retries: 0,
        pod: Pod {
            config,
            image: None,
            args: vec!["evaluate".to_owned()],
            input: Some(&input),
            mounts: Mounts::default().data(&dataset.from, paths::DATASET),
            resources: None,
            defaults: pod::WORKER,
            labels: pod::labels(&gate.name_any(), &gate.uid().unwrap_or_default()),
            together: None,
            serves: false,
        },
    })
}
