//! What became of a Job of ours: read from the Job and its pods, as plain data.
//!
//! Why one place: build, verify, prune, check, evaluate and probe end in the same ways. Invariants: a receipt
//! counts only from a pod that the Job owns, that exited 0, when the Job is Complete; whatever else happened is
//! told in words.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use crate::api::{Reason, names};
use crate::controller::text::shortened;
use crate::worker::receipt::{Body, EXIT_INVALID, EXIT_UNAVAILABLE, ErrorReport, Receipt, Report};

/// What a receipt that does not count is called.
const RECEIPT_REJECTED: &str = "ReceiptRejected";
/// Most characters of what a kubelet, the scheduler or an admission says: what to do about it must still fit behind.
const TOLD: usize = 500;
/// Seconds without a pod, or of a pod without its volumes, that are no longer usual.
const LATE: i64 = 30;

/// A Job by its name, with its pods.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    pub job: Option<Job>,
    pub pods: Vec<Pod>,
    /// When both were read.
    pub seen_at: Timestamp,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Configuration or data are wrong: the same input fails again.
    Invalid,
    /// A source, a service or the pod itself went away: a new attempt may help.
    Passing,
    /// Neither is known: a crash, the memory limit, the time limit, a receipt that does not count.
    Other,
}

/// What became of it; `R` is what it had to report.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<R = Body> {
    /// No Job of that name.
    Absent,
    /// A Job of that name that is not ours.
    Foreign,
    /// Under way.
    Running,
    /// Under way, but its pod cannot start.
    Stuck { reason: Reason, message: String },
    /// Complete, with a receipt of this run.
    Done { report: R, finished_at: Option<Timestamp> },
    /// It ended without a result that counts.
    Failed { error: ErrorReport, fault: Fault, finished_at: Option<Timestamp> },
}

impl Outcome {
    /// The same for who asked for a report of this kind; one of another kind is a failure of Job `name`.
    pub fn of<R: Report>(self, name: &str) -> Outcome<R> {
        match self {
            Self::Absent => Outcome::Absent,
            Self::Foreign => Outcome::Foreign,
            Self::Running => Outcome::Running,
            Self::Stuck { reason, message } => Outcome::Stuck { reason, message },
            Self::Failed { error, fault, finished_at } => Outcome::Failed { error, fault, finished_at },
            Self::Done { report, finished_at } => match R::of(report) {
                Some(report) => Outcome::Done { report, finished_at },
                None => {
                    let error = refused(name, "it is of another kind");
                    Outcome::Failed { error, fault: Fault::Other, finished_at }
                }
            },
        }
    }
}

impl Attempt {
    /// What became of the Job that `owner_uid` made under the name `run`, where a Job that is going is waited for
    /// whatever came of it.
    pub fn unless_going<R: Report>(&self, owner_uid: &str, run: &str) -> Outcome<R> {
        let going = self.job.as_ref().is_some_and(|job| job.metadata.deletion_timestamp.is_some());
        match self.outcome(owner_uid, run) {
            Outcome::Foreign => Outcome::Foreign,
            _ if going => Outcome::Running,
            outcome => outcome.of(run),
        }
    }

    /// What became of the Job that `owner_uid` made for `run`.
    pub fn outcome(&self, owner_uid: &str, run: &str) -> Outcome {
        let Some(job) = &self.job else { return Outcome::Absent };
        let owned = job.metadata.owner_references.iter().flatten().any(|o| o.uid == owner_uid);
        if !owned {
            return Outcome::Foreign;
        }
        let finished_at = finished(job);
        match ended(job) {
            None => self.stuck().unwrap_or(Outcome::Running),
            Some((true, _)) => self.done(job, run, finished_at),
            Some((false, message)) => self.failed(job, run, &message, finished_at),
        }
    }

    fn own_pods<'a>(&'a self, job: &'a Job) -> impl Iterator<Item = &'a Pod> {
        let uid = job.metadata.uid.as_deref();
        self.pods
            .iter()
            .filter(move |pod| pod.metadata.owner_references.iter().flatten().any(|o| Some(o.uid.as_str()) == uid))
    }

    fn done(&self, job: &Job, run: &str, finished_at: Option<Timestamp>) -> Outcome {
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let Some(ended) = self.own_pods(job).filter_map(terminated).find(|t| t.exit_code == 0) else {
            let error = refused(name, "the pod that left it is gone");
            return Outcome::Failed { error, fault: Fault::Passing, finished_at };
        };
        match Receipt::parse(ended.message.as_deref().unwrap_or_default(), run) {
            Ok(Receipt { body: Body::Error(error), .. }) => Outcome::Failed { error, fault: Fault::Other, finished_at },
            Ok(receipt) => Outcome::Done { report: receipt.body, finished_at },
            Err(why) => Outcome::Failed { error: refused(name, why), fault: Fault::Other, finished_at },
        }
    }

    fn failed(&self, job: &Job, run: &str, message: &str, finished_at: Option<Timestamp>) -> Outcome {
        // The newest pod speaks for the Job: earlier ones were tried again.
        let last = self.own_pods(job).filter_map(terminated).max_by_key(|t| t.finished_at.as_ref().map(|at| at.0));
        let told = last.and_then(|t| t.message.as_deref()).and_then(|m| Receipt::parse(m, run).ok());
        if let Some(Receipt { body: Body::Error(error), .. }) = told {
            let fault = match last.map(|t| t.exit_code) {
                Some(EXIT_INVALID) => Fault::Invalid,
                Some(EXIT_UNAVAILABLE) => Fault::Passing,
                Some(_) | None => Fault::Other,
            };
            return Outcome::Failed { error, fault, finished_at };
        }
        let name = job.metadata.name.as_deref().unwrap_or_default();
        let (how, fault) = match (last, self.stuck()) {
            (Some(t), _) if t.reason.as_deref() == Some("OOMKilled") => {
                let how = "its pod needed more memory than its limit; raise the limit in `resources`";
                (how.to_owned(), Fault::Other)
            }
            (Some(t), _) => (format!("its pod ended with exit code {} and no receipt", t.exit_code), Fault::Other),
            (None, Some(Outcome::Stuck { message, .. })) => (message, Fault::Other),
            // The Job's own time limit removes its pods; else somebody took them away.
            (None, _) if out_of_time(job) => ("its pod never ran to its end".to_owned(), Fault::Other),
            (None, _) => ("its pod never ran to its end".to_owned(), Fault::Passing),
        };
        let why = if message.is_empty() { String::new() } else { format!(" ({message})") };
        let error = ErrorReport {
            reason: Reason::JobFailed.as_str().to_owned(),
            error: format!("Job {name} failed: {how}{why}"),
        };
        Outcome::Failed { error, fault, finished_at }
    }

    fn stuck(&self) -> Option<Outcome> {
        let stuck = self.pods.iter().find_map(why_stuck).or_else(|| self.without_pod());
        stuck.map(|(reason, message)| Outcome::Stuck { reason, message })
    }

    /// A Job of which no pod came: what refuses its pods is told in its events only.
    fn without_pod(&self) -> Option<(Reason, String)> {
        let job = self.job.as_ref()?;
        let status = job.status.clone().unwrap_or_default();
        let counts = [status.active, status.succeeded, status.failed, status.terminating];
        let suspended = job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or(false);
        if suspended || !self.pods.is_empty() || counts.into_iter().flatten().any(|count| count > 0) {
            return None;
        }
        let made = job.metadata.creation_timestamp.as_ref()?.0;
        if self.seen_at.duration_since(made) < SignedDuration::from_secs(LATE) {
            return None;
        }
        let (name, namespace) = (job.metadata.name.as_deref()?, job.metadata.namespace.as_deref()?);
        let text = format!(
            "Job {name} has no pod {LATE} s after it was made: a quota, a LimitRange or a policy may refuse it. Its \
             events say which: `kubectl -n {namespace} describe job {name}`."
        );
        Some((Reason::Refused, text))
    }
}

fn refused(name: &str, why: impl std::fmt::Display) -> ErrorReport {
    ErrorReport {
        reason: RECEIPT_REJECTED.to_owned(),
        error: format!("Job {name} is complete, but its receipt does not count: {why}"),
    }
}

/// `Complete` or `Failed`, with the condition's message; everything else is interim.
fn ended(job: &Job) -> Option<(bool, String)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().filter(|c| c.status == "True").find_map(|c| match c.type_.as_str() {
        "Complete" => Some((true, String::new())),
        "Failed" => Some((false, c.message.clone().unwrap_or_default())),
        _ => None,
    })
}

/// Whether a Job failed because its time was over.
fn out_of_time(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Failed" && c.status == "True" && c.reason.as_deref() == Some("DeadlineExceeded"))
}

fn finished(job: &Job) -> Option<Timestamp> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| c.status == "True" && (c.type_ == "Complete" || c.type_ == "Failed"))
        .and_then(|c| c.last_transition_time.as_ref().map(|at| at.0))
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|s| s.name == names::CONTAINER)?.state.as_ref()?.terminated.as_ref()
}

/// Why a pod cannot start, if that is so: image, configuration, scheduling.
pub fn why_stuck(pod: &Pod) -> Option<(Reason, String)> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let waiting = status
        .container_statuses
        .iter()
        .flatten()
        .find(|s| s.name == names::CONTAINER)
        .and_then(|s| s.state.as_ref()?.waiting.as_ref().map(|w| (w, s.image.as_str())));
    if let Some((waiting, image)) = waiting {
        let told = shortened(waiting.message.as_deref().unwrap_or_default(), TOLD);
        let reason = match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                let text = format!(
                    "Pod {name} cannot start: image {image} cannot be pulled ({told}). Correct `image` in the \
                     operator's configuration, or load the image onto the node."
                );
                return Some((Reason::ImagePullFailed, text));
            }
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Reason::PodConfigError,
            _ => return None,
        };
        return Some((reason, format!("Pod {name} cannot start: {told}.")));
    }
    let unscheduled =
        status.conditions.iter().flatten().find(|c| {
            c.type_ == "PodScheduled" && c.status == "False" && c.reason.as_deref() == Some("Unschedulable")
        })?;
    let told = shortened(unscheduled.message.as_deref().unwrap_or_default(), TOLD);
    Some((Reason::PodUnschedulable, format!("Pod {name} cannot be scheduled: {told}.")))
}

/// Why a Deployment can make no pod, if that is so: a quota, a LimitRange or a policy refuses it.
pub fn pods_refused(deployment: &Deployment) -> Option<(Reason, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let refused = conditions.iter().find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    let told = shortened(refused.message.as_deref().unwrap_or_default().trim_end_matches('.'), TOLD);
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    Some((Reason::Refused, format!("No pod of Deployment {name} can be made: {told}.")))
}

/// Whether a pod has waited so long for its volumes that one of them is probably missing: the kubelet tells it
/// in events only.
pub fn waits_for_volumes(pod: &Pod, now: Timestamp) -> bool {
    let creating = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref()).into_iter().flatten().any(|s| {
        let waiting = s.state.as_ref().and_then(|state| state.waiting.as_ref());
        s.name == names::CONTAINER && waiting.and_then(|w| w.reason.as_deref()) == Some("ContainerCreating")
    });
    let since = pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|at| at.0);
    creating && since.is_some_and(|at| now.duration_since(at) > SignedDuration::from_secs(LATE))
}

/// A reason as a worker wrote it; a receipt that does not count is a Job that failed.
pub fn reason_of(error: &ErrorReport) -> Option<Reason> {
    if error.reason == RECEIPT_REJECTED {
        return Some(Reason::JobFailed);
    }
    Reason::of(&error.reason)
}

/// What went wrong, as a sentence.
pub fn told(error: &ErrorReport) -> String {
    let text = error.error.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Seconds that a Job which could not measure still rests before it is made anew.
pub fn rest(finished_at: Option<Timestamp>, now: Timestamp, pause: Duration) -> Duration {
    let rested = finished_at.map_or(pause, |at| now.duration_since(at).try_into().unwrap_or_default());
    pause.saturating_sub(rested)
}

/// Whether a Job ended, however.
pub fn has_ended(job: &Job) -> bool {
    ended(job).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn attempt(condition: Option<(&str, &str)>, exit: i32, message: &str) -> Attempt {
        let conditions = condition
            .map(|(type_, message)| json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": type_, "status": "True", "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]));
        let job = json!({
            "metadata": {"name": "j", "uid": "job-uid", "ownerReferences": [{"apiVersion": "v", "kind": "k", "name": "n", "uid": "owner"}]},
            "status": {"conditions": conditions}
        });
        let pod = json!({
            "metadata": {"name": "p", "ownerReferences": [{"apiVersion": "v", "kind": "k", "name": "n", "uid": "job-uid"}]},
            "status": {"containerStatuses": [{"name": "rag", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": exit, "message": message}}}]}
        });
        let (job, pods) = (serde_json::from_value(job).unwrap(), vec![serde_json::from_value(pod).unwrap()]);
        Attempt { job, pods, ..Attempt::default() }
    }

    const CHECK: &str =
        r#"{"v":1,"run":"r","kind":"check","digest":"d","queries":3,"judgments":4,"clusters":null,"slices":[]}"#;

    #[test]
    fn a_receipt_counts_only_from_a_complete_job_and_this_run() {
        let done = attempt(Some(("Complete", "")), 0, CHECK);
        assert!(matches!(done.outcome("owner", "r"), Outcome::Done { report: Body::Check(_), .. }));
        assert_eq!(done.outcome("other", "r"), Outcome::Foreign);
        assert!(
            matches!(done.outcome("owner", "s"), Outcome::Failed { error, .. } if error.reason == "ReceiptRejected")
        );
        assert_eq!(attempt(None, 0, CHECK).outcome("owner", "r"), Outcome::Running);
        assert!(matches!(attempt(Some(("Failed", "")), 0, CHECK).outcome("owner", "r"), Outcome::Failed { .. }));
        let twice = CHECK.replace("\"queries\":3", "\"queries\":3,\"queries\":9");
        assert!(matches!(attempt(Some(("Complete", "")), 0, &twice).outcome("owner", "r"), Outcome::Failed { .. }));
        let cut = &CHECK[..40];
        assert!(matches!(attempt(Some(("Complete", "")), 0, cut).outcome("owner", "r"), Outcome::Failed { .. }));
    }

    #[test]
    fn a_receipt_of_another_kind_is_a_failure_of_its_job() {
        use crate::worker::receipt::{BuildReport, CheckReport};
        let done = attempt(Some(("Complete", "")), 0, CHECK);
        assert!(matches!(done.outcome("owner", "r").of::<CheckReport>("j"), Outcome::Done { .. }));
        let Outcome::Failed { error, fault: Fault::Other, .. } = done.outcome("owner", "r").of::<BuildReport>("j")
        else {
            panic!("expected a failure");
        };
        assert_eq!(reason_of(&error), Some(Reason::JobFailed));
        assert_eq!(error.error, "Job j is complete, but its receipt does not count: it is of another kind");
    }

    #[test]
    fn a_job_that_is_going_is_waited_for() {
        use crate::worker::receipt::CheckReport;
        let mut done = attempt(Some(("Complete", "")), 0, CHECK);
        done.job.as_mut().unwrap().metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(done.unless_going::<CheckReport>("owner", "r"), Outcome::Running);
        assert_eq!(done.unless_going::<CheckReport>("other", "r"), Outcome::Foreign);
    }

    #[test]
    fn an_error_receipt_is_told_in_its_own_words() {
        let text = r#"{"v":1,"run":"r","kind":"error","reason":"ShrinkGuard","error":"8 documents, 10 before"}"#;
        let Outcome::Failed { error, fault, .. } = attempt(Some(("Failed", "x")), 42, text).outcome("owner", "r")
        else {
            panic!("expected a failure");
        };
        assert_eq!(fault, Fault::Invalid);
        assert_eq!((error.reason.as_str(), error.error.as_str()), ("ShrinkGuard", "8 documents, 10 before"));
    }

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        let error = r#"{"v":1,"run":"r","kind":"error","reason":"EndpointUnavailable","error":"no answer"}"#;
        let fault = |attempt: &Attempt| match attempt.outcome("owner", "r") {
            Outcome::Failed { fault, .. } => fault,
            other => panic!("expected a failure: {other:?}"),
        };
        let failed = |exit, message| attempt(Some(("Failed", "x")), exit, message);
        for (exit, message, expected) in [
            (42, error, Fault::Invalid),
            (43, error, Fault::Passing),
            (1, error, Fault::Other),
            (43, "", Fault::Other),
            (137, "", Fault::Other),
        ] {
            assert_eq!(fault(&failed(exit, message)), expected, "exit {exit}: {message}");
        }
        // A node that went away took the pod with it, before or after its end.
        let lost = |condition| Attempt { pods: Vec::new(), ..attempt(Some((condition, "")), 0, CHECK) };
        assert_eq!(fault(&lost("Complete")), Fault::Passing);
        assert_eq!(fault(&lost("Failed")), Fault::Passing);
        let mut late = lost("Failed");
        let conditions = late.job.as_mut().unwrap().status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions[1].reason = Some("DeadlineExceeded".into());
        assert_eq!(fault(&late), Fault::Other);
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "status": {"containerStatuses": [{"name": "rag", "image": "nowhere/rag:9", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}}}]}
        }))
        .unwrap();
        let (reason, text) = why_stuck(&pod).unwrap();
        assert_eq!(reason, Reason::ImagePullFailed);
        assert!(text.contains("nowhere/rag:9"), "{text}");
    }

    #[test]
    fn a_job_of_which_no_pod_comes_says_where_the_cause_stands() {
        let attempt = |age: i64, spec: Value, status: Value| {
            let made = "2026-01-01T00:00:00Z";
            let job = json!({"metadata": {"name": "j", "namespace": "team", "uid": "u", "creationTimestamp": made,
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "owner"}]},
                "spec": spec, "status": status});
            let seen_at = made.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(age);
            Attempt { job: serde_json::from_value(job).unwrap(), pods: Vec::new(), seen_at }
        };
        let spec = || json!({"template": {}});
        let waits = [
            attempt(29, spec(), json!({})),
            attempt(99, spec(), json!({"active": 1})),
            attempt(99, spec(), json!({"failed": 1})),
            attempt(99, json!({"template": {}, "suspend": true}), json!({})),
        ];
        for waiting in waits {
            assert_eq!(waiting.outcome("owner", "r"), Outcome::Running, "{:?}", waiting.job);
        }
        let Outcome::Stuck { reason, message } = attempt(30, spec(), json!({"active": 0})).outcome("owner", "r") else {
            panic!("no pod for 30 s")
        };
        assert!(reason == Reason::Refused && message.contains("kubectl -n team describe job j"), "{message}");
    }

    #[test]
    fn pods_that_are_refused_are_told_in_the_words_of_who_refuses() {
        let deployment = |status: &str| -> Deployment {
            let told = "pods \"shop-1-x\" is forbidden: maximum memory usage per Container is 3Gi.";
            serde_json::from_value(json!({"metadata": {"name": "shop-1"}, "status": {"conditions": [
                {"type": "Progressing", "status": "True", "message": "makes pods"},
                {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": told}
            ]}}))
            .unwrap()
        };
        assert_eq!(pods_refused(&deployment("False")), None);
        assert_eq!(pods_refused(&Deployment::default()), None);
        let (reason, told) = pods_refused(&deployment("True")).unwrap();
        assert_eq!(reason, Reason::Refused);
        let text = "No pod of Deployment shop-1 can be made: pods \"shop-1-x\" is forbidden: maximum memory usage per \
                    Container is 3Gi.";
        assert_eq!(told, text);
    }
}
