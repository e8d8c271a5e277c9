//! Which versions stay, and how the others go.

use super::*;

#[test]
fn keeps_the_newest_and_deletes_the_rest_by_a_job() {
    let mut world = World::with_ready(2);
    world.change(3).rest().done("build", &build_report("c3", 10)).rest();
    world.done("verify", &verify_report("c3", 10));
    let plan = world.pass();
    world.lists("v1 Retiring, v2 Ready, v3 Ready");
    assert!(!plan.actions.iter().any(|a| matches!(a, Action::Create { .. })), "Retiring is persisted first");
    world.rest().lists("v1 Retiring, v2 Ready, v3 Ready");
    let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
    assert_eq!((task.physical, task.owner_uid.as_str()), (vec!["handbook-0a1b2c3d-v1".to_owned()], UID));
    world.pruned().lists("v2 Ready, v3 Ready").says("True", Reason::Succeeded, "v3 is ready");
}

#[test]
fn the_prune_job_writes_to_the_index_claim_and_mounts_nothing_else() {
    let world = World::with_ready(3);
    let job = serde_json::to_value(world.job_named(&world.running("prune").unwrap())).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["index", "prune"]));
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 2);
    assert_eq!((&mounts[0]["mountPath"], &mounts[0]["readOnly"]), (&json!("/index"), &Value::Null));
}

#[test]
fn never_takes_a_version_that_a_release_names() {
    for role in ["stable", "candidate", "previous", "spec.version"] {
        let mut world = World::with_ready(2);
        world.used("shop", role, "v1").change(3).becomes_ready("c3", 10);
        world.pruned().change(4).becomes_ready("c4", 10);
        world.pruned().lists("v1 Ready, v3 Ready, v4 Ready");
    }
}

#[test]
fn a_release_that_leaves_frees_its_version() {
    let mut world = World::with_ready(2);
    world.used("shop", "stable", "v1").change(3).becomes_ready("c3", 10).lists("v1 Ready, v2 Ready, v3 Ready");
    world.unused().pruned().lists("v2 Ready, v3 Ready");
}

#[test]
fn a_version_that_is_named_again_before_the_job_is_ready_again() {
    let mut world = World::with_ready(2);
    world.change(3).rest().done("build", &build_report("c3", 10)).rest();
    world.done("verify", &verify_report("c3", 10)).pass();
    world.lists("v1 Retiring, v2 Ready, v3 Ready");
    world.used("shop", "spec.version", "v1").rest().lists("v1 Ready, v2 Ready, v3 Ready");
    assert_eq!(world.jobs("prune"), 0);
    assert_eq!(world.status().versions[0].reason, None);
}

#[test]
fn a_version_that_a_job_was_told_to_delete_does_not_come_back() {
    let mut world = World::with_ready(3);
    assert!(world.running("prune").is_some());
    world.used("shop", "spec.version", "v1").rest().lists("v1 Retiring, v2 Ready, v3 Ready");
}

#[test]
fn nor_is_it_deleted_further_when_that_job_failed() {
    let mut world = World::with_ready(3);
    let job = world.running("prune").unwrap();
    world.failed("prune", "VectorStoreUnavailable", "input/output error").rest();
    world.used("shop", "spec.version", "v1").rest();
    world.vanish(&job);
    world.rest().lists("v1 Retiring, v2 Ready, v3 Ready");
    world.change(4).becomes_ready("c4", 10).lists("v1 Retiring, v2 Retiring, v3 Ready, v4 Ready");
    assert!(world.seen.jobs.iter().filter_map(render::task_of).all(|task| match task {
        Task::Prune(task) => task.physical == ["handbook-0a1b2c3d-v2"],
        _ => true,
    }));
}

#[test]
fn a_failed_version_that_a_release_pins_is_left_alone() {
    let mut world = World::with_ready(1);
    world.change(2).rest().used("shop", "spec.version", "v2");
    world.failed("build", "ShrinkGuard", "shrank").rest().lists("v1 Ready, v2 Failed");
    assert_eq!(world.jobs("prune"), 0);
    world.unused().rest();
    assert_eq!(world.jobs("prune"), 1);
}

#[test]
fn nothing_goes_while_a_release_cannot_be_decoded() {
    let mut world = World::with_ready(2);
    world.seen.unreadable = vec!["odd".to_owned()];
    world.change(3).becomes_ready("c3", 10).lists("v1 Ready, v2 Ready, v3 Ready");
    world.seen.unreadable.clear();
    world.pruned().lists("v2 Ready, v3 Ready");
}

#[test]
fn one_prune_at_a_time() {
    let mut world = World::with_ready(3);
    let first = world.running("prune").unwrap();
    world.change(4).becomes_ready("c4", 10).lists("v1 Retiring, v2 Retiring, v3 Ready, v4 Ready");
    assert_eq!((world.jobs("prune"), world.running("prune")), (1, Some(first)));
    world.pruned().lists("v3 Ready, v4 Ready");
}

#[test]
fn several_go_in_one_job() {
    let mut world = handbook();
    world.spec(|s| s.retention.versions = 10);
    for n in 1..=5 {
        world.change(n).becomes_ready(&format!("c{n}"), 10);
    }
    world.spec(|s| s.retention.versions = 1).rest();
    let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
    assert_eq!((task.physical.len(), world.jobs("prune")), (4, 1));
    world.pruned().lists("v5 Ready");
}

#[test]
fn claims_are_pruned_one_after_the_other() {
    let mut world = World::with_ready(2);
    world.spec(|s| {
        s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned();
        s.retention.versions = 1;
    });
    world.becomes_ready("c3", 10);
    world.change(4).becomes_ready("c4", 10);
    world.pruned().lists("v4 Ready");
    let claims: BTreeSet<String> = world
        .seen
        .jobs
        .iter()
        .filter(|j| render::purpose_of(j) == "prune")
        .map(|j| serde_json::to_value(j).unwrap())
        .map(|j| j["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"].to_string())
        .collect();
    assert_eq!(claims.len(), 2);
}

#[test]
fn a_claim_that_is_gone_needs_no_job() {
    let mut world = World::with_ready(2);
    world.spec(|s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned());
    world.seen.gone_claims.insert("indexes".to_owned());
    world.becomes_ready("c3", 10).lists("v2 Ready, v3 Ready");
    assert_eq!(world.jobs("prune"), 0);
}

#[test]
fn a_prune_that_fails_is_told_and_tried_again() {
    let mut world = World::with_ready(3);
    let job = world.running("prune").unwrap();
    world.failed("prune", "VectorStoreUnavailable", "input/output error").rest();
    world.says("True", Reason::Succeeded, "cannot be deleted yet").lists("v1 Retiring, v2 Ready, v3 Ready");
    let ttl = world.job_named(&job).spec.as_ref().unwrap().ttl_seconds_after_finished;
    assert_eq!(ttl, Some(600));
    world.vanish(&job);
    world.rest();
    assert_eq!(world.running("prune"), Some(job));
    world.pruned().lists("v2 Ready, v3 Ready");
}

#[test]
fn a_directory_of_another_owner_is_left_and_told_once() {
    let mut world = World::with_ready(3);
    world.done("prune", &json!({"kind": "prune", "deleted": 0, "missing": 0, "foreign": ["handbook-0a1b2c3d-v1"]}));
    world.rest().lists("v2 Ready, v3 Ready");
    let warnings: Vec<_> = world.notes.iter().filter(|n| n.warning && n.reason == "NotOwned").collect();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].text.contains("handbook-0a1b2c3d-v1 on claim indexes"));
}

#[test]
fn a_prune_job_of_somebody_else_is_told() {
    let mut world = World::with_ready(3);
    let name = world.running("prune").unwrap();
    world.vanish(&name);
    world.seen.foreign.insert(name.clone());
    world.rest().says("False", Reason::NotOwned, &name).stalled();
}

#[test]
fn failed_versions_lose_their_directories_and_keep_three_reasons() {
    let mut world = World::with_ready(1);
    for n in 2..=6 {
        world.change(n).rest().failed("build", "ShrinkGuard", &format!("shrank {n}"));
        world.pruned();
    }
    world.lists("v1 Ready, v4 Failed, v5 Failed, v6 Failed").says("False", Reason::ShrinkGuard, "shrank 6");
    assert!(world.status().versions[1..].iter().all(|v| v.size_bytes == Some(0)));
    assert_eq!(world.jobs("prune"), 5);
}

#[test]
fn a_failed_version_is_pruned_only_when_its_pod_has_ended() {
    let mut world = World::with_ready(1);
    world.change(2).rest();
    let old = world.running("build").unwrap();
    let pod = world.pod_of(&old).clone();
    world.change(3).pass();
    world.seen.pods.push(pod);
    world.rest().lists("v1 Ready, v2 Failed, v3 Building");
    assert_eq!(world.jobs("prune"), 0);
    world.vanish(&old);
    world.rest();
    let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
    assert_eq!(task.physical, ["handbook-0a1b2c3d-v2"]);
}

#[test]
fn status_never_lists_more_than_fifty() {
    let mut world = handbook();
    world.spec(|s| s.retention.versions = 50);
    for n in 1..=60 {
        world.change(n).becomes_ready(&format!("c{n}"), 10);
        assert!(world.status().versions.len() <= 50);
        world.pruned();
        world.seen.jobs.clear();
        world.seen.pods.clear();
    }
    assert_eq!(world.status().versions.len(), 44);
}

#[test]
fn fifty_versions_in_use_hold_the_next_build() {
    let mut world = handbook();
    world.spec(|s| s.retention.versions = 50);
    for n in 1..=50 {
        world.used("shop", "spec.version", &format!("v{n}"));
    }
    world.index.status = Some(VectorIndexStatus::default());
    for n in 1..=50 {
        let version = json!({"name": format!("v{n}"), "state": "Ready", "cause": "Spec", "claim": "indexes",
            "physical": format!("p{n}"), "fingerprint": "f", "model": "m", "createdAt": "2026-01-01T00:00:00Z"});
        let status = world.index.status.as_mut().unwrap();
        status.versions.push(serde_json::from_value(version).unwrap());
        status.last_number = n;
    }
    world.rest().says("False", Reason::InUse, "50 versions are listed").reconciling();
    assert_eq!(world.status().versions.len(), 50);
}

#[test]
fn releases_name_versions_in_four_ways() {
    let revision = |version: &str| json!({"revision": "r", "version": version, "weight": 0, "image": "i", "since": ""});
    let release = json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "metadata": {"name": "shop"},
        "spec": {"indexRef": {"name": "handbook"}, "version": "v4",
            "traffic": {"gateway": {"parentRefs": [{"name": "public"}]}}},
        "status": {
            "stable": revision("handbook/v1"),
            "candidate": {"revision": "r", "version": "handbook/v2", "weight": 0, "image": "i", "since": "",
                "stage": "Preparing", "step": 0, "stepText": "", "progressedAt": ""},
            "previous": {"revision": "r", "version": "other/v3", "image": "i", "retainedUntil": ""}
        }
    });
    let release: RagRelease = serde_json::from_value(release).unwrap();
    let uses: Vec<(&str, String)> = uses_of(&release, "handbook").into_iter().map(|u| (u.role, u.version)).collect();
    let expected = [("stable", "v1"), ("candidate", "v2"), ("spec.version", "v4")];
    assert_eq!(uses, expected.map(|(role, version)| (role, version.to_owned())));
    assert_eq!(uses_of(&release, "other").len(), 1);
    assert!(uses_of(&release, "hand").is_empty());
}
