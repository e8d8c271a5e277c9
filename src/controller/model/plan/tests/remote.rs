//! A remote endpoint.

use super::*;

#[test]
fn a_new_endpoint_is_measured_before_anybody_is_told() {
    let mut w = world(remote("a"));
    w.settle().waits(Reason::Probing, "No pod uses this encoder yet");
    assert_eq!((w.running(), w.url(), encoder(&w.model)), (1, None, None));
    assert_eq!(w.status().fingerprint, Some(Identity::of(&w.model.spec).fingerprint()));
    assert_eq!(w.drifted(), None);
    w.measured(good()).serves("https://a/v1");
    assert_eq!(w.drifted(), Some(("False", "FingerprintSame")));
    let status = w.status();
    assert_eq!((status.dimensions, status.self_noise, status.cosine_mean), (Some(256), Some(1.0), None));
    assert_eq!(status.sketch.as_deref(), Some("first"));
    assert_eq!(status.probed_at.as_deref(), Some("1970-01-12T13:46:45Z"));
    w.jobs_expire().later(100_000).serves("https://a/v1");
    assert_eq!(w.jobs.len(), 0);
    assert_eq!(w.last.requeue, None);
}

#[test]
fn the_probe_asks_as_the_spec_says() {
    let mut w = world(json!({"openAI": {"url": "https://a/v1", "model": "sent", "timeout": "90s", "batchSize": 8,
        "apiKey": {"name": "key", "key": "token"}, "caBundle": {"name": "ca", "key": "ca.crt"}}}));
    w.config_maps.insert("ca".to_owned());
    w.settle();
    let input = w.probe_input();
    assert_eq!(input["task"]["probe"]["encoder"]["model"], "sent");
    assert_eq!(input["task"]["probe"]["encoder"]["apiKey"], true);
    assert_eq!(input["task"]["probe"]["sketch"], Value::Null);
    let job = w.jobs.values().next().unwrap();
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 600 + 4 * 90);
    assert_eq!(job["metadata"]["labels"]["ragops.dev/purpose"], "probe");
    let text = job.to_string();
    assert!(text.contains("\"secretName\":\"key\"") && text.contains("/secrets/encoder-ca"), "{text}");
    w.measured(good());
    let sent = format!("{:?}", mounts(&w.model, Mounts::default()));
    assert!(sent.contains("\"key\"") && sent.contains("\"ca\""));
}

#[test]
fn verdicts_of_a_first_probe() {
    for (receipt, reason, word) in [
        (report(384, 1.0, "s", None), Reason::DimensionMismatch, "384 dimensions"),
        (report(0, 1.0, "s", None), Reason::DimensionMismatch, "declares 256"),
        (report(9_999_999, 1.0, "s", None), Reason::DimensionMismatch, "65536"),
        (report(256, 0.9989, "s", None), Reason::NoisyEndpoint, "0.99890"),
        (report(256, -1.0, "s", None), Reason::NoisyEndpoint, "at least 0.999"),
    ] {
        let mut w = world(remote("a"));
        w.settle().measured(receipt).stalls(reason, word).stalls(reason, "No pod uses this encoder yet");
        assert_eq!((w.url(), w.status().sketch.as_deref(), w.drifted()), (None, None, None));
        w.later(3_599).stalls(reason, word);
        assert_eq!(w.running(), 0);
        // The server behind the address may have been mended: measured again when the Job is gone.
        w.jobs_expire().stalls(reason, word);
        assert_eq!(w.running(), 1);
        w.measured(good()).serves("https://a/v1");
    }
}

#[test]
fn an_endpoint_that_cannot_be_asked_is_tried_again() {
    for (exit, word, reason) in [
        (43, "EndpointUnavailable", Reason::EndpointUnavailable),
        (43, "SourceUnavailable", Reason::SourceUnavailable),
        (1, "Unheard", Reason::JobFailed),
    ] {
        let mut w = world(remote("a"));
        w.settle()
            .fails(exit, word, "cannot reach https://a/v1: connection refused")
            .waits(reason, "connection refused");
        assert_eq!(w.jobs.len(), 1);
        assert_eq!(w.last.requeue, Some(Duration::from_secs(60)));
        w.later(59).waits(reason, "every minute");
        assert_eq!((w.running(), w.last.requeue), (0, Some(Duration::from_secs(1))));
        // The words stay while it is tried again: no event a minute.
        w.later(1).waits(reason, "connection refused");
        assert_eq!(w.running(), 1);
        w.measured(good()).serves("https://a/v1");
    }
}

#[test]
fn a_job_without_a_receipt_is_told_and_tried_again() {
    let mut w = world(remote("a"));
    w.settle().end("Failed", 137, &Value::Null).settle().waits(Reason::JobFailed, "exit code 137");
    w.later(60);
    assert_eq!(w.running(), 1);
    let mut w = world(remote("a"));
    w.settle().end("Complete", 0, &Value::Null).settle().waits(Reason::JobFailed, "left no receipt");
    let mut w = world(remote("a"));
    let foreign = json!({"kind": "check", "digest": "d", "queries": 1, "judgments": 1, "clusters": null, "slices": []});
    w.settle().end("Complete", 0, &foreign).settle().waits(Reason::JobFailed, "another kind");
}

#[test]
fn a_configuration_that_cannot_work_stalls() {
    for (word, reason) in [
        ("DimensionMismatch", Reason::DimensionMismatch),
        ("InvalidSpec", Reason::InvalidSpec),
        ("Unheard", Reason::InvalidSpec),
    ] {
        let mut w = world(remote("a"));
        w.settle()
            .fails(42, word, "384 values where 256 are declared")
            .stalls(reason, "384 values")
            .stalls(reason, "delete Job");
        w.later(3_600).stalls(reason, "384 values");
        assert_eq!(w.running(), 0);
        let job = w.jobs.values().next().unwrap();
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86_400);
        w.jobs_expire();
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn pods_of_a_probe_that_cannot_start_are_told() {
    for (status, reason, word) in [
        (waiting("ErrImagePull", "not found"), Reason::ImagePullFailed, "rag:1"),
        (waiting("ImagePullBackOff", "back-off"), Reason::ImagePullFailed, "cannot be pulled"),
        (waiting("CreateContainerConfigError", "secret missing"), Reason::PodConfigError, "secret missing"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            Reason::PodUnschedulable,
            "0/1 nodes",
        ),
        (waiting("ContainerCreating", ""), Reason::Probing, "measured"),
    ] {
        let mut w = world(remote("a"));
        w.settle().probe_pod(status).waits(reason, word);
        assert_eq!(w.last.requeue, Some(SOON));
        w.measured(good()).serves("https://a/v1");
    }
}

#[test]
fn a_kubelet_may_say_as_much_as_it_likes() {
    let mut w = world(remote("a"));
    let status = waiting("ErrImagePull", &"x".repeat(9_000));
    w.settle().probe_pod(status).waits(Reason::ImagePullFailed, "load the image onto the node");
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let mut w = world(json!({"openAI": {"url": "https://a/v1", "apiKey": {"name": "key", "key": "token"}}}));
    w.settle().probe_pod(waiting("ContainerCreating", "")).waits(Reason::Probing, "");
    w.later(31).waits(Reason::PodConfigError, "Secret `key` with key `token`");
}

#[test]
fn a_certificate_that_is_missing_is_named_and_waited_for() {
    let mut w = world(json!({"openAI": {"url": "https://a/v1", "caBundle": {"name": "ca", "key": "root.pem"}}}));
    w.settle().waits(Reason::RefNotFound, "ConfigMap `ca`").waits(Reason::RefNotFound, "root.pem");
    assert_eq!((w.jobs.len(), w.last.requeue), (0, Some(LATER)));
    w.config_maps.insert("ca".to_owned());
    w.settle().waits(Reason::Probing, "");
}
