//! Runs by schedule, datasets that change between runs, and what promoted revisions lost together.

use super::sim::{Run, Sim};
use super::world::{check, release};
use crate::api::gate::VerdictWord;
use crate::controller::read::Referred;

const STEPS: [(i32, &str); 2] = [(50, "20s"), (100, "0s")];
const GATES: [(&str, &str); 1] = [("quality", "BeforeTraffic")];
const DAY: i64 = 86_400;

/// Serves v1, and its gate measures stable each day at 03:00.
fn nightly() -> Sim {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.gate_mut("quality").spec.schedule = Some("0 3 * * *".to_owned());
    sim.settle();
    sim
}

fn verdict(sim: &Sim) -> Option<VerdictWord> {
    sim.status().scheduled.first().and_then(|scheduled| scheduled.run.verdict)
}

fn reason(sim: &Sim) -> String {
    sim.status().scheduled.first().and_then(|scheduled| scheduled.run.reason.clone()).unwrap_or_default()
}

/// A candidate that passed its gate and would get its first weight.
fn next_version(sim: &mut Sim) {
    let now = sim.now.to_string();
    check(sim.gate_mut("quality"), &now);
    sim.version_ready("v2");
    sim.requests = 1_000;
}

#[test]
fn stable_is_measured_when_it_is_due_and_once() {
    let mut sim = nightly();
    assert_eq!(sim.status().scheduled, [], "nothing is due at midnight");
    assert!(sim.pass().requeue.is_some_and(|after| after.as_secs() <= 3 * 3_600));
    let jobs = sim.jobs.len();
    sim.advance(3 * 3_600);
    sim.settle();
    assert_eq!((verdict(&sim), sim.jobs.len()), (Some(VerdictWord::Pass), jobs + 1));
    assert_eq!(sim.status().scheduled[0].run.revision, sim.stable());
    // Four days in which nobody looked: one run.
    sim.advance(4 * DAY);
    sim.settle();
    assert_eq!(sim.jobs.len(), jobs + 2);
    assert_eq!((sim.reason().as_str(), sim.stalled()), ("Promoted", false));
    // Without a schedule nothing of it is left.
    sim.gate_mut("quality").spec.schedule = None;
    sim.settle();
    assert_eq!(sim.status().scheduled, []);
}

#[test]
fn a_run_that_fails_warns_rolls_nothing_back_and_bars_candidates_until_promote() {
    for (run, why) in [(Run::Fail, "FloorBreached"), (Run::Worse, "WorseThanAtPromotion")] {
        let mut sim = nightly();
        let stable = sim.stable();
        sim.runs_end(run);
        sim.advance(3 * 3_600);
        sim.settle();
        assert_eq!((verdict(&sim), reason(&sim).as_str()), (Some(VerdictWord::Fail), why));
        assert!(sim.has_event("nothing is rolled back"), "{:?}", sim.events);
        assert_eq!((sim.stable(), sim.reason().as_str()), (stable.clone(), "Promoted"));
        assert!(sim.message().contains("scheduled run of gate quality failed"), "{}", sim.message());
        sim.runs_end(Run::Pass);
        next_version(&mut sim);
        sim.ticks(12);
        let candidate = sim.candidate();
        assert_eq!((candidate.weight, sim.reason().as_str()), (0, "GateFailed"), "{}", sim.message());
        assert!(sim.message().contains("ragops.dev/promote"), "{}", sim.message());
        sim.annotate("promote", candidate.revision.clone());
        sim.ticks(3);
        assert_eq!(sim.weight(&candidate.revision), 50, "{}", sim.message());
    }
}

#[test]
fn a_later_run_that_passes_lets_candidates_go_on() {
    let mut sim = nightly();
    sim.runs_end(Run::Fail);
    sim.advance(3 * 3_600);
    sim.settle();
    sim.runs_end(Run::Pass);
    sim.advance(DAY);
    sim.settle();
    assert_eq!(verdict(&sim), Some(VerdictWord::Pass));
    next_version(&mut sim);
    sim.ticks(20);
    assert!(sim.status().candidate.is_none() && sim.status().history.len() == 2, "{}", sim.message());
}

#[test]
fn a_candidate_that_waits_for_stable_is_let_go_on_by_a_run_that_passes() {
    let mut sim = nightly();
    sim.runs_end(Run::Fail);
    sim.advance(3 * 3_600);
    sim.settle();
    sim.runs_end(Run::Pass);
    next_version(&mut sim);
    sim.ticks(20);
    let candidate = sim.candidate();
    assert_eq!((candidate.weight, sim.message().contains("takes no step")), (0, true), "{}", sim.message());
    // What barred it was mended: the next run says so, although a candidate is there.
    sim.gate_mut("quality").spec.schedule = Some("0 * * * *".to_owned());
    sim.advance(3_600);
    sim.settle();
    sim.ticks(20);
    assert_eq!(sim.stable(), candidate.revision, "{}", sim.message());
}

#[test]
fn a_failure_stands_until_a_run_passes() {
    for later in [Run::Never, Run::Error] {
        let mut sim = nightly();
        sim.runs_end(Run::Fail);
        sim.advance(3 * 3_600);
        sim.settle();
        sim.runs_end(later);
        sim.advance(DAY);
        sim.settle();
        assert_ne!(verdict(&sim), Some(VerdictWord::Fail), "a later run took its place");
        let failed = |sim: &Sim| sim.status().scheduled.first().and_then(|s| s.failed.clone());
        assert!(failed(&sim).is_some_and(|told| told.contains("0.3000")), "{later:?} {:?}", failed(&sim));
        // Nor does a gate that cannot be read for a while let candidates go on.
        let gate = sim.gates.insert("quality".to_owned(), Referred::Unreadable("a field is wrong".to_owned()));
        sim.settle();
        assert!(failed(&sim).is_some(), "{later:?}");
        sim.gates.insert("quality".to_owned(), gate.unwrap());
        sim.runs_end(Run::Pass);
        sim.advance(DAY);
        sim.settle();
        assert_eq!((verdict(&sim), failed(&sim)), (Some(VerdictWord::Pass), None), "{later:?}");
    }
}

#[test]
fn a_run_that_cannot_measure_is_made_again_and_bars_nobody() {
    let mut sim = nightly();
    let jobs = sim.jobs.len();
    sim.runs_end(Run::Error);
    sim.advance(3 * 3_600);
    sim.settle();
    assert_eq!((verdict(&sim), sim.jobs.len()), (Some(VerdictWord::Error), jobs + 3), "2 retries");
    assert!(sim.has_event("could not measure"));
    sim.runs_end(Run::Pass);
    next_version(&mut sim);
    sim.ticks(20);
    assert!(sim.status().candidate.is_none(), "{}", sim.message());
}

#[test]
fn a_promotion_takes_the_run_of_the_revision_before_away() {
    let mut sim = nightly();
    sim.runs_end(Run::Never);
    sim.advance(3 * 3_600);
    sim.settle();
    let job = sim.status().scheduled[0].run.job.clone().unwrap();
    assert!(sim.jobs.contains_key(&job));
    sim.runs_end(Run::Pass);
    sim.jobs.get_mut(&job).unwrap().pods.clear();
    sim.runs.insert("quality".to_owned(), Run::Pass);
    next_version(&mut sim);
    sim.ticks(20);
    assert!(sim.status().candidate.is_none(), "{}", sim.message());
    let of_stable = |sim: &Sim| sim.status().scheduled.iter().all(|s| s.run.revision == sim.stable());
    assert!(of_stable(&sim), "{:?}", sim.status().scheduled);
}

#[test]
fn a_gate_edited_in_mid_run_is_measured_as_it_is_now() {
    let mut sim = nightly();
    sim.runs_end(Run::Never);
    sim.advance(3 * 3_600);
    sim.settle();
    let before = sim.status().scheduled[0].run.job.clone().unwrap();
    let now = sim.now.to_string();
    let gate = sim.gate_mut("quality");
    gate.spec.retrieval.as_mut().unwrap().metrics[0].floor = Some(0.5);
    check(gate, &now);
    sim.runs_end(Run::Pass);
    sim.settle();
    let run = sim.status().scheduled[0].run.clone();
    assert_ne!(run.job.as_ref(), Some(&before));
    assert!(!sim.jobs.contains_key(&before), "the old run is taken away");
    assert_eq!(run.verdict, Some(VerdictWord::Pass));
}

#[test]
fn a_dataset_that_changed_is_read_again_and_the_run_made_anew() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.runs_end(Run::OtherInputs);
    sim.version_ready("v2");
    for _ in 0..40 {
        sim.tick();
        if sim.status().gates.iter().any(|g| g.reason.as_deref() == Some("InputsChanged")) {
            break;
        }
    }
    let run = sim.status().gates[0].clone();
    assert_eq!((run.reason.as_deref(), run.attempt), (Some("InputsChanged"), 1), "{}", sim.message());
    // The gate has not read it again yet: no attempt is spent.
    sim.ticks(5);
    assert_eq!(sim.status().gates[0].attempt, 1, "{}", sim.message());
    sim.advance(60);
    let now = sim.now.to_string();
    check(sim.gate_mut("quality"), &now);
    sim.gate_mut("quality").status.as_mut().unwrap().dataset.as_mut().unwrap().digest = "dataset-2".to_owned();
    sim.runs_end(Run::Pass);
    sim.requests = 1_000;
    sim.ticks(20);
    assert!(sim.status().candidate.is_none(), "{}", sim.message());
    let stable = sim.status().stable.unwrap();
    assert_eq!(stable.evidence[0].dataset_digest, "dataset-2");
}

/// Five revisions that each lose .015, which the margin of .05 allows.
#[test]
fn small_losses_add_up_until_the_guard_and_a_reset_counts_anew() {
    let mut sim = Sim::serving(release(&GATES, &[(100, "0s")]));
    let retrieval = sim.gate_mut("quality").spec.retrieval.as_mut().unwrap();
    retrieval.max_cumulative_drop = Some(0.03);
    sim.runs_end(Run::Loses);
    sim.requests = 1_000;
    let next = |sim: &mut Sim, version: &str| {
        sim.advance(60);
        let now = sim.now.to_string();
        check(sim.gate_mut("quality"), &now);
        sim.version_ready(version);
        sim.ticks(20);
        sim.status()
    };
    let sum =
        |status: &crate::api::RagReleaseStatus| status.stable.as_ref().unwrap().evidence[0].metrics[0].since_anchor;
    let first = next(&mut sim, "v2");
    assert_eq!(sum(&first), -0.015, "{} {:?}", sim.message(), first.gates);
    assert_eq!(sum(&next(&mut sim, "v3")), -0.03);
    let third = next(&mut sim, "v4");
    assert_eq!(third.gates[0].reason.as_deref(), Some("CumulativeDrop"), "{}", sim.message());
    assert_eq!(third.failed_revisions.len(), 1);
    sim.annotate("reset-anchor", "1");
    sim.ticks(2);
    assert_eq!(sum(&sim.status()), 0.0);
    let failed = third.failed_revisions[0].revision.clone();
    sim.annotate("retry", failed);
    sim.ticks(20);
    assert_eq!(sum(&sim.status()), -0.015, "{}", sim.message());
}

#[test]
fn a_way_back_takes_its_loss_out_of_the_sum() {
    let gates = [("quality", "BeforeTraffic"), ("live", "DuringTraffic")];
    let mut sim = Sim::serving(release(&gates, &[(100, "0s")]));
    sim.gate_mut("quality").spec.retrieval.as_mut().unwrap().max_cumulative_drop = Some(0.03);
    let now = sim.now.to_string();
    check(sim.gate_mut("quality"), &now);
    sim.runs_end(Run::Loses);
    sim.requests = 1_000;
    sim.version_ready("v2");
    sim.ticks(20);
    let second = sim.status().stable.unwrap();
    assert_eq!(second.evidence[0].metrics[0].since_anchor, -0.015, "{}", sim.message());
    sim.fails(&second.revision, 50);
    sim.ticks(5);
    let back = sim.status().stable.unwrap();
    assert_ne!(back.revision, second.revision, "{}", sim.message());
    assert!(back.evidence.iter().flat_map(|e| &e.metrics).all(|m| m.since_anchor == 0.0), "{:?}", back.evidence);
}

#[test]
fn two_gates_measure_one_revision_and_both_count() {
    let two = [("quality", "BeforeTraffic"), ("second", "BeforeTraffic")];
    let mut sim = Sim::of(release(&two, &STEPS));
    sim.gates.insert("second".to_owned(), super::world::quality("second", super::world::START, 2));
    sim.settle();
    assert_eq!(sim.reason(), "Promoted", "{}", sim.message());
    assert_eq!(sim.jobs.len(), 2, "{:?}", sim.jobs.keys());
    sim.runs.insert("second".to_owned(), Run::Fail);
    sim.version_ready("v2");
    sim.ticks(20);
    let verdicts: Vec<_> = sim.status().gates.iter().map(|g| (g.name.clone(), g.verdict)).collect();
    assert_eq!(
        verdicts,
        [("quality".to_owned(), Some(VerdictWord::Pass)), ("second".to_owned(), Some(VerdictWord::Fail))]
    );
    assert_eq!(sim.reason(), "RolledBack");
    assert_eq!(sim.status().stable.unwrap().evidence.len(), 2);
}
