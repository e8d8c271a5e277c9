//! After a promotion: the way back, and its end.

use super::sim::Sim;
use super::world::release;

const STEPS: [(i32, &str); 2] = [(50, "10s"), (100, "0s")];
const GATES: [(&str, &str); 1] = [("live", "DuringTraffic")];

fn promoted() -> Sim {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.requests = 1_000;
    sim.version_ready("v2");
    sim.ticks(30);
    assert_eq!((sim.reason().as_str(), sim.status().history.len()), ("Promoted", 2));
    sim
}

#[test]
fn a_breach_in_the_window_brings_the_previous_revision_back_even_unseen() {
    for (in_view, paused) in [(true, false), (false, false), (true, true)] {
        let mut sim = promoted();
        let (bad, good) = (sim.stable(), sim.status().previous.unwrap().revision);
        sim.in_view = in_view;
        sim.release.spec.paused = paused;
        sim.errors.insert(bad.clone(), 60);
        (0..10).for_each(|_| sim.flow());
        sim.pass();
        assert_eq!((sim.weight(&bad), sim.weight(&good)), (0, 100), "in the pass that sees it");
        sim.in_view = true;
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stable()), ("RolledBack", good.clone()));
        assert_eq!(sim.status().failed_revisions[0].reason, "SloBreached");
        assert_eq!(sim.route_weights(), [(good, 100)]);
        sim.ticks(50);
        assert_eq!(sim.status().candidate, None, "it is not tried again by itself");
    }
}

#[test]
fn no_ready_pod_brings_the_previous_revision_back_if_that_one_has_pods() {
    for both in [false, true] {
        let mut sim = promoted();
        let (bad, good) = (sim.stable(), sim.status().previous.unwrap().revision);
        sim.not_ready.push(bad.clone());
        if both {
            sim.not_ready.push(good.clone());
        }
        sim.pass();
        assert_eq!(sim.stable(), if both { bad } else { good });
        if both {
            assert_eq!(sim.reason(), "StableUnavailable");
        }
    }
}

#[test]
fn a_breach_does_not_go_back_to_what_has_no_pod_however_the_pass_looks() {
    for in_view in [true, false] {
        let mut sim = promoted();
        let (bad, previous) = (sim.stable(), sim.status().previous.unwrap().revision);
        sim.not_ready.push(previous.clone());
        sim.tick();
        sim.in_view = in_view;
        sim.errors.insert(bad.clone(), 60);
        (0..10).for_each(|_| sim.flow());
        sim.pass();
        assert_eq!((sim.stable(), sim.weight(&previous)), (bad.clone(), 0), "in view: {in_view}");
        sim.not_ready.clear();
        sim.in_view = true;
        sim.react();
        sim.pass();
        sim.pass();
        assert_eq!(sim.stable(), previous, "it has pods again");
    }
}

/// A candidate that stands without weight (its pods do not start, a gate cannot decide) closes no way back.
#[test]
fn a_candidate_without_weight_does_not_end_the_watch_over_stable() {
    for (stands, harm) in [("gate", "errors"), ("pods", "errors"), ("gate", "pods")] {
        let gates = [("quality", "BeforeTraffic"), ("live", "DuringTraffic")];
        let mut sim = Sim::serving(release(&gates, &STEPS));
        sim.requests = 1_000;
        sim.version_ready("v2");
        sim.ticks(30);
        let (bad, good) = (sim.stable(), sim.status().previous.unwrap().revision);
        let requests = |sim: &Sim| sim.status().online.iter().find(|o| o.revision == bad).map(|o| o.requests);
        let before = requests(&sim).unwrap();
        sim.runs_end(super::sim::Run::Inconclusive);
        sim.version_ready("v3");
        sim.pass();
        let next = sim.candidate().revision;
        if stands == "pods" {
            sim.not_ready.push(next.clone());
        }
        sim.ticks(40);
        assert_eq!((sim.candidate().revision, sim.candidate().weight), (next.clone(), 0), "{stands}");
        assert!(requests(&sim).unwrap() > before, "{stands}: {:?}", sim.status().online);
        match harm {
            "errors" => sim.fails(&bad, 60),
            _ => sim.not_ready.push(bad.clone()),
        }
        (0..30).for_each(|_| sim.flow());
        sim.pass();
        assert_eq!(
            (sim.stable(), sim.weight(&good)),
            (good.clone(), 100),
            "{stands}, {harm}: in the pass that sees it"
        );
        assert_eq!(sim.status().history.last().unwrap().outcome, "Superseded");
        assert!(sim.status().failed_revisions.iter().all(|f| f.revision != next));
        sim.react();
        sim.pass();
        assert!(!sim.stalled(), "nobody has to act: {}", sim.message());
        sim.not_ready.clear();
        sim.requests = 0;
        sim.settle();
        assert_eq!((sim.candidate().revision, sim.stable()), (next, good), "it begins anew beside what serves now");
        assert_eq!(sim.status().watch, None);
    }
}

#[test]
fn a_window_ends_while_a_candidate_stands_too() {
    let mut sim = promoted();
    sim.version_ready("v3");
    sim.pass();
    let next = sim.candidate().revision;
    sim.not_ready.push(next);
    sim.edit(|r| r.spec.paused = true);
    sim.advance(73 * 3_600);
    sim.ticks(2);
    assert_eq!((sim.status().previous, sim.deployments.len()), (None, 2));
}

/// After a restart nobody knows yet who could take the traffic over: the world is looked at first.
#[test]
fn a_process_that_has_seen_nothing_looks_before_it_goes_back() {
    let mut sim = promoted();
    let (bad, previous) = (sim.stable(), sim.status().previous.unwrap().revision);
    sim.errors.insert(bad.clone(), 60);
    (0..10).for_each(|_| sim.flow());
    sim.not_ready.push(previous);
    sim.readings.ready.clear();
    sim.pass();
    assert_eq!(sim.stable(), bad);
}

#[test]
fn a_good_day_does_not_hide_a_total_failure_and_a_hiccup_is_none() {
    let mut sim = promoted();
    let (bad, good) = (sim.stable(), sim.status().previous.unwrap().revision);
    sim.readings.tests.values_mut().for_each(|share| share.answers += 8_600_000);
    sim.ticks(15);
    sim.fails(&bad, 100);
    sim.tick();
    sim.errors.clear();
    sim.ticks(15);
    assert_eq!(sim.stable(), bad, "ten seconds are none");
    sim.fails(&bad, 100);
    sim.ticks(3);
    assert_eq!((sim.stable(), sim.weight(&good)), (good, 100));
    assert!(sim.status().candidate.unwrap().failure.unwrap().message.contains("of the last"));
}

/// Users are served by previous meanwhile, and nobody has to say `retry`.
#[test]
fn an_eviction_in_the_window_condemns_nothing() {
    let mut sim = promoted();
    let (evicted, previous) = (sim.stable(), sim.status().previous.unwrap().revision);
    sim.not_ready.push(evicted.clone());
    sim.pass();
    assert_eq!((sim.stable(), sim.weight(&previous)), (previous, 100));
    sim.ticks(3);
    sim.not_ready.clear();
    sim.ticks(30);
    assert_eq!((sim.reason().as_str(), sim.stable()), ("Promoted", evicted));
    assert!(sim.status().failed_revisions.is_empty());
}

#[test]
fn errors_without_an_objective_do_not_roll_back_after_the_promotion() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.requests = 1_000;
    sim.version_ready("v2");
    sim.ticks(30);
    let stable = sim.stable();
    sim.errors.insert(stable.clone(), 60);
    sim.ticks(10);
    assert_eq!(sim.stable(), stable);
}

#[test]
fn the_window_ends_and_the_previous_pods_go() {
    let mut sim = promoted();
    assert_eq!(sim.deployments.len(), 2);
    sim.advance(72 * 3_600 - 1_000);
    assert!(sim.pass().requeue.is_some_and(|again| again.as_secs() <= 1_000));
    sim.settle();
    assert_eq!(sim.deployments.len(), 2);
    sim.advance(1_000);
    sim.settle();
    assert_eq!((sim.status().previous, sim.deployments.len(), sim.services.len()), (None, 1, 1));
    let stable = sim.stable();
    sim.errors.insert(stable.clone(), 60);
    sim.ticks(10);
    assert_eq!((sim.stable(), sim.reason().as_str()), (stable, "Promoted"));
}

#[test]
fn a_window_of_nothing_keeps_nothing() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.edit(|r| r.spec.rollback.window = "0s".to_owned());
    sim.requests = 1_000;
    sim.version_ready("v2");
    sim.ticks(30);
    assert_eq!((sim.reason().as_str(), sim.status().previous), ("Promoted", None));
    assert_eq!(sim.deployments.len(), 1);
}

#[test]
fn only_the_last_previous_is_kept() {
    let mut sim = promoted();
    let second = sim.stable();
    sim.version_ready("v3");
    sim.ticks(30);
    assert_eq!(sim.status().previous.unwrap().revision, second);
    assert_eq!(sim.deployments.len(), 2);
}

#[test]
fn the_sums_go_on_over_a_promotion_and_a_restart() {
    let mut sim = promoted();
    sim.ticks(60);
    let requests = |sim: &Sim| sim.status().online[0].requests;
    let before = requests(&sim);
    assert!(before > 10_000, "{before}");
    sim.restart();
    sim.ticks(60);
    assert!(requests(&sim) > before);
}
