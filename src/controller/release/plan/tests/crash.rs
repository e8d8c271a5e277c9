//! A crash or another writer at every pass of every story: the same end, no step repeated and none skipped.

use super::sim::{Cut, Gateway, Run, Sim};
use super::world::release;

const STEPS: [(i32, &str); 4] = [(5, "20s"), (25, "20s"), (50, "20s"), (100, "0s")];
const GATES: [(&str, &str); 2] = [("quality", "BeforeTraffic"), ("live", "DuringTraffic")];
/// Passes of a story; each ends settled well before.
const PASSES: usize = 45;

/// What a story does before its passes: the state of the release decides, not the number of the pass, so that a
/// lost pass shifts nothing.
type Story = fn(&mut Sim);

fn begin(first: bool) -> Sim {
    let mut sim = if first { Sim::of(release(&GATES, &STEPS)) } else { Sim::serving(release(&GATES, &STEPS)) };
    sim.requests = 2_000;
    if !first {
        sim.version_ready("v2");
    }
    sim.weights.clear();
    sim
}

fn at(sim: &Sim, weight: i32) -> Option<String> {
    sim.status().candidate.filter(|c| c.weight == weight && c.step_started_at.is_some()).map(|c| c.revision)
}

fn run_on(sim: &mut Sim, story: Story, passes: usize) {
    for _ in 0..passes {
        story(sim);
        sim.tick();
    }
    sim.requests = 0;
    sim.settle();
}

fn everywhere(first: bool, story: Story) {
    everywhere_in(PASSES, first, story);
}

fn everywhere_in(passes: usize, first: bool, story: Story) {
    let mut whole = begin(first);
    run_on(&mut whole, story, passes);
    let (outcome, weights) = (whole.outcome(), whole.weights.clone());
    let mut sim = begin(first);
    let mut cuts = 0;
    for pass in 0..passes {
        story(&mut sim);
        for cut in [Cut::Conflict, Cut::After(0), Cut::After(1), Cut::After(2), Cut::After(usize::MAX)] {
            let mut other = sim.clone();
            let plan = other.pass_until(cut);
            // Where a pass writes nothing there is nothing to cut off.
            if plan.actions.is_empty() && Some(&plan.status) == sim.release.status.as_ref() {
                continue;
            }
            cuts += 1;
            other.restart();
            other.react();
            other.advance(10);
            run_on(&mut other, story, passes);
            assert_eq!(other.outcome(), outcome, "cut {cut:?} at pass {pass}");
            assert_eq!(other.weights, weights, "cut {cut:?} at pass {pass}");
        }
        sim.tick();
    }
    assert!(cuts >= 15, "only {cuts} cuts");
}

#[test]
fn a_first_release() {
    everywhere(true, |_| {});
}

#[test]
fn a_first_release_that_fails() {
    everywhere(true, |sim| sim.runs_end(Run::Fail));
}

#[test]
fn a_promotion() {
    everywhere(false, |_| {});
}

#[test]
fn a_gate_that_fails() {
    everywhere(false, |sim| sim.runs_end(Run::Fail));
}

#[test]
fn a_breach_at_25() {
    everywhere(false, |sim| {
        if let Some(revision) = at(sim, 25) {
            sim.errors.insert(revision, 90);
        }
    });
}

#[test]
fn an_abort_at_25() {
    everywhere(false, |sim| {
        if let Some(revision) = at(sim, 25) {
            sim.annotate("abort", revision);
        }
    });
}

#[test]
fn a_newer_version_at_25() {
    everywhere(false, |sim| {
        if at(sim, 25).is_some() && !sim.has_version("v3") {
            sim.version_ready("v3");
        }
    });
}

#[test]
fn back_to_stable_at_50() {
    everywhere(false, |sim| {
        if at(sim, 50).is_some() {
            sim.edit(|r| r.spec.version = Some("v1".to_owned()));
        }
    });
}

#[test]
fn straight_to_100_from_5() {
    everywhere(false, |sim| {
        if let Some(revision) = at(sim, 5) {
            sim.annotate("promote", format!("{revision}!"));
        }
    });
}

#[test]
fn no_pod_at_50() {
    // They have five minutes to come back.
    everywhere_in(PASSES + 30, false, |sim| {
        if let Some(revision) = at(sim, 50) {
            sim.not_ready.push(revision);
        }
    });
}

#[test]
fn a_gateway_that_is_slow() {
    everywhere(false, |sim| {
        sim.gateway = if sim.now.as_second() % 30 == 0 { Gateway::Accepts } else { Gateway::Silent };
    });
}
