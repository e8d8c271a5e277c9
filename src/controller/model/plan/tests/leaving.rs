//! The end.

use super::*;

#[test]
fn a_model_is_held_from_the_first_pass_and_let_go_when_nobody_uses_it() {
    let mut w = world(remote("a"));
    let plan = w.pass();
    assert_eq!(plan.actions.first(), Some(&Action::Finalizer { present: true }));
    w.settle().delete();
    assert_eq!(w.model.metadata.finalizers, None);
}

#[test]
fn a_model_in_use_waits_and_serves_on() {
    let mut w = managed();
    w.users = vec!["VectorIndex handbook".to_owned(), "RagRelease handbook (handbook/v3)".to_owned()];
    w.delete().waits(Reason::InUse, "VectorIndex handbook, RagRelease handbook (handbook/v3)").still_uses(OWN);
    assert_eq!(w.last.requeue, Some(LATER));
    w.objects.remove(&("Deployment", "words".to_owned()));
    w.settle();
    assert!(w.deployment("words").is_some());
    w.users = (0..9).map(|i| format!("VectorIndex i{i}")).collect();
    w.settle().waits(Reason::InUse, "and 4 more");
    w.users.clear();
    let plan = w.pass();
    assert_eq!(plan.actions, vec![Action::Finalizer { present: false }]);
}

#[test]
fn a_model_that_is_going_and_not_held_is_left_alone() {
    let mut w = world(remote("a"));
    w.users = vec!["VectorIndex x".to_owned()];
    let at = json!("2026-01-01T00:00:00Z");
    w.model.metadata.deletion_timestamp = Some(serde_json::from_value(at).unwrap());
    let plan = plan(&w.model, &w.observed());
    assert_eq!((plan.actions.len(), plan.requeue), (0, None));
}

#[test]
fn a_job_that_is_going_is_waited_for() {
    let mut w = world(remote("a"));
    w.settle().end("Failed", 43, &json!({"kind": "error", "reason": "EndpointUnavailable", "error": "down"}));
    w.settle();
    let name = render::probe_name(&w.model);
    w.jobs.get_mut(&name).unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    w.later(600).waits(Reason::EndpointUnavailable, "down");
    assert_eq!((w.last.actions.len(), w.last.requeue), (0, Some(SOON)));
}
