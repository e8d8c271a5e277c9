//! Whole lives: the first release, a canary, a change of mind, a failure and a second try.

use super::sim::{Gateway, Sim};
use super::world::release;
use crate::api::ConditionType;

const STEPS: [(i32, &str); 4] = [(5, "60s"), (25, "60s"), (50, "60s"), (100, "0s")];
const GATES: [(&str, &str); 2] = [("quality", "BeforeTraffic"), ("live", "DuringTraffic")];

#[test]
fn a_first_release_passes_its_floors_and_gets_all_of_the_traffic() {
    let mut sim = Sim::of(release(&GATES, &STEPS));
    sim.pass();
    assert_eq!(sim.reason(), "Preparing");
    assert_eq!(sim.condition(ConditionType::Ready), "Unknown");
    assert_eq!(sim.condition(ConditionType::Serving), "False");
    sim.settle();
    assert_eq!(sim.reason(), "Promoted", "{}", sim.message());
    assert_eq!(sim.condition(ConditionType::Serving), "True");
    assert_eq!(sim.route_weights(), [(sim.stable(), 100)]);
    assert!(sim.weights.is_empty(), "no canary: {:?}", sim.weights);
    assert_eq!(sim.status().previous, None);
}

#[test]
fn a_canary_takes_each_step_after_its_hold_and_becomes_stable() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    let first = sim.stable();
    sim.requests = 1_000;
    sim.version_ready("v2");
    sim.ticks(80);
    assert_eq!(sim.reason(), "Promoted", "{}", sim.message());
    let second = sim.stable();
    assert_ne!(first, second);
    let steps: Vec<i32> = sim.weights.iter().map(|(_, w)| *w).collect();
    assert_eq!(steps, [5, 25, 50, 100]);
    assert_eq!(sim.route_weights(), [(second, 100)]);
    assert_eq!(sim.status().previous.unwrap().revision, first);
}

#[test]
fn a_settled_release_writes_nothing_whatever_time_passes() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    let writes = sim.status_writes;
    for _ in 0..500 {
        let plan = sim.tick();
        assert!(plan.actions.is_empty(), "{:?}", plan.actions);
    }
    assert_eq!(sim.status_writes, writes);
}

#[test]
fn a_moving_release_writes_at_most_once_a_minute_between_its_steps() {
    let mut sim = Sim::moving(release(&GATES, &[(5, "1h"), (100, "0s")]), |c| c.step_started_at.is_some());
    sim.ticks(3);
    let writes = sim.status_writes;
    sim.ticks(180);
    assert!(sim.status_writes - writes <= 30, "{} writes in 30 minutes", sim.status_writes - writes);
}

#[test]
fn another_image_of_the_operator_makes_no_candidate_and_rolls_no_pod() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    let writes = sim.status_writes;
    sim.config.image = "rag:2".to_owned();
    assert!(sim.pass().actions.is_empty());
    assert_eq!((sim.status_writes, sim.reason().as_str()), (writes, "Promoted"));
}

#[test]
fn the_same_tuple_is_the_same_revision_whatever_else_changes() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    let stable = sim.stable();
    sim.edit(|r| {
        r.spec.rollout.steps.remove(0);
        r.spec.version = Some("v1".to_owned());
    });
    sim.settle();
    assert_eq!((sim.stable(), sim.status().candidate), (stable, None));
    assert_eq!((sim.reason().as_str(), sim.status().observed_generation), ("Promoted", 2));
}

/// A newer target takes the older one's weight away before it gets any.
#[test]
fn a_superseded_candidate_leaves_before_the_next_begins_and_is_no_failure() {
    for weight in [0, 5, 25] {
        let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == weight);
        let old = sim.candidate().revision;
        sim.version_ready("v3");
        for _ in 0..4 {
            sim.tick();
            let at_once = sim.weight(&old);
            let next = sim.status().candidate.filter(|c| c.revision != old).map_or(0, |c| c.weight);
            assert!(at_once == 0 || next == 0);
        }
        assert_eq!(sim.weight(&old), 0);
        assert_ne!(sim.candidate().revision, old, "from {weight}");
        assert!(sim.has_event("Superseded"));
        assert!(sim.status().failed_revisions.is_empty());
        sim.ticks(80);
        assert_eq!((sim.reason().as_str(), sim.status().history.len()), ("Promoted", 3));
        assert_eq!(sim.status().history[1].outcome, "Superseded");
    }
}

#[test]
fn superseding_cancels_the_runs_that_measure() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.runs.insert("quality".to_owned(), super::sim::Run::Never);
    sim.version_ready("v2");
    sim.ticks(6);
    assert_eq!(sim.jobs.len(), 2, "one of the first release, one under way");
    sim.edit(|r| r.spec.version = Some("v1".to_owned()));
    sim.ticks(2);
    assert_eq!((sim.jobs.len(), sim.status().candidate), (1, None));
}

#[test]
fn a_target_that_is_stable_again_withdraws_the_candidate_without_gates() {
    for weight in [0, 5, 50] {
        let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == weight);
        let (stable, jobs) = (sim.stable(), sim.jobs.len());
        sim.edit(|r| r.spec.version = Some("v1".to_owned()));
        sim.pass();
        assert_eq!(sim.weight("anything"), 0);
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stable()), ("Promoted", stable.clone()));
        assert_eq!(sim.route_weights(), [(stable, 100)]);
        assert!(sim.jobs.len() <= jobs, "from {weight}");
        assert!(sim.status().failed_revisions.is_empty());
    }
}

#[test]
fn a_failed_revision_waits_for_a_change_or_a_retry() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.runs.insert("quality".to_owned(), super::sim::Run::Fail);
    sim.version_ready("v2");
    sim.settle();
    assert_eq!(sim.reason(), "RolledBack");
    assert!(sim.stalled());
    assert_eq!(sim.condition(ConditionType::Serving), "True");
    let failed = sim.status().failed_revisions[0].clone();
    assert_eq!(failed.reason, "GateFailed");
    assert!(sim.message().contains("ndcg@10"), "{}", sim.message());
    assert!(sim.weights.is_empty());
    let (jobs, writes) = (sim.jobs.len(), sim.status_writes);
    for _ in 0..50 {
        sim.tick();
    }
    assert_eq!((sim.jobs.len(), sim.status_writes), (jobs, writes), "the same YAML 50 times");

    sim.runs.clear();
    sim.requests = 1_000;
    sim.annotate("retry", failed.revision.clone());
    sim.tick();
    assert_eq!(sim.candidate().revision, failed.revision);
    sim.ticks(80);
    assert_eq!((sim.reason().as_str(), sim.stable()), ("Promoted", failed.revision));
    assert!(sim.jobs.len() > jobs, "a retry measures anew");
}

#[test]
fn a_first_release_that_fails_routes_nothing() {
    let mut sim = Sim::of(release(&GATES, &STEPS));
    sim.runs.insert("quality".to_owned(), super::sim::Run::Fail);
    sim.settle();
    assert_eq!(sim.reason(), "GateFailed");
    assert!(sim.stalled());
    assert_eq!(sim.condition(ConditionType::Serving), "False");
    assert!(sim.route.is_none() && sim.deployments.is_empty());
}

#[test]
fn no_progress_ends_at_the_deadline_but_not_in_a_pause() {
    for (paused, seconds, gone) in [(false, 3_500, false), (false, 3_700, true), (true, 300_000, false)] {
        let mut sim = Sim::serving(release(&GATES, &STEPS));
        sim.edit(|r| r.spec.rollout.progress_deadline = "1h".to_owned());
        sim.runs.insert("quality".to_owned(), super::sim::Run::Inconclusive);
        sim.version_ready("v2");
        sim.ticks(6);
        assert_eq!(sim.reason(), "GateInconclusive");
        sim.edit(|r| r.spec.paused = paused);
        sim.tick();
        sim.advance(seconds);
        sim.edit(|r| r.spec.paused = false);
        sim.settle();
        assert_eq!(sim.status().candidate.is_none(), gone, "paused {paused}, {seconds} s");
        if gone {
            assert_eq!((sim.reason().as_str(), sim.stalled()), ("ProgressDeadlineExceeded", true));
            let failed = sim.status().failed_revisions[0].message.clone();
            assert!(failed.contains("in stage Verifying. It waited for this: Gate quality cannot decide"), "{failed}");
            assert!(!failed.contains("serves 100 %"), "{failed}");
        } else {
            sim.advance(3_700);
            sim.settle();
            assert_eq!(sim.reason(), "ProgressDeadlineExceeded", "the rest of the deadline runs after the pause");
        }
    }
}

fn delete(sim: &mut Sim) {
    sim.release.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(sim.now));
}

#[test]
fn a_deleted_release_takes_the_weight_then_the_route_away_and_lets_go() {
    let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == 25);
    let candidate = sim.status().candidate.unwrap().revision;
    delete(&mut sim);
    sim.pass();
    assert!(sim.route.is_some() && sim.weight(&candidate) == 0, "first the weight");
    assert_eq!(sim.reason(), "Deleting");
    sim.ticks(2);
    assert!(sim.route.is_none() && sim.release.metadata.finalizers.as_ref().unwrap().is_empty());
    assert!(sim.pass().actions.is_empty());
}

#[test]
fn a_gateway_that_does_not_answer_delays_a_deletion_by_half_a_minute() {
    let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == 25);
    let candidate = sim.status().candidate.unwrap().revision;
    sim.gateway = Gateway::Silent;
    delete(&mut sim);
    sim.ticks(3);
    assert!(sim.route.is_some() && sim.weight(&candidate) == 0);
    sim.advance(30);
    sim.ticks(2);
    assert!(sim.route.is_none() && sim.release.metadata.finalizers.as_ref().unwrap().is_empty());
}

#[test]
fn a_settled_release_that_is_deleted_goes_in_one_pass() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    delete(&mut sim);
    assert_eq!(sim.pass().actions.len(), 2);
    assert!(sim.route.is_none() && sim.release.metadata.finalizers.as_ref().unwrap().is_empty());
}

#[test]
fn children_that_were_changed_or_deleted_are_put_back() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.deployments[0].spec.as_mut().unwrap().replicas = Some(0);
    sim.services.clear();
    sim.pass();
    assert_eq!(sim.deployments[0].spec.as_ref().unwrap().replicas, Some(1));
    assert_eq!(sim.services.len(), 1);
    sim.deployments.clear();
    sim.edit(|r| r.spec.retrieval.top_k = 5);
    sim.pass();
    assert!(sim.deployments.iter().any(|d| d.metadata.name == Some(format!("shop-{}", sim.stable()))));
}

/// An empty status beside a route of ours is no first release, and what failed before may not come back by itself.
#[test]
fn a_lost_status_takes_stable_over_from_the_route_and_holds_until_somebody_names_what_starts() {
    for weight in [0, 5, 50] {
        let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == weight);
        let (stable, asked, jobs) = (sim.stable(), sim.candidate().revision, sim.jobs.len());
        // Given before the status was lost.
        sim.annotate("promote", format!("{asked}!"));
        lose_status(&mut sim);
        assert_eq!(sim.stable(), stable, "from {weight}");
        assert!(sim.has_event("StatusRestored"));
        assert_eq!(sim.route_weights(), [(stable, 100)]);
        sim.ticks(80);
        assert_eq!(
            (sim.reason().as_str(), sim.stalled(), sim.status().candidate.is_none()),
            ("StatusRestored", true, true)
        );
        assert!(sim.message().contains(&format!("promote={asked}")), "{}", sim.message());
        assert_eq!(sim.condition(ConditionType::Serving), "True");
        sim.annotate("promote", "0000000000");
        sim.tick();
        assert!(sim.status().candidate.is_none() && sim.status().commands.last().unwrap().outcome.contains("ignored"));
        sim.annotate("promote", format!("{asked}@now"));
        sim.weights.clear();
        sim.ticks(80);
        let steps: Vec<i32> = sim.weights.iter().map(|(_, w)| *w).collect();
        assert_eq!(steps, [5, 25, 50, 100], "from {weight}");
        assert!(sim.jobs.len() > jobs);
        assert_eq!(sim.status().restored_at, None);
    }
}

fn lose_status(sim: &mut Sim) {
    sim.release.status = None;
    sim.restart();
    sim.in_view = false;
    sim.tick();
    sim.in_view = true;
    sim.pass();
}

#[test]
fn a_lost_status_of_a_settled_release_is_ready_again() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    lose_status(&mut sim);
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.status().restored_at), ("Promoted", None));
    assert_eq!(sim.deployments.len(), 1);
    // A change after it is a change like any other.
    sim.version_ready("v2");
    sim.requests = 1_000;
    sim.ticks(80);
    assert_eq!((sim.reason().as_str(), sim.weights.len()), ("Promoted", 4));
}

#[test]
fn a_failed_revision_is_not_tried_again_because_the_status_was_lost() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.runs_end(super::sim::Run::Fail);
    sim.version_ready("v2");
    sim.settle();
    let jobs = sim.jobs.len();
    lose_status(&mut sim);
    sim.runs.clear();
    sim.ticks(20);
    assert_eq!((sim.reason().as_str(), sim.jobs.len()), ("StatusRestored", jobs));
    sim.edit(|r| r.spec.version = Some("v1".to_owned()));
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.status().restored_at), ("Promoted", None));
}

#[test]
fn without_a_snapshot_or_without_a_route_it_is_no_first_release_either() {
    for (snapshots, route) in [(false, true), (true, false)] {
        let mut sim = Sim::serving(release(&GATES, &STEPS));
        let stable = sim.stable();
        sim.version_ready("v2");
        if !snapshots {
            sim.snapshots.clear();
        }
        if !route {
            sim.route = None;
        }
        lose_status(&mut sim);
        sim.ticks(20);
        assert_eq!((sim.reason().as_str(), sim.stalled()), ("StatusRestored", true), "{}", sim.message());
        assert_eq!(sim.status().candidate, None);
        assert!(sim.deployments.iter().any(|d| d.metadata.name.as_ref().unwrap().ends_with(&stable)), "pods stay");
        if !route {
            assert!(sim.message().contains(&stable), "{}", sim.message());
        } else {
            assert_eq!(sim.route_weights(), [(stable, 100)]);
        }
    }
}
