//! The rebuild command.

use super::*;

#[test]
fn a_rebuild_is_carried_out_once_and_recorded() {
    let mut world = World::with_ready(1);
    world.rebuild("monday").rest().lists("v1 Ready, v2 Building");
    world.says("False", Reason::Building, "a rebuild was asked for");
    let command = &world.status().commands[0];
    assert_eq!(
        (command.command.as_str(), command.value.as_str(), command.manager.as_str(), command.outcome.as_str()),
        ("rebuild", "monday", "kubectl-annotate", "began v2")
    );
    world.becomes_ready("c2", 10);
    assert_eq!((world.status().commands.len(), world.jobs("build")), (1, 2));
    world.rebuild("monday@2").rest().lists("v1 Ready, v2 Ready, v3 Building");
}

#[test]
fn its_cause_is_told() {
    use crate::api::index::VersionCause;
    let mut world = World::with_ready(1);
    world.rebuild("a").rest();
    assert_eq!(world.status().versions[1].cause, VersionCause::Rebuild);
    assert_eq!(world.status().versions[0].cause, VersionCause::Spec);
    let mut world = World::with_ready(1);
    world.rebuild("a").change(2).rest();
    assert_eq!(world.status().versions[1].cause, VersionCause::Spec);
    assert_eq!(world.status().commands.len(), 1);
}

#[test]
fn taking_the_annotation_away_builds_nothing() {
    let mut world = World::with_ready(1);
    world.rebuild("a").becomes_ready("c2", 10);
    world.index.metadata.annotations = None;
    world.rest().lists("v1 Ready, v2 Ready");
}

#[test]
fn an_empty_value_is_no_command() {
    let mut world = World::with_ready(1);
    world.rebuild("").rest().lists("v1 Ready");
}

#[test]
fn a_rebuild_waits_for_references_and_is_not_lost() {
    let mut world = World::with_ready(1);
    world.seen.missing = vec!["ConfigMap `pages`".to_owned()];
    world.rebuild("a").rest().says("False", Reason::RefNotFound, "ConfigMap");
    assert!(world.status().commands.is_empty());
    world.seen.missing.clear();
    world.rest().lists("v1 Ready, v2 Building");
}

#[test]
fn a_rebuild_in_mid_build_supersedes_it() {
    let mut world = World::with_ready(1);
    world.change(2).rest().rebuild("now").rest().lists("v1 Ready, v2 Failed, v3 Building");
    assert!(world.status().versions[1].reason.as_ref().unwrap().contains("rebuild `now`"));
}

#[test]
fn many_rebuilds_stay_bounded() {
    let mut world = World::with_ready(1);
    for n in 0..25 {
        world.rebuild(&format!("t{n}")).rest().done("build", &build_report("c1", 10));
        world.pruned();
        world.seen.jobs.clear();
        world.seen.pods.clear();
    }
    world.lists("v1 Ready");
    assert_eq!(world.status().commands.len(), 20);
    assert_eq!(world.status().last_number, 26);
}

#[test]
fn a_long_value_is_cut_and_still_handled_once() {
    let mut world = World::with_ready(1);
    world.rebuild(&"ü".repeat(1_000)).becomes_ready("c2", 10).lists("v1 Ready, v2 Ready");
}
