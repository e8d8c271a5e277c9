//! A remote endpoint that changes.

use super::*;

#[test]
fn a_changed_address_is_told_only_when_it_is_the_same_encoder() {
    let mut w = accepted();
    w.apply(remote("b")).waits(Reason::Probing, "Pods keep using https://a/v1").still_uses("https://a/v1");
    assert_eq!(w.probe_input()["task"]["probe"]["sketch"], "first");
    assert_eq!(encoder(&w.model).unwrap().url, "https://a/v1");
    w.measured(same()).serves("https://b/v1");
    assert_eq!(w.status().sketch.as_deref(), Some("first"), "likeness is always to the first");
    assert_eq!(w.status().cosine_mean, Some(0.9999));
    w.jobs_expire().serves("https://b/v1");
}

#[test]
fn a_changed_address_with_other_vectors_is_never_told() {
    let mut w = accepted();
    w.apply(remote("b")).measured(drifted());
    w.stalls(Reason::FingerprintChanged, "0.9100").stalls(Reason::FingerprintChanged, "Pods keep using https://a/v1");
    w.still_uses("https://a/v1");
    assert_eq!(w.drifted(), Some(("True", "FingerprintChanged")));
    w.jobs_expire().stalls(Reason::FingerprintChanged, "0.9100").still_uses("https://a/v1");
    w.measured(drifted()).stalls(Reason::FingerprintChanged, "0.9995");
    // Back to the old address: measured again, as declared meanwhile by what is in use.
    w.apply(remote("a")).still_uses("https://a/v1");
    w.measured(same()).serves("https://a/v1");
    assert_eq!(w.drifted(), Some(("False", "FingerprintSame")));
    w.jobs_expire();
}

#[test]
fn bad_verdicts_of_a_changed_address() {
    for (receipt, reason) in [
        (report(255, 1.0, "x", Some(1.0)), Reason::DimensionMismatch),
        (report(256, 0.99, "x", Some(1.0)), Reason::NoisyEndpoint),
        (report(256, 1.0, "x", Some(0.999_49)), Reason::FingerprintChanged),
        (report(256, 1.0, "x", Some(-1.0)), Reason::FingerprintChanged),
    ] {
        let mut w = accepted();
        w.apply(remote("b")).measured(receipt).stalls(reason, "https://b/v1").still_uses("https://a/v1");
        assert_eq!(w.status().sketch.as_deref(), Some("first"));
    }
}

#[test]
fn a_probe_that_did_not_compare_is_no_result() {
    let mut w = accepted();
    w.apply(remote("b")).measured(report(256, 1.0, "x", None)).waits(Reason::JobFailed, "did not compare");
    w.still_uses("https://a/v1").later(60);
    assert_eq!(w.running(), 1);
}

#[test]
fn a_second_change_ends_the_first_probe() {
    let mut w = accepted();
    w.apply(remote("b")).apply(remote("c"));
    assert_eq!((w.running(), w.jobs.len()), (1, 1));
    w.measured(same()).serves("https://c/v1");
}

#[test]
fn a_change_while_an_outage_lasts_is_a_new_matter() {
    let mut w = world(remote("a"));
    w.settle().fails(43, "EndpointUnavailable", "no answer from a").waits(Reason::EndpointUnavailable, "from a");
    w.apply(remote("b")).waits(Reason::Probing, "measured");
    w.jobs_expire();
}

#[test]
fn what_decides_no_vectors_is_in_force_without_a_probe() {
    let mut w = accepted();
    w.apply(json!({"openAI": {"url": "https://a/v1", "batchSize": 7, "maxConcurrency": 2, "timeout": "9s"}}));
    w.serves("https://a/v1");
    let told = encoder(&w.model).unwrap();
    assert_eq!((told.batch_size, told.max_concurrency, told.timeout.as_str()), (7, 2, "9s"));
    assert_eq!(w.jobs.len(), 0);
}

#[test]
fn what_may_decide_vectors_is_measured() {
    for endpoint in [
        json!({"openAI": {"url": "https://a/v1", "model": "other"}}),
        json!({"openAI": {"url": "https://a/v1", "apiKey": {"name": "s", "key": "k"}}}),
        json!({"openAI": {"url": "http://a/v1"}}),
        local("one"),
    ] {
        let mut w = accepted();
        w.apply(endpoint).pods_start().waits(Reason::Probing, "").still_uses("https://a/v1");
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn a_lost_status_is_measured_anew() {
    let mut w = accepted();
    w.model.status = None;
    w.settle().waits(Reason::Probing, "No pod");
    w.measured(good()).serves("https://a/v1");
}

#[test]
fn a_job_of_somebody_else_is_not_touched() {
    let mut w = world(remote("a"));
    let name = render::probe_name(&w.model);
    w.jobs.insert(name.clone(), json!({"metadata": {"name": name, "uid": "x"}, "spec": {"template": {}}}));
    w.settle().stalls(Reason::NotOwned, &name);
    assert_eq!(w.jobs.len(), 1);
}
