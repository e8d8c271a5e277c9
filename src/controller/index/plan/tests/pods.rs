//! Jobs and pods that cannot do their work.

use super::*;

fn waiting(world: &mut World, reason: &str, message: &str) {
    let job = world.running("build").unwrap();
    let status = json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [{
        "name": "rag", "image": "rag:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": message}}}]});
    world.pod_of(&job).status = Some(serde_json::from_value(status).unwrap());
}

#[test]
fn that_cannot_start_become_a_reason() {
    let cases = [
        ("ImagePullBackOff", Reason::ImagePullFailed, "cannot be pulled"),
        ("CreateContainerConfigError", Reason::PodConfigError, "cannot start"),
        ("ContainerCreating", Reason::PodConfigError, "waits for its volumes"),
        ("ContainerCreating", Reason::PodConfigError, "kubectl -n team describe pod -l"),
    ];
    for (word, reason, part) in cases {
        let mut world = World::with_ready(1);
        world.change(2).rest();
        waiting(&mut world, word, "why");
        world.rest().says("False", reason, part).says("False", reason, "v1 stays").reconciling();
        assert_eq!(plan(&world.index, &world.seen).requeue, Some(WATCH_JOB));
    }
}

#[test]
fn that_cannot_be_scheduled_become_a_reason() {
    let mut world = handbook();
    world.rest();
    let job = world.running("build").unwrap();
    let status = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes: insufficient memory"}]});
    world.pod_of(&job).status = Some(serde_json::from_value(status).unwrap());
    world.rest().says("False", Reason::PodUnschedulable, "insufficient memory").reconciling();
}

#[test]
fn a_job_of_our_name_that_is_not_ours_stops_the_build() {
    let mut world = handbook();
    world.rest();
    let name = world.running("build").unwrap();
    world.vanish(&name);
    world.seen.foreign.insert(name.clone());
    world.rest().says("False", Reason::NotOwned, &name).stalled();
    assert_eq!(world.seen.jobs.len(), 0);
    world.seen.foreign.clear();
    world.rest().lists("v1 Building").reconciling();
}

#[test]
fn the_foreign_check_asks_for_every_name_that_may_be_used() {
    let mut world = World::with_ready(3);
    world.change(4).rest();
    let names = job_names(&world.index);
    for purpose in ["build", "prune"] {
        assert!(names.contains(&world.running(purpose).unwrap()), "{purpose}");
    }
}
