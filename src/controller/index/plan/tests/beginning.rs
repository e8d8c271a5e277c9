//! The first version: its numbers, names and Job.

use super::*;

#[test]
fn the_first_pass_persists_number_and_version_and_creates_the_job() {
    let mut world = handbook();
    let plan = world.pass();
    world.lists("v1 Building").says("False", Reason::Building, "Builds v1").reconciling();
    let status = world.status();
    assert_eq!((status.last_number, status.build.as_ref().unwrap().version.as_str()), (1, "v1"));
    assert_eq!(status.versions[0].physical, "handbook-0a1b2c3d-v1");
    assert_eq!(status.versions[0].claim, "indexes");
    assert_eq!(status.store.as_deref(), Some("embedded"));
    assert_eq!(plan.actions[0], Action::Finalizer { present: true });
    assert!(matches!(&plan.actions[1], Action::Create { kind: ChildKind::Job, .. }));
    assert_eq!((plan.actions.len(), plan.requeue), (2, Some(WATCH_JOB)));
}

#[test]
fn a_lost_job_is_made_again_under_the_same_name() {
    let mut world = handbook();
    world.rest();
    let name = world.running("build").unwrap();
    world.vanish(&name);
    world.rest().lists("v1 Building");
    assert_eq!(world.running("build"), Some(name));
}

#[test]
fn a_job_is_not_made_again_while_its_old_pod_still_writes() {
    let mut world = handbook();
    world.rest();
    let name = world.running("build").unwrap();
    world.seen.jobs.clear();
    world.rest().says("False", Reason::Progressing, "earlier pod").reconciling();
    assert!(world.running("build").is_none());
    world.vanish(&name);
    assert!(world.rest().running("build").is_some());
}

#[test]
fn the_build_job_has_sources_claim_key_limits_and_owner() {
    let mut world = handbook();
    world.spec(|spec| {
        spec.build.deadline = "30m".to_owned();
        spec.build.resources = Some(serde_json::from_value(json!({"limits": {"memory": "3Gi"}})).unwrap());
    });
    world.seen.one_node = vec!["indexes".to_owned()];
    world.rest();
    let job = serde_json::to_value(world.job_named(&world.running("build").unwrap())).unwrap();
    assert_eq!(job["spec"]["backoffLimit"], 2);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 1800);
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], UID);
    assert_eq!(job["metadata"]["labels"]["ragops.dev/purpose"], "build");
    let pod = &job["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["ragops.dev/index-claim"], "indexes");
    assert!(pod["spec"]["affinity"]["podAffinity"].is_object());
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["index", "build"]));
    assert_eq!(container["resources"]["limits"]["memory"], "3Gi");
    let mounts: Vec<(&str, bool)> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m["mountPath"].as_str().unwrap(), m["readOnly"] == true))
        .collect();
    assert_eq!(mounts, [("/sources/pages", true), ("/index", false), ("/secrets/encoder", true), ("/tmp", false)]);
}

#[test]
fn source_and_index_may_share_a_claim_and_only_the_index_is_writable() {
    let mut world = handbook();
    world.spec(|spec| {
        let from = json!({"volume": {"claimName": "indexes", "path": "pages"}});
        spec.sources[0].from = serde_json::from_value(from).unwrap();
    });
    world.rest();
    let job = serde_json::to_value(world.job_named(&world.running("build").unwrap())).unwrap();
    let spec = &job["spec"]["template"]["spec"];
    let claims = spec["volumes"].as_array().unwrap().iter().filter(|v| v["persistentVolumeClaim"].is_object());
    assert_eq!(claims.count(), 1);
    let mounts = &spec["containers"][0]["volumeMounts"];
    assert_eq!((&mounts[0]["readOnly"], &mounts[1]["readOnly"]), (&json!(true), &Value::Null));
}

#[test]
fn pods_of_a_claim_for_many_nodes_are_free() {
    let mut world = handbook();
    world.rest();
    let job = serde_json::to_value(world.job_named(&world.running("build").unwrap())).unwrap();
    assert!(job["spec"]["template"]["spec"]["affinity"].is_null());
}

#[test]
fn names_of_directories_fit_every_store() {
    let mut world = handbook();
    world.index.metadata.name = Some("a".repeat(40));
    let name = render::physical(&world.index, 99_999_999);
    assert_eq!(name.len(), 59);
    assert_eq!(name, name.to_lowercase());
}

#[test]
fn a_lost_status_never_gives_a_number_that_a_release_remembers() {
    let mut world = handbook();
    world.used("shop", "stable", "v7").rest().lists("v8 Building");
}

#[test]
fn a_build_of_a_version_that_nobody_lists_begins_anew() {
    let mut world = handbook();
    world.rest();
    world.index.status.as_mut().unwrap().versions.clear();
    world.rest().lists("v2 Building");
    assert_eq!(world.seen.jobs.len(), 1);
}
