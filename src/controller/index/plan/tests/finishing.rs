//! From a build to Ready or Failed.

use super::*;

#[test]
fn a_build_is_verified_before_it_is_ready() {
    let mut world = handbook();
    world.rest().done("build", &build_report("c1", 10));
    let plan = world.pass();
    world.lists("v1 Verifying").says("False", Reason::Verifying, "10 documents in 40 chunks").reconciling();
    assert_eq!(world.status().latest_version, None);
    assert!(plan.actions.iter().any(|a| matches!(a, Action::ExpireJob { seconds: 3600, .. })));
    let Task::Verify(task) = world.task("verify") else { panic!("a verification") };
    assert_eq!((task.content_digest.as_str(), task.documents, task.chunks), ("c1", 10, 40));
}

#[test]
fn the_verify_job_reads_only() {
    let mut world = handbook();
    world.rest().done("build", &build_report("c1", 10)).rest();
    let job = serde_json::to_value(world.job_named(&world.running("verify").unwrap())).unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["index", "verify"]));
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().all(|m| m["readOnly"] == true || m["mountPath"] == "/tmp"), "{mounts:?}");
    assert!(mounts.iter().all(|m| !m["mountPath"].as_str().unwrap().starts_with("/sources")));
}

#[test]
fn a_verified_version_is_ready_with_its_numbers() {
    let world = World::with_ready(1);
    world.lists("v1 Ready").says("True", Reason::Succeeded, "v1 is ready: 10 documents in 40 chunks, 1 documents");
    world.reliable(Some("True"), Reason::ChecksPassed);
    let status = world.status().clone();
    assert_eq!((status.latest_version.as_deref(), status.documents, status.chunks), (Some("v1"), Some(10), Some(40)));
    assert!(status.build.is_none());
    let v1 = &status.versions[0];
    assert_eq!((v1.quarantined, v1.size_bytes, v1.model.as_str()), (Some(1), Some(1000), "wordllama"));
    assert!(v1.ready_at.is_some());
    assert!(world.seen.jobs.iter().all(|j| j.spec.as_ref().unwrap().ttl_seconds_after_finished == Some(3600)));
    assert_eq!(newest_ready(&status).map(|v| v.name.as_str()), Some("v1"));
}

#[test]
fn verifications_that_find_something_else_fail_the_version() {
    let cases = [
        (json!({"contentDigest": "other"}), Reason::CountMismatch, "another digest"),
        (json!({"documents": 9}), Reason::CountMismatch, "9 documents were read back, 10 were built"),
        (json!({"chunks": 39}), Reason::CountMismatch, "39 chunks were read back, 40 were built"),
        (json!({"dimensions": 384}), Reason::CountMismatch, "384 dimensions"),
        (json!({"selfRetrieval": 0.98}), Reason::SelfRetrievalLow, "0.9800 of 100 sampled chunks"),
    ];
    for (change, reason, part) in cases {
        let mut world = handbook();
        world.rest().done("build", &build_report("c1", 10)).rest();
        let mut report = verify_report("c1", 10);
        for (key, value) in change.as_object().unwrap() {
            report[key] = value.clone();
        }
        world.done("verify", &report).rest().says("False", reason, part).stalled().lists("v1 Failed");
        world.reliable(Some("False"), reason);
        assert_eq!(world.status().latest_version, None);
    }
}

#[test]
fn a_build_that_loses_documents_fails() {
    let mut world = handbook();
    let mut report = build_report("c1", 10);
    report["source"] = json!(20);
    world.rest().done("build", &report).rest();
    world.says("False", Reason::CountMismatch, "20 documents, but the build accounts for 13").stalled();
}

#[test]
fn a_receipt_of_another_kind_fails_the_version() {
    let mut world = handbook();
    world.rest().done("build", &verify_report("c1", 10)).rest();
    world.says("False", Reason::JobFailed, "of another kind").stalled().reliable(None, Reason::JobFailed);
}

#[test]
fn failures_are_told_in_the_workers_words() {
    let cases = [
        ("ShrinkGuard", Reason::ShrinkGuard, true),
        ("ChecksFailed", Reason::ChecksFailed, true),
        ("SelfRetrievalLow", Reason::SelfRetrievalLow, true),
        ("CountMismatch", Reason::CountMismatch, true),
        ("SourceUnavailable", Reason::SourceUnavailable, false),
        ("EndpointUnavailable", Reason::EndpointUnavailable, false),
        ("InvalidSpec", Reason::InvalidSpec, false),
        ("SomethingNew", Reason::JobFailed, false),
    ];
    for (word, reason, of_data) in cases {
        let mut world = World::with_ready(1);
        world.change(2).rest().failed("build", word, "8 documents, 10 before").rest();
        world.says("False", reason, "Version v2 failed: 8 documents, 10 before. v1 stays").stalled();
        world.says("False", reason, "kubectl -n team annotate vidx handbook ragops.dev/rebuild=<token>");
        world.lists("v1 Ready, v2 Failed");
        if of_data {
            world.reliable(Some("False"), reason);
        } else {
            world.reliable(Some("True"), Reason::ChecksPassed);
        }
        assert_eq!(world.status().latest_version.as_deref(), Some("v1"));
    }
}

#[test]
fn a_failed_build_is_not_repeated() {
    let mut world = handbook();
    world.rest().failed("build", "ShrinkGuard", "shrank").rest();
    let jobs = world.jobs("build");
    for _ in 0..50 {
        world.later(3600).pass();
    }
    assert_eq!(world.jobs("build"), jobs);
    world.rest().lists("v1 Failed").says("False", Reason::ShrinkGuard, "shrank");
}

#[test]
fn a_passing_trouble_is_tried_again_until_it_is_over() {
    let mut world = World::with_ready(1);
    world.change(2).rest().later(120).met("build", "EndpointUnavailable", "http://e does not answer").rest();
    world.says("False", Reason::EndpointUnavailable, "v2 does not go on: http://e does not answer. v1 stays");
    world.stalled().lists("v1 Ready, v2 Building").reliable(Some("True"), Reason::ChecksPassed);
    // It was under way for 120 s and rests as long.
    world.later(100).rest();
    assert_eq!(world.running("build"), None);
    world.later(20).rest().says("False", Reason::Building, "Builds v2").reconciling();
    world.done("build", &build_report("c2", 10)).rest().later(60);
    world.met("verify", "EndpointUnavailable", "http://e does not answer").rest();
    world.says("False", Reason::EndpointUnavailable, "v2 does not go on").lists("v1 Ready, v2 Verifying");
    world.later(3_600).rest().done("verify", &verify_report("c2", 10)).rest();
    world.lists("v1 Ready, v2 Ready").says("True", Reason::Succeeded, "v2 is ready");
    assert_eq!(world.status().last_number, 2);
}

#[test]
fn attempts_come_ever_more_seldom_and_at_least_once_an_hour() {
    let mut world = handbook();
    world.rest();
    let mut rests = Vec::new();
    for _ in 0..10 {
        world.later(30).met("build", "SourceUnavailable", "no such directory").rest();
        let failed = world.seen.now;
        let rest = plan(&world.index, &world.seen).requeue.unwrap();
        world.later(rest.as_secs() as i64).rest();
        assert!(world.running("build").is_some(), "made again after {} s", rest.as_secs());
        rests.push((world.seen.now.duration_since(failed)).as_secs());
    }
    assert!(rests.is_sorted() && rests[0] == 60 && rests[9] == 3_600, "{rests:?}");
    world.lists("v1 Building");
}

#[test]
fn a_pod_that_went_with_its_node_is_a_passing_trouble() {
    let mut world = handbook();
    world.rest();
    let job = world.running("build").unwrap();
    world.done("build", &build_report("c1", 10)).seen.pods.clear();
    world.rest().says("False", Reason::JobFailed, "the pod that left it is gone");
    world.later(60).rest();
    assert_eq!(world.running("build"), Some(job), "the same Job once more: what it built is adopted");
}

#[test]
fn a_trouble_that_passes_gives_way_to_new_inputs() {
    let mut world = handbook();
    world.rest().met("build", "EndpointUnavailable", "no answer").rest();
    world.change(7).rest().lists("v1 Failed, v2 Building").says("False", Reason::Building, "Builds v2");
}

#[test]
fn a_new_spec_fingerprint_or_token_tries_again() {
    type Edit = fn(&mut World);
    let cases: [Edit; 3] =
        [|w| _ = w.change(9), |w| w.seen.model = ready_model("bbbbbbbbbbbb"), |w| _ = w.rebuild("again")];
    for edit in cases {
        let mut world = handbook();
        world.rest().failed("build", "ShrinkGuard", "shrank").rest();
        edit(&mut world);
        world.rest().lists("v1 Failed, v2 Building").reconciling();
        world.reliable(Some("False"), Reason::ShrinkGuard);
    }
}

#[test]
fn a_failed_job_keeps_a_day_for_its_logs() {
    let mut world = handbook();
    world.rest().failed("build", "ChecksFailed", "no documents").rest();
    let build = world.seen.jobs.iter().find(|j| render::purpose_of(j) == "build").unwrap();
    assert_eq!(build.spec.as_ref().unwrap().ttl_seconds_after_finished, Some(86_400));
}

#[test]
fn a_job_that_left_no_receipt_is_a_failure_too() {
    let mut world = handbook();
    world.rest().end_job("build", "Complete", 0, &json!({"kind": "nonsense"})).rest();
    world.says("False", Reason::JobFailed, "its receipt does not count").stalled();
}

#[test]
fn long_texts_fit_the_schema() {
    let mut world = handbook();
    world.rest().failed("build", "ChecksFailed", &"x".repeat(1_024)).rest();
    let status = world.status();
    assert!(status.versions[0].reason.as_ref().unwrap().chars().count() <= 1_200);
    assert!(status.conditions.iter().all(|c| c.message.chars().count() <= 4_096));
}

#[test]
fn a_large_index_says_that_searches_are_slow() {
    let mut world = handbook();
    world.spec(|s| s.search.exact_below = 39).becomes_ready("c1", 10);
    world.says("True", Reason::Succeeded, "scans all vectors");
    world.spec(|s| s.search.exact_below = 40).rest();
    assert!(!world.condition(ConditionType::Ready).unwrap().message.contains("scans"));
}

#[test]
fn a_directory_that_is_not_ours_is_told_and_never_pruned() {
    let mut world = handbook();
    world.rest().failed("build", "NotOwned", "already holds version v1 of another owner").rest();
    world.says("False", Reason::NotOwned, "another owner").stalled();
    assert_eq!(world.jobs("prune"), 0);
}
