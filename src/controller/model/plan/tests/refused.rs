//! What cannot be meant.

use super::*;

#[test]
fn specs_that_break_a_rule_stall_and_touch_nothing() {
    let long = "x".repeat(600);
    for (path, value, word) in [
        ("/metadata/name", json!("Words"), "DNS label"),
        ("/metadata/name", json!("a".repeat(41)), "at most 40"),
        ("/metadata/name", json!("1a"), "begins with a letter"),
        ("/metadata/name", json!("a-"), "DNS label"),
        ("/spec/model", json!(""), "spec.model"),
        ("/spec/revision", json!(long), "at"),
        ("/spec/dimensions", json!(0), "from 1 to 8192"),
        ("/spec/dimensions", json!(8193), "is 8193"),
        ("/spec/maxInputTokens", json!(0), "from 1 to 131072"),
        ("/spec/prefixes/query", json!(long), "prefixes.query"),
        ("/spec/prefixes/passage", json!(long), "prefixes.passage"),
        ("/spec/endpoint", json!({}), "exactly one"),
        ("/spec/endpoint", json!({"openAI": {"url": "https://a"}, "managed": local("x")["managed"]}), "exactly one"),
        ("/spec/endpoint/openAI/url", json!("ftp://a/v1"), "no address"),
        ("/spec/endpoint/openAI/url", json!("https://u:secret@a/v1"), "user name"),
        ("/spec/endpoint/openAI/url", json!("a/v1"), "https://host/v1"),
        ("/spec/endpoint/openAI/url", json!("https://a/v1?k=1"), "query"),
        ("/spec/endpoint/openAI/timeout", json!("soon"), "no duration"),
        ("/spec/endpoint/openAI/timeout", json!("11m"), "between"),
        ("/spec/endpoint/openAI/batchSize", json!(0), "from 1 to 2048"),
        ("/spec/endpoint/openAI/maxConcurrency", json!(65), "from 1 to 64"),
        (
            "/spec/endpoint",
            json!({"managed": {"format": "Static", "model": {"claimName": "c"}, "replicas": 0}}),
            "replicas",
        ),
        ("/spec/endpoint", json!({"managed": {"format": "Static", "model": {"claimName": ""}}}), "claimName"),
        (
            "/spec/endpoint",
            json!({"managed": {"format": "Static", "model": {"claimName": "c", "path": "/etc"}}}),
            "relative",
        ),
        (
            "/spec/endpoint",
            json!({"managed": {"format": "Static", "model": {"claimName": "c", "path": "a/../../b"}}}),
            "`..`",
        ),
    ] {
        let mut w = world(remote("a"));
        let mut text = serde_json::to_value(&w.model).unwrap();
        text["spec"]["prefixes"] = json!({"query": "", "passage": ""});
        *text.pointer_mut(path).unwrap() = value;
        w.model = serde_json::from_value(text).unwrap();
        w.settle().stalls(Reason::InvalidSpec, word).stalls(Reason::InvalidSpec, "Nothing was created");
        assert_eq!((w.jobs.len(), w.objects.len()), (0, 0));
        let told = &find(&w.status().conditions, ConditionType::Ready).unwrap().message;
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn an_identity_that_changed_past_admission_is_refused() {
    let mut w = accepted();
    let before = w.status().fingerprint.clone();
    w.model.spec.dimensions = 128;
    w.settle().stalls(Reason::InvalidSpec, "must not change").still_uses("https://a/v1");
    assert_eq!(w.status().fingerprint, before);
    assert_eq!(w.jobs.len(), 0);
    w.model.spec.dimensions = 256;
    w.settle().serves("https://a/v1");
}

#[test]
fn a_broken_change_leaves_what_is_in_use() {
    let mut w = managed();
    let before = w.objects.clone();
    w.apply(json!({})).stalls(Reason::InvalidSpec, "pods keep using").still_uses(OWN);
    assert_eq!(w.objects, before);
    w.apply(local("one")).serves(OWN);
}
