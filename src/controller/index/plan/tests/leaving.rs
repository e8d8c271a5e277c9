//! The end of an index.

use super::*;

fn gone(world: &World) -> bool {
    world.index.metadata.finalizers.is_none()
}

#[test]
fn an_index_without_versions_has_no_finalizer() {
    let mut world = handbook();
    world.seen.model = Referred::Absent;
    world.rest();
    assert!(gone(&world));
    let before = world.index.status.clone();
    let plan = world.deleted().pass();
    assert!(plan.actions.is_empty());
    assert_eq!(world.index.status, before);
}

#[test]
fn in_use_waits_with_the_releases_name() {
    let mut world = World::with_ready(1);
    world.used("handbook", "stable", "v1").deleted().rest();
    world.says(
        "True",
        Reason::InUse,
        "Index handbook is used by release handbook (stable); delete or repoint it first; serving goes on.",
    );
    world.reconciling().lists("v1 Ready");
    assert!(!gone(&world));
    assert_eq!(plan(&world.index, &world.seen).requeue, Some(WAIT));
    for _ in 0..10 {
        world.later(3_600).rest();
    }
    assert_eq!(world.jobs("prune"), 0);
}

#[test]
fn a_release_that_cannot_be_decoded_holds_it_too() {
    let mut world = World::with_ready(1);
    world.seen.unreadable = vec!["odd".to_owned()];
    world.deleted().rest().says("True", Reason::InUse, "release odd, which cannot be decoded").reconciling();
}

#[test]
fn the_last_user_leaves_and_a_job_deletes_all_versions() {
    let mut world = World::with_ready(2);
    world.used("shop", "stable", "v1").deleted().rest();
    world.unused().later(7_200);
    let plan = world.pass();
    world.lists("v1 Retiring, v2 Retiring").says("Unknown", Reason::Deleting, "handbook-0a1b2c3d-v1").reconciling();
    assert!(plan.actions.is_empty(), "Retiring is persisted first");
    assert_eq!(plan.requeue, Some(SOON));
    world.rest();
    let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
    assert_eq!(task.physical, ["handbook-0a1b2c3d-v1", "handbook-0a1b2c3d-v2"]);
    assert!(!gone(&world));
    world.done("prune", &json!({"kind": "prune", "deleted": 2, "missing": 0, "foreign": []})).pass();
    assert!(gone(&world));
    world.lists("");
    assert!(world.notes.iter().all(|n| !n.warning));
    assert!(world.pass().actions.is_empty());
}

#[test]
fn a_release_that_names_it_again_before_the_job_takes_it_back() {
    let mut world = World::with_ready(1);
    world.deleted().pass();
    world.lists("v1 Retiring");
    world.used("shop", "stable", "v1").rest().lists("v1 Ready").says("True", Reason::InUse, "shop (stable)");
    assert_eq!(world.jobs("prune"), 0);
}

#[test]
fn orphans_stay_at_once_and_are_named() {
    let mut world = World::with_ready(1);
    world.spec(|s| s.deletion_policy = crate::api::index::DeletionPolicy::Orphan).deleted();
    world.pass();
    assert!(gone(&world));
    assert_eq!(world.jobs("prune"), 0);
    assert!(world.notes.iter().any(|n| !n.warning && n.text.contains("handbook-0a1b2c3d-v1 on claim indexes")));
}

#[test]
fn orphans_in_use_wait_too() {
    let mut world = World::with_ready(1);
    world.spec(|s| s.deletion_policy = crate::api::index::DeletionPolicy::Orphan);
    world.used("shop", "previous", "v1").deleted().rest().says("True", Reason::InUse, "shop (previous)");
    assert!(!gone(&world));
}

#[test]
fn a_build_under_way_ends_first() {
    let mut world = World::with_ready(1);
    world.change(2).rest().deleted();
    let job = world.running("build").unwrap();
    let pod = world.pod_of(&job).clone();
    world.pass();
    world.seen.pods.push(pod);
    world.rest().lists("v1 Retiring, v2 Failed");
    assert!(world.running("build").is_none());
    let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
    assert_eq!(task.physical, ["handbook-0a1b2c3d-v1"]);
    world.vanish(&job);
    world.rest().done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).rest();
    assert!(!gone(&world));
    world.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).pass();
    assert!(gone(&world));
}

#[test]
fn a_namespace_that_takes_no_jobs_holds_it_two_minutes() {
    let mut world = World::with_ready(1);
    world.refuses = true;
    world.deleted().pass();
    for _ in 0..11 {
        world.later(10).pass();
        assert!(!gone(&world));
    }
    world.says("Unknown", Reason::Deleting, "exceeded quota: jobs").reconciling();
    world.later(10).pass();
    assert!(gone(&world));
    let warning = world.notes.iter().find(|n| n.warning).unwrap();
    assert!(warning.text.contains("handbook-0a1b2c3d-v1 on claim indexes"), "{}", warning.text);
}

#[test]
fn the_two_minutes_count_from_the_last_user_not_from_the_deletion() {
    let mut world = World::with_ready(1);
    world.used("shop", "stable", "v1").deleted().rest();
    world.later(86_400).unused().pass();
    world.later(10).rest();
    assert!(!gone(&world) && world.running("prune").is_some());
}

#[test]
fn a_prune_that_hangs_or_fails_holds_it_two_minutes() {
    for fails in [false, true] {
        let mut world = World::with_ready(1);
        world.deleted().rest();
        if fails {
            world.failed("prune", "VectorStoreUnavailable", "input/output error").rest();
            world.says("Unknown", Reason::Deleting, "input/output error").reconciling();
        }
        world.later(119).pass();
        assert!(!gone(&world));
        world.later(1).pass();
        assert!(gone(&world));
        assert_eq!(world.notes.iter().filter(|n| n.warning && n.reason == "Deleting").count(), 1);
    }
}

#[test]
fn a_claim_that_is_gone_holds_nothing() {
    let mut world = World::with_ready(1);
    world.seen.gone_claims.insert("indexes".to_owned());
    world.deleted().pass();
    assert!(gone(&world));
    assert!(world.notes.iter().all(|n| !n.warning));
}

#[test]
fn failed_versions_without_directories_hold_nothing() {
    let mut world = handbook();
    world.rest().failed("build", "ChecksFailed", "no documents");
    world.pruned().lists("v1 Failed");
    world.deleted().pass();
    assert!(gone(&world));
}

#[test]
fn a_spec_that_breaks_a_rule_can_still_be_deleted() {
    let mut world = World::with_ready(1);
    world.spec(|s| s.store.embedded = None).rest().stalled();
    world.deleted().rest();
    world.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).pass();
    assert!(gone(&world));
}
