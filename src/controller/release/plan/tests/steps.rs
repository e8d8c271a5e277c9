//! Steps: what a weight waits for, and what takes it away.

use super::sim::{Gateway, Sim};
use super::world::release;
use crate::api::ConditionType;
use crate::api::release::RollbackCause;
use crate::controller::read::Referred;

const STEPS: [(i32, &str); 3] = [(5, "60s"), (50, "60s"), (100, "0s")];
const GATES: [(&str, &str); 1] = [("live", "DuringTraffic")];

/// At 5 %, accepted, the hold running.
fn holding() -> Sim {
    let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.step_started_at.is_some());
    sim.tick();
    sim
}

type Change = dyn Fn(&mut Sim, &str);

#[test]
fn what_is_missing_holds_the_step_and_its_return_lets_it_go_on() {
    let table: [(&str, &Change, &Change, &str, &str); 8] = [
        ("requests", &|s, _| s.requests = 0, &|s, _| s.requests = 9_999, "Stepping", "minRequests"),
        ("the world", &|s, _| s.in_view = false, &|s, _| s.in_view = true, "Stepping", "could not be read"),
        ("the gateway", &|s, _| s.gateway = Gateway::Silent, &|s, _| s.gateway = Gateway::Accepts, "Stepping", ""),
        (
            "a match",
            &|s, r| s.no_match.push(r.to_owned()),
            &|s, _| s.no_match.clear(),
            "FingerprintMismatch",
            "other vectors",
        ),
        (
            "the split",
            &|s, _| s.real_share = Some(30),
            &|s, _| s.real_share = None,
            "RouteDrift",
            "does not do as it says",
        ),
        (
            "a valid spec",
            &|s, _| s.edit(|r| r.spec.rollout.steps[0].weight = 99),
            &|s, _| s.edit(|r| r.spec.rollout.steps[0].weight = 5),
            "InvalidSpec",
            "steps",
        ),
        (
            "the index",
            &|s, _| s.index = Referred::Absent,
            &|s, _| s.index = super::world::index(&[super::world::version("v2", "Ready", false)]),
            "RefNotFound",
            "does not exist",
        ),
        ("going on", &|s, _| s.annotate("pause", "true"), &|s, _| s.unannotate("pause"), "Paused", "Resume"),
    ];
    for (what, take, give, reason, message) in table {
        let mut sim = holding();
        let revision = sim.candidate().revision;
        take(&mut sim, &revision);
        if what == "requests" {
            sim.release.status.as_mut().unwrap().traffic.as_mut().unwrap().counted = None;
            sim.restart();
        }
        sim.ticks(30);
        let weight = sim.candidate().weight;
        sim.ticks(30);
        assert_eq!(sim.candidate().weight, weight, "{what}");
        assert!(weight < 100, "{what}");
        assert_eq!(sim.reason(), reason, "{what}: {}", sim.message());
        assert!(sim.message().contains(message), "{what}: {}", sim.message());
        give(&mut sim, &revision);
        sim.ticks(60);
        assert_eq!((sim.reason().as_str(), sim.stable()), ("Promoted", revision), "{what}: {}", sim.message());
    }
}

#[test]
fn a_hold_counts_from_the_acceptance() {
    let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == 5);
    sim.silence();
    sim.ticks(100);
    assert_eq!(sim.candidate().step_started_at, None);
    sim.gateway = Gateway::Accepts;
    sim.ticks(5);
    assert_eq!(sim.candidate().weight, 5, "the hold of a minute has just begun");
    sim.ticks(6);
    assert_eq!(sim.candidate().weight, 50);
}

#[test]
fn a_clock_that_goes_back_shortens_no_hold() {
    let mut sim = holding();
    sim.advance(-600);
    sim.ticks(30);
    assert_eq!(sim.candidate().weight, 5);
}

#[test]
fn an_objective_without_data_holds_even_when_no_requests_are_needed() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.edit(|r| r.spec.rollout.min_requests = 0);
    sim.version_ready("v2");
    sim.ticks(60);
    assert_eq!(sim.candidate().weight, 5);
    assert!(sim.message().contains("has no data"), "{}", sim.message());
}

#[test]
fn a_drift_is_told_in_words_that_do_not_churn() {
    let mut sim = holding();
    sim.real_share = Some(40);
    sim.ticks(12);
    let (message, writes) = (sim.message(), sim.status_writes);
    sim.ticks(60);
    assert_eq!((sim.reason().as_str(), sim.message()), ("RouteDrift", message));
    assert!(sim.status_writes - writes <= 11, "{} writes in 10 minutes", sim.status_writes - writes);
}

/// What goes wrong, whether it is remembered under which word, whether the world must be seen for it.
#[test]
fn what_goes_wrong_with_weight_takes_it_away_in_the_same_pass() {
    let table: [(&str, &Change, &str); 3] = [
        ("errors beyond the objective", &|s, r| s.fails(r, 60), "SloBreached"),
        ("no ready pod", &|s, r| s.not_ready.push(r.to_owned()), "Unavailable"),
        ("nothing but the deadline", &|s, _| s.advance(40_000), "ProgressDeadlineExceeded"),
    ];
    for (what, harm, word) in table {
        for weight in [5, 50] {
            let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.weight == weight && c.step_started_at.is_some());
            let (revision, stable) = (sim.candidate().revision, sim.stable());
            harm(&mut sim, &revision);
            let mut passes = 0;
            while sim.candidate().weight > 0 {
                passes += 1;
                assert!(passes < 40, "{what}: {}", sim.message());
                sim.flow();
                sim.pass();
            }
            assert_eq!(sim.weight(&revision), 0, "{what}: the route is written in the pass that decides");
            assert_eq!(sim.reason(), "RollingBack");
            sim.requests = 0;
            sim.settle();
            if word == "Unavailable" {
                assert_eq!(sim.reason(), "RollingBack", "{what}: its pods may come back");
                sim.advance(300);
                sim.settle();
            }
            assert_eq!(sim.status().failed_revisions[0].reason, word, "{what}");
            assert!(sim.stalled());
            assert_eq!(sim.route_weights(), [(stable, 100)], "{what}");
            assert_eq!(sim.condition(ConditionType::Serving), "True");
            sim.ticks(100);
            assert_eq!(sim.status().candidate, None, "{what}: it does not come back by itself");
        }
    }
}

/// Lost pods take the traffic away at once, but an eviction is no property of a revision.
#[test]
fn pods_that_come_back_are_no_failure_once() {
    let lost: [&Change; 2] = [&|s, r| s.not_ready.push(r.to_owned()), &|s, r| {
        s.services.retain(|x| !x.metadata.name.as_ref().unwrap().ends_with(r))
    }];
    for lose in lost {
        let mut sim = holding();
        let revision = sim.candidate().revision;
        lose(&mut sim, &revision);
        sim.pass();
        assert_eq!(sim.weight(&revision), 0, "at once");
        sim.ticks(3);
        sim.not_ready.clear();
        let back = (0..10).any(|_| {
            sim.tick();
            sim.weight(&revision) == 5
        });
        assert!(back, "{}", sim.message());
        assert_eq!(sim.status().history.last().unwrap().outcome, "Interrupted");
        assert!(sim.status().failed_revisions.is_empty());
        sim.not_ready.push(revision.clone());
        sim.ticks(3);
        assert_eq!(sim.status().failed_revisions[0].revision, revision, "again within a day");
    }
}

#[test]
fn pods_that_end_by_themselves_under_traffic_fail_at_once() {
    for (exit, fails) in [(42, true), (101, true), (137, false), (43, false)] {
        let mut sim = holding();
        let revision = sim.candidate().revision;
        sim.pods_end(&revision, exit, "Error", "");
        sim.ticks(3);
        let status = sim.status();
        assert_eq!((status.failed_revisions.len() == 1, status.candidate.is_none()), (fails, fails), "{exit}");
        assert_eq!(sim.weight(&revision), 0);
    }
}

#[test]
fn an_outage_needs_no_gate_no_world_and_no_acceptance() {
    for silent in [false, true] {
        let mut sim = Sim::moving(release(&[], &STEPS), |c| c.weight == 5);
        let revision = sim.candidate().revision;
        sim.errors.insert(revision.clone(), 100);
        sim.requests = 2_000;
        sim.tick();
        if silent {
            // The gateway splits, but never says so.
            sim.silence();
            sim.pass();
        }
        sim.flow();
        sim.flow();
        sim.in_view = false;
        sim.pass();
        assert_eq!((sim.weight(&revision), sim.reason().as_str()), (0, "RollingBack"), "{silent}");
    }
}

#[test]
fn counts_of_another_weight_are_no_outage() {
    let mut sim = holding();
    let revision = sim.candidate().revision;
    sim.readings.step_key = format!("{revision}/9/-");
    sim.readings.step_candidate.errors = 1_000;
    sim.readings.step_candidate.answers = 1_000;
    sim.in_view = false;
    sim.pass();
    assert_eq!(sim.candidate().weight, 5);
}

#[test]
fn what_rollback_on_does_not_list_waits() {
    for (listed, harm, gone) in [
        (RollbackCause::Unavailable, "errors", false),
        (RollbackCause::SloBreached, "errors", true),
        (RollbackCause::SloBreached, "pods", false),
        (RollbackCause::Unavailable, "pods", true),
    ] {
        let mut sim = holding();
        let revision = sim.candidate().revision;
        sim.edit(|r| r.spec.rollback.on = vec![listed]);
        match harm {
            "pods" => sim.not_ready.push(revision.clone()),
            _ => sim.fails(&revision, 100),
        }
        sim.ticks(6);
        let without = sim.status().candidate.is_none_or(|c| c.weight == 0);
        assert_eq!(without, gone, "{listed:?} {harm}: {}", sim.message());
    }
}

#[test]
fn traffic_never_goes_to_a_stable_that_is_known_to_be_empty() {
    let table: [(&str, &Change); 4] = [
        ("errors", &|s, r| s.fails(r, 100)),
        ("abort", &|s, r| s.annotate("abort", r)),
        ("another target", &|s, _| s.version_ready("v3")),
        ("deadline", &|s, _| s.advance(40_000)),
    ];
    for (what, harm) in table {
        let mut sim = holding();
        let (revision, stable) = (sim.candidate().revision, sim.stable());
        sim.not_ready.push(stable.clone());
        sim.tick();
        assert_eq!(sim.condition(ConditionType::Serving), "True", "{what}: the candidate answers");
        harm(&mut sim, &revision);
        sim.flow();
        sim.ticks(1);
        assert!(sim.candidate().weight > 0, "{what}");
        if what != "abort" {
            assert_eq!(sim.reason(), "StableUnavailable", "{what}");
        } else {
            assert!(sim.status().commands[0].outcome.contains("ignored"));
            sim.annotate("abort", format!("{revision}@2"));
        }
        sim.not_ready.clear();
        sim.pass();
        assert_eq!(sim.weight(&revision), 0, "{what}: stable is back");
    }
}

#[test]
fn the_encoder_and_the_pods_are_looked_at_again_before_the_first_weight() {
    let gates = [("quality", "BeforeTraffic")];
    for harm in ["encoder", "pods", "world"] {
        let mut sim = Sim::serving(release(&gates, &STEPS));
        sim.runs.insert("quality".to_owned(), super::sim::Run::Never);
        sim.version_ready("v2");
        sim.settle();
        let revision = sim.candidate().revision;
        match harm {
            "encoder" => sim.no_match.push(revision),
            "pods" => sim.not_ready.push(revision),
            _ => sim.in_view = false,
        }
        sim.runs.clear();
        sim.react();
        sim.settle();
        assert_eq!((sim.candidate().weight, sim.candidate().step), (0, 0), "{harm}");
        sim.no_match.clear();
        sim.not_ready.clear();
        sim.in_view = true;
        sim.react();
        sim.settle();
        assert_eq!(sim.candidate().weight, 5, "{harm}: {}", sim.message());
    }
}

#[test]
fn a_pod_that_finds_no_node_yet_is_waited_for() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.version_ready("v2");
    sim.pass();
    let revision = sim.candidate().revision;
    sim.not_ready.push(revision.clone());
    sim.unscheduled.push(revision);
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.stalled()), ("PodUnschedulable", false), "{}", sim.message());
    sim.not_ready.clear();
    sim.unscheduled.clear();
    sim.react();
    sim.settle();
    assert_eq!(sim.candidate().weight, 5);
}

/// What pods say when they end reaches the release, and what says nothing of the revision does not stop it.
#[test]
fn pods_that_end_say_why() {
    let receipt = |revision: &str, reason: &str, error: &str| {
        format!(r#"{{"v":1,"run":"{revision}","kind":"error","reason":"{reason}","error":"{error}"}}"#)
    };
    let table = [
        (
            42,
            "Error",
            Some(("FingerprintMismatch", "the index was built by another encoder")),
            "FingerprintMismatch",
            true,
            "another encoder.",
        ),
        (137, "OOMKilled", None, "PodConfigError", true, "limits.memory"),
        (101, "Error", None, "PodConfigError", true, "exit code 101"),
        (
            43,
            "Error",
            Some(("EndpointUnavailable", "the encoder does not answer")),
            "EndpointUnavailable",
            false,
            "does not answer.",
        ),
        (137, "Error", None, "Preparing", false, "not ready yet"),
        (0, "Completed", None, "Preparing", false, "not ready yet"),
    ];
    for (exit, reason, told, word, stalled, text) in table {
        let mut sim = Sim::serving(release(&[], &STEPS));
        sim.version_ready("v2");
        sim.pass();
        let revision = sim.candidate().revision;
        let message = told.map(|(reason, error)| receipt(&revision, reason, error)).unwrap_or_default();
        sim.pods_end(&revision, exit, reason, &message);
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stalled()), (word, stalled), "{exit}: {}", sim.message());
        assert!(sim.message().contains(text), "{exit}: {}", sim.message());
        sim.not_ready.clear();
        sim.react();
        sim.settle();
        assert_eq!(sim.candidate().weight, 5, "{exit}: it goes on when they are ready");
    }
}
