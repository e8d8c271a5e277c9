//! BeforeTraffic gates: each way a run can end, and what follows.

use super::sim::{Run, Sim};
use super::world::{self, release};
use crate::api::gate::VerdictWord;
use crate::api::release::{OnInconclusive, RollbackCause};
use crate::controller::read::Referred;

const STEPS: [(i32, &str); 2] = [(10, "60s"), (100, "0s")];
const GATES: [(&str, &str); 1] = [("quality", "BeforeTraffic")];

fn after(run: Run, change: impl Fn(&mut Sim)) -> Sim {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    change(&mut sim);
    sim.runs.insert("quality".to_owned(), run);
    sim.version_ready("v2");
    sim.settle();
    sim
}

#[test]
fn each_end_of_a_run_has_its_consequence() {
    let nothing = |_: &mut Sim| {};
    let strict = |sim: &mut Sim| sim.edit(|r| r.spec.rollout.on_inconclusive = OnInconclusive::Fail);
    let never = |sim: &mut Sim| sim.edit(|r| r.spec.rollback.on = vec![RollbackCause::SloBreached]);
    type Change<'a> = &'a dyn Fn(&mut Sim);
    // run, change, reason, stalled, weight of the candidate, verdict, failed
    let table: [(Run, Change, &str, bool, i32, &str, bool); 9] = [
        (Run::Pass, &nothing, "Stepping", false, 10, "Pass", false),
        (Run::Fail, &nothing, "RolledBack", true, 0, "Fail", true),
        (Run::Fail, &never, "GateFailed", true, 0, "Fail", false),
        (Run::Inconclusive, &nothing, "GateInconclusive", false, 0, "Inconclusive", false),
        (Run::Inconclusive, &strict, "RolledBack", true, 0, "Inconclusive", true),
        (Run::Error, &nothing, "GateUnavailable", true, 0, "Error", false),
        (Run::Dies, &nothing, "GateUnavailable", true, 0, "Error", false),
        (Run::OtherInputs, &nothing, "GateUnavailable", true, 0, "Error", false),
        (Run::Never, &nothing, "Verifying", false, 0, "Running", false),
    ];
    for (run, change, reason, stalled, weight, verdict, failed) in table {
        let sim = after(run, change);
        let status = sim.status();
        let found = status.candidate.as_ref().map_or(0, |c| c.weight);
        assert_eq!(
            (sim.reason().as_str(), sim.stalled(), found),
            (reason, stalled, weight),
            "{run:?} {}",
            sim.message()
        );
        assert_eq!(status.gate.as_deref(), Some(verdict), "{run:?}");
        assert_eq!(!status.failed_revisions.is_empty(), failed, "{run:?}");
    }
}

#[test]
fn an_error_is_tried_again_and_then_once_an_hour() {
    let mut sim = after(Run::Error, |_| {});
    assert_eq!(sim.jobs.len(), 4, "the first release and three attempts");
    assert_eq!(sim.status().gates[0].attempt, 3);
    sim.advance(3_500);
    sim.settle();
    assert_eq!(sim.jobs.len(), 4);
    sim.runs.clear();
    sim.advance(200);
    sim.settle();
    assert_eq!((sim.jobs.len(), sim.reason().as_str()), (5, "Stepping"), "goes on after recovery");
}

#[test]
fn errors_alone_do_not_keep_a_candidate_alive() {
    let mut sim = after(Run::Error, |sim| sim.edit(|r| r.spec.rollout.progress_deadline = "3h".to_owned()));
    for _ in 0..4 {
        sim.advance(3_000);
        sim.settle();
    }
    assert_eq!(sim.reason(), "ProgressDeadlineExceeded");
}

#[test]
fn a_gate_that_is_missing_or_of_the_wrong_kind_keeps_a_candidate_from_starting() {
    type Change<'a> = &'a dyn Fn(&mut Sim);
    let table: [(Change, &str, bool); 5] = [
        (&|s| drop(s.gates.insert("quality".into(), Referred::Absent)), "RefNotFound", false),
        (&|s| drop(s.gates.remove("quality")), "RefNotFound", false),
        (&|s| drop(s.gates.insert("quality".into(), Referred::Unreadable("x".into()))), "RefNotFound", false),
        (&|s| drop(s.gates.insert("quality".into(), world::live("quality"))), "InvalidSpec", true),
        (&|s| s.edit(|r| r.spec.rollout.gates.push(r.spec.rollout.gates[0].clone())), "InvalidSpec", true),
    ];
    for (i, (change, reason, stalled)) in table.into_iter().enumerate() {
        let mut sim = after(Run::Pass, change);
        assert_eq!((sim.reason().as_str(), sim.stalled()), (reason, stalled), "{i}: {}", sim.message());
        assert_eq!((sim.status().candidate, sim.deployments.len()), (None, 1), "{i}");
        sim.gates.insert("quality".into(), world::quality("quality", world::START, 2));
        sim.edit(|r| r.spec.rollout.gates.truncate(1));
        sim.settle();
        assert_eq!(sim.reason(), "Stepping", "{i}: {}", sim.message());
    }
}

#[test]
fn a_dataset_that_was_not_checked_lately_is_waited_for() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.advance(4_000);
    sim.version_ready("v2");
    sim.settle();
    assert_eq!(sim.reason(), "Preparing");
    assert!(sim.message().contains("check its dataset"), "{}", sim.message());
    let now = crate::controller::condition::time_text(sim.now);
    world::check(sim.gate_mut("quality"), &now);
    sim.settle();
    assert_eq!(sim.reason(), "Stepping", "{}", sim.message());
}

#[test]
fn a_gate_edited_before_anything_was_measured_is_measured_as_it_is_then() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.version_ready("v2");
    sim.pass();
    let now = crate::controller::condition::time_text(sim.now);
    let gate = sim.gate_mut("quality");
    gate.spec.retrieval.as_mut().unwrap().metrics[0].floor = Some(0.9);
    world::check(gate, &now);
    sim.settle();
    assert_eq!(sim.reason(), "RolledBack", "the mean is .8: {}", sim.message());
}

#[test]
fn a_gate_edited_while_it_measures_changes_nothing_and_may_even_be_gone() {
    for gone in [false, true] {
        let mut sim = after(Run::Never, |_| {});
        if gone {
            sim.gates.clear();
            sim.edit(|r| r.spec.rollout.gates.clear());
        } else {
            sim.gate_mut("quality").spec.retrieval.as_mut().unwrap().metrics[0].floor = Some(0.99);
        }
        sim.runs.clear();
        sim.settle();
        assert_eq!(sim.reason(), "Stepping", "{}", sim.message());
    }
}

#[test]
fn a_foreign_job_of_the_same_name_is_said_and_not_read() {
    let mut sim = after(Run::Never, |_| {});
    let name = sim.status().gates[0].job.clone().unwrap();
    let job = sim.jobs.get_mut(&name).unwrap().job.as_mut().unwrap();
    job.metadata.owner_references = None;
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.stalled()), ("NotOwned", true));
}

#[test]
fn a_lost_job_is_made_again_under_its_name_and_counted_once() {
    let mut sim = after(Run::Never, |_| {});
    let name = sim.status().gates[0].job.clone().unwrap();
    sim.jobs.remove(&name);
    sim.runs.clear();
    sim.settle();
    assert_eq!((sim.status().gates[0].attempt, sim.status().gates[0].job.as_ref()), (1, Some(&name)));
    assert_eq!(sim.status().gates[0].verdict, Some(VerdictWord::Pass));
    let ttl = sim.jobs[&name].job.as_ref().unwrap().spec.as_ref().unwrap().ttl_seconds_after_finished;
    assert_eq!(ttl, Some(1), "its result is stored: it may go");
}

#[test]
fn all_gates_must_pass() {
    let gates = [("quality", "BeforeTraffic"), ("other", "BeforeTraffic")];
    for (run, reason) in [(Run::Pass, "Stepping"), (Run::Inconclusive, "GateInconclusive"), (Run::Fail, "RolledBack")] {
        let mut sim = Sim::of(release(&gates, &STEPS));
        sim.gates.insert("other".into(), world::quality("other", world::START, 2));
        sim.settle();
        sim.runs.insert("other".to_owned(), run);
        sim.version_ready("v2");
        sim.settle();
        assert_eq!(sim.reason(), reason, "{}", sim.message());
    }
}

/// A gate that keeps reports, and a candidate whose run goes on.
fn reporting() -> (Sim, String) {
    let report = serde_json::json!({"claimName": "reports", "path": "rag"});
    let sim = after(Run::Never, |sim| {
        let Some(Referred::Here(gate)) = sim.gates.get_mut("quality") else { panic!("a gate") };
        gate.spec.report = serde_json::from_value(report.clone()).unwrap();
    });
    let job = sim.status().gates[0].job.clone().unwrap();
    (sim, job)
}

/// Claims that the pod of a Job mounts, and whether it may write.
fn claims(sim: &Sim, job: &str) -> Vec<(String, bool)> {
    let spec = sim.jobs[job].job.as_ref().unwrap().spec.as_ref().unwrap().template.spec.clone().unwrap();
    let volumes = spec.volumes.unwrap();
    let mounts = spec.containers[0].volume_mounts.clone().unwrap();
    let claim = |name: &str| volumes.iter().find(|v| v.name == name).and_then(|v| v.persistent_volume_claim.clone());
    mounts.iter().filter_map(|m| Some((claim(&m.name)?.claim_name, m.read_only != Some(true)))).collect()
}

#[test]
fn a_report_mounts_its_claim_beside_the_dataset_and_its_place_reaches_the_status() {
    let (mut sim, job) = reporting();
    assert_eq!(claims(&sim, &job), [("data".to_owned(), false), ("reports".to_owned(), true)]);
    sim.runs.clear();
    sim.settle();
    let gate = &sim.status().gates[0];
    assert_eq!(gate.verdict, Some(VerdictWord::Pass));
    let report = gate.report.clone().unwrap();
    assert_eq!((report.uri.as_deref(), report.problem), (Some("pvc://reports/x.html"), None));
    // Without the field nothing but the dataset.
    let sim = after(Run::Never, |_| {});
    let job = sim.status().gates[0].job.clone().unwrap();
    assert_eq!(claims(&sim, &job), [("data".to_owned(), false)]);
}

#[test]
fn a_claim_that_cannot_be_mounted_costs_the_report_and_not_the_verdict() {
    let unscheduled = serde_json::json!({"metadata": {"name": "p"}, "status": {"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "claim reports not found"}]}});
    let waiting = serde_json::json!({"metadata": {"name": "p"}, "status": {"startTime": world::START, "containerStatuses": [
        {"name": "rag", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
         "state": {"waiting": {"reason": "ContainerCreating"}}}]}});
    for pod in [unscheduled, waiting] {
        let (mut sim, job) = reporting();
        let now = sim.now;
        let attempt = sim.jobs.get_mut(&job).unwrap();
        attempt.job.as_mut().unwrap().metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        attempt.pods = vec![serde_json::from_value(pod).unwrap()];
        sim.settle();
        assert_eq!(sim.status().gates[0].job.as_ref(), Some(&job), "a pod has some time to start");
        sim.advance(40);
        sim.settle();
        let gate = &sim.status().gates[0];
        let again = gate.job.clone().unwrap();
        assert!(again != job && !sim.jobs.contains_key(&job), "another Job in its place");
        assert_eq!((gate.attempt, claims(&sim, &again)), (1, vec![("data".to_owned(), false)]));
        assert!(gate.report.as_ref().unwrap().problem.as_ref().unwrap().contains("claim reports"));
        sim.runs.clear();
        sim.settle();
        let gate = &sim.status().gates[0];
        assert_eq!((gate.verdict, gate.attempt), (Some(VerdictWord::Pass), 1));
        assert!(gate.report.as_ref().unwrap().problem.is_some(), "the status says why there is none");
    }
}

#[test]
fn a_pod_that_waits_for_something_else_keeps_waiting() {
    let (mut sim, job) = reporting();
    sim.advance(40);
    sim.settle();
    assert_eq!(sim.status().gates[0].job.as_ref(), Some(&job), "no pod says that it cannot start");
}
