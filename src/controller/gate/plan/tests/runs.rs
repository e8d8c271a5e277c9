//! Runs that releases report.

use super::*;

#[test]
fn runs_are_listed_once_newest_first_and_stay() {
    let mut w = checked();
    let mut first = release("Stepping", 0);
    first["status"]["gates"] = json!([run("job-a", "Fail", 1_000_010)]);
    w.releases(&[first.clone()]).usable("168");
    assert_eq!(w.status().last_runs.len(), 1);
    let listed = &w.status().last_runs[0];
    assert_eq!((listed.release.as_str(), listed.revision.as_str(), listed.n), ("handbook", "0123456789", 168));
    assert_eq!(listed.baseline.as_deref(), Some("9876543210"));
    first["status"]["gates"] = json!([run("job-b", "Pass", 1_000_020)]);
    w.releases(&[first]);
    let jobs: Vec<&str> = w.status().last_runs.iter().map(|r| r.job.as_str()).collect();
    assert_eq!(jobs, ["job-b", "job-a"]);
    w.releases(&[]);
    assert_eq!(w.status().last_runs.len(), 2);
}

#[test]
fn what_is_no_result_of_this_gate_is_not_listed() {
    let mut running = run("j", "Pass", 5);
    running.as_object_mut().unwrap().remove("verdict");
    let mut unnamed = run("j", "Pass", 5);
    unnamed.as_object_mut().unwrap().remove("job");
    let mut open = run("j", "Pass", 5);
    open.as_object_mut().unwrap().remove("finishedAt");
    let mut other = run("j", "Pass", 5);
    other["name"] = json!("other");
    let mut w = checked();
    let mut found = release("Stepping", 0);
    found["status"]["gates"] = json!([running, unnamed, open, other]);
    w.releases(&[found]);
    assert_eq!(w.status().last_runs, Vec::new());
}

#[test]
fn a_run_that_is_told_anew_is_replaced() {
    let mut w = checked();
    let mut found = release("Stepping", 0);
    found["status"]["gates"] = json!([run("j", "Error", 5)]);
    w.releases(&[found.clone()]);
    found["status"]["gates"] = json!([run("j", "Pass", 6)]);
    w.releases(&[found]);
    let runs = &w.status().last_runs;
    assert_eq!((runs.len(), runs[0].verdict), (1, crate::api::gate::VerdictWord::Pass));
}

#[test]
fn the_list_stays_short_and_small() {
    let mut w = checked();
    for i in 0..25 {
        let mut found = release("Stepping", 0);
        let mut run = run(&format!("j{i:02}"), "Pass", 1_000_000 + i);
        run["message"] = json!("m".repeat(1_100));
        found["status"]["gates"] = json!([run]);
        w.releases(&[found]);
    }
    let runs = &w.status().last_runs;
    assert!((15..=20).contains(&runs.len()), "{}", runs.len());
    assert_eq!(runs[0].job, "j24");
    assert!(serde_json::to_string(w.status()).unwrap().len() < 32 * 1024);
}

#[test]
fn a_failing_candidate_never_turns_the_gate_red() {
    for verdict in ["Pass", "Fail", "Inconclusive", "Error"] {
        let mut w = checked();
        let mut found = release("RollingBack", 0);
        found["status"]["gates"] = json!([run("j", verdict, 5)]);
        w.releases(&[found]).usable("168");
    }
}
