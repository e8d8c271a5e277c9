//! Inputs that change while something is under way, or that change nothing.

use super::*;

#[test]
fn a_new_spec_in_mid_build_supersedes_it() {
    let mut world = World::with_ready(1);
    world.change(2).rest();
    let old = world.running("build").unwrap();
    world.change(3);
    let plan = world.pass();
    world.lists("v1 Ready, v2 Failed, v3 Building").says("False", Reason::Building, "Builds v3");
    assert!(matches!(&plan.actions[0], Action::Delete { name, .. } if *name == old));
    let v2 = &world.status().versions[1];
    assert!(v2.reason.as_ref().unwrap().contains("superseded by a newer spec"));
    world.rest();
}

#[test]
fn a_new_spec_in_mid_verification_supersedes_it() {
    let mut world = handbook();
    world.rest().done("build", &build_report("c1", 10)).rest();
    world.change(2).rest().lists("v1 Failed, v2 Building");
    assert!(world.running("verify").is_none());
}

#[test]
fn a_superseded_build_waits_for_nothing_of_the_new_spec() {
    let mut world = handbook();
    world.rest();
    world.seen.missing = vec!["ConfigMap `new`".to_owned()];
    world.change(2).rest().lists("v1 Failed").says("False", Reason::RefNotFound, "ConfigMap `new`");
    assert!(world.running("build").is_none());
    world.seen.missing.clear();
    world.rest().lists("v1 Failed, v2 Building");
}

#[test]
fn back_to_the_superseded_spec_builds_again() {
    let mut world = handbook();
    world.rest();
    world.seen.missing = vec!["ConfigMap `new`".to_owned()];
    world.change(2).rest();
    world.seen.missing.clear();
    world.spec(|s| s.chunking.max_tokens = 256).rest().lists("v1 Failed, v2 Building");
}

#[test]
fn back_to_the_superseded_spec_builds_again_beside_a_ready_version() {
    let mut world = World::with_ready(1);
    world.change(2).rest();
    world.seen.missing = vec!["ConfigMap `new`".to_owned()];
    world.change(3).rest().lists("v1 Ready, v2 Failed");
    world.seen.missing.clear();
    world.change(2).rest().lists("v1 Ready, v2 Failed, v3 Building");
}

#[test]
fn superseding_says_nothing_of_the_data() {
    let mut world = World::with_ready(1);
    world.change(2).rest().change(3).rest().reliable(Some("True"), Reason::ChecksPassed);
}

#[test]
fn the_same_content_is_unchanged_and_lists_no_version() {
    let mut world = World::with_ready(1);
    world.change(2).rest().done("build", &build_report("c1", 10)).rest();
    world.lists("v1 Ready, v2 Retiring").says("True", Reason::Succeeded, "(v2) found the same content");
    world.pruned().lists("v1 Ready").says("True", Reason::Succeeded, "v1 is ready");
    world.says("True", Reason::Succeeded, "(v2) found the same content");
    assert_eq!((world.jobs("verify"), world.status().last_number), (1, 2));
    assert_eq!(world.status().latest_version.as_deref(), Some("v1"));
}

#[test]
fn the_same_content_by_another_encoder_is_another_version() {
    let mut world = World::with_ready(1);
    world.seen.model = ready_model("bbbbbbbbbbbb");
    world.becomes_ready("c1", 10).lists("v1 Ready, v2 Ready");
}

#[test]
fn the_same_content_on_another_claim_is_another_version() {
    let mut world = World::with_ready(1);
    world.spec(|s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned());
    world.becomes_ready("c1", 10).lists("v1 Ready, v2 Ready");
}

#[test]
fn unchanged_after_a_failure_makes_the_data_reliable_again() {
    let mut world = World::with_ready(1);
    world.change(2).rest().failed("build", "ShrinkGuard", "shrank").rest();
    world.change(3).rest().done("build", &build_report("c1", 10));
    world.pruned().says("True", Reason::Succeeded, "(v3) found the same content");
    world.reliable(Some("True"), Reason::ChecksPassed);
}
