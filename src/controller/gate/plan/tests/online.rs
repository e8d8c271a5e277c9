//! Online gates.

use super::*;

#[test]
fn an_online_gate_is_usable_at_once() {
    let mut w = world(live());
    w.settle().usable("errors (ErrorRate at most 0.05), p95 (SlowRate above 250ms at most 0.05) every 5 s");
    w.usable("older than 10 s counts as missing");
    assert_eq!((w.jobs.len(), w.status().kind.as_deref(), w.last.requeue), (0, Some("online"), None));
}

#[test]
fn a_gate_that_becomes_online_forgets_its_data() {
    let mut w = checked();
    w.apply(live()).usable("Watches");
    assert_eq!((&w.status().dataset, w.status().certifiable_margin, &w.status().advice), (&None, None, &None));
    let mut w = world(offline());
    w.settle().apply(live()).usable("Watches");
    assert_eq!(w.jobs.len(), 0);
}
