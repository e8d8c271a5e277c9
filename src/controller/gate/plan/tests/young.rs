//! A candidate wants a young check.

use super::*;

#[test]
fn a_candidate_long_after_the_check_has_the_data_read_again() {
    let at = 1_000_005;
    for (stage, since, again) in [
        ("Preparing", at + 3_600, false),
        ("Preparing", at + 3_601, true),
        ("Verifying", at + 3_601, true),
        ("Stepping", at + 90_000, false),
        ("RollingBack", at + 90_000, false),
        ("Preparing", at - 90_000, false),
    ] {
        let mut w = checked();
        w.now = since.max(at) + 10;
        w.releases(&[release(stage, since)]);
        assert_eq!(w.running() == 1, again, "{stage} {since}");
        if again {
            w.says("True", Reason::Progressing, "read again");
            w.read("d1", 168).usable("168").jobs_expire();
            assert_eq!(w.jobs.len(), 0, "once");
            w.later(90_000).usable("168");
        }
    }
}

#[test]
fn a_candidate_that_has_its_data_or_its_verdict_wants_no_check() {
    let since = 1_000_005 + 90_000;
    let mut frozen = release("Verifying", since);
    frozen["status"]["plan"] = json!({"revision": "0123456789", "frozenAt": text_of(since), "steps": [], "minRequests": 0,
        "onInconclusive": "Hold", "progressDeadline": "6h",
        "gates": [{"name": "good", "when": "BeforeTraffic", "specDigest": "s", "datasetDigest": "d1", "spec": offline()}]});
    let mut measured = release("Verifying", since);
    measured["status"]["gates"] = json!([run("j", "Pass", since)]);
    let mut nobody = release("Verifying", since);
    nobody["status"].as_object_mut().unwrap().remove("candidate");
    let mut unnamed = release("Preparing", since);
    unnamed["spec"]["rollout"]["gates"] = json!([]);
    unnamed["status"]["gates"] = json!([{"name": "good", "revision": "old", "attempt": 0}]);
    for release in [frozen, measured, nobody, unnamed] {
        let mut w = checked();
        w.now = since;
        w.releases(&[release]);
        assert_eq!(w.running(), 0);
    }
}

#[test]
fn a_second_check_is_made_although_the_first_job_is_still_there() {
    let mut w = world(offline());
    w.settle().read("d1", 168).later(4_000).usable("168");
    let since = w.now;
    w.releases(&[release("Preparing", since)]);
    assert_eq!((w.jobs.len(), w.running()), (2, 1));
    w.read("d2", 169).usable("169").jobs_expire();
}

#[test]
fn a_second_check_that_finds_other_data_says_so() {
    let mut w = checked();
    w.now += 90_000;
    let since = w.now;
    w.releases(&[release("Preparing", since)]).read("d2", 170).usable("170");
    assert_eq!(w.status().dataset.as_ref().unwrap().digest, "d2");
}

#[test]
fn a_second_check_that_fails_makes_the_gate_unusable() {
    let mut w = checked();
    w.now += 90_000;
    let since = w.now;
    w.releases(&[release("Preparing", since)]).fails(42, "DatasetInvalid", "queries.jsonl:3: no text");
    w.stalls(Reason::DatasetInvalid, "queries.jsonl:3");
    assert_eq!(w.status().dataset.as_ref().unwrap().digest, "d1");
}

#[test]
fn a_run_that_found_other_data_has_them_read_once_whatever_the_clock_of_jobs_says() {
    for behind in [-120, 0, 120] {
        let mut w = checked();
        w.now += 1_000;
        let mut found = release("Verifying", 1_000_005);
        let mut other = run("j", "Error", w.now);
        other["reason"] = json!("InputsChanged");
        found["status"]["gates"] = json!([other]);
        w.behind = behind;
        w.releases(&[found]);
        assert_eq!(w.running(), 1);
        w.read("d2", 170).usable("170");
        assert_eq!((w.running(), w.jobs.len()), (0, 1), "{behind} s behind");
    }
}
