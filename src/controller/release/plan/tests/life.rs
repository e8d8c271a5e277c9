//! Whole lives: the first release, a canary, a change of mind, a failure and a second try.

use super::sim::Sim;
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
