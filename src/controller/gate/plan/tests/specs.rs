//! Specs that cannot be meant.

use super::*;

#[test]
fn specs_that_break_a_rule_stall() {
    let (dataset, from) = ("/retrieval/dataset", "/retrieval/dataset/from");
    for (path, value, word) in [
        ("/timeout", json!("soon"), "no duration"),
        ("/timeout", json!("25h"), "between"),
        ("/retries", json!(11), "from 0 to 10"),
        ("/retries", json!(-1), "is -1"),
        ("/report", json!({"claimName": "r", "path": "../x"}), "relative path"),
        ("/report", json!({"claimName": "r", "path": "/x"}), "relative path"),
        ("/report", json!({"claimName": "r", "path": "p".repeat(64)}), "at most 63"),
        ("/report", json!({"claimName": "c".repeat(64)}), "at most 63"),
        ("/report", json!({"claimName": ""}), "is empty"),
        ("/exposeText", json!(true), "set `spec.report` too"),
        (from, json!({}), "exactly one"),
        (from, json!({"configMap": {"name": "a"}, "volume": {"claimName": "b"}}), "exactly one"),
        (from, json!({"volume": {"claimName": "a", "path": "../x"}}), "relative"),
        (from, json!({"configMap": {"name": "a", "keys": ["queries.jsonl"]}}), "qrels.tsv"),
        (from, json!({"configMap": {"name": "a", "keys": ["qrels.tsv.gz", "queries.jsonl.bz2"]}}), "queries.jsonl"),
        (
            dataset,
            json!({"format": "Trec", "from": {"configMap": {"name": "a", "keys": ["queries.tsv"]}}}),
            "qrels.txt",
        ),
        (dataset, json!({"format": "Jsonl", "from": {"configMap": {"name": "a", "keys": ["x"]}}}), "dataset.jsonl"),
        ("/retrieval/dataset/split", json!("../x"), "split"),
        ("/retrieval/dataset/split", json!(""), "1 to 63"),
        ("/retrieval/metrics", json!([]), "1 to 8"),
        ("/retrieval/metrics", json!([{"name": "map", "floor": 0.1}, {"name": "map", "max": 0.9}]), "twice"),
        ("/retrieval/metrics/0/name", json!("recall"), "no metric"),
        ("/retrieval/metrics/0/name", json!("unj@10"), "takes max only"),
        ("/retrieval/metrics/0/name", json!("ndcg@0"), "from 1 to 1000"),
        ("/retrieval/metrics/0/name", json!("ndcg@1001"), "from 1 to 1000"),
        ("/retrieval/metrics/0/name", json!("bleu"), "no metric"),
        ("/retrieval/metrics/0/margin", json!(0.0), "margin"),
        ("/retrieval/metrics/0/margin", json!(1.5), "margin"),
        ("/retrieval/metrics/0/floor", json!(-0.1), "floor"),
        ("/retrieval/metrics/0/max", json!(2), "max"),
        ("/retrieval/metrics", json!([{"name": "map"}]), "at least one of margin, floor and max"),
        ("/retrieval/statistics/alpha", json!(0.5), "alpha"),
        ("/retrieval/statistics/seed", json!(-7), "0 or more"),
    ] {
        let mut spec = offline();
        let defaults =
            [("timeout", json!("30m")), ("retries", json!(2)), ("report", Value::Null), ("exposeText", json!(false))];
        for (field, default) in defaults {
            spec[field] = default;
        }
        spec["retrieval"]["dataset"]["split"] = json!("test");
        spec["retrieval"]["metrics"][0]["max"] = json!(1.0);
        spec["retrieval"]["statistics"] = json!({"alpha": 0.05, "seed": 7});
        *spec.pointer_mut(path).unwrap() = value;
        let mut w = world(spec);
        w.settle().stalls(Reason::InvalidSpec, word).stalls(Reason::InvalidSpec, "what serves is untouched");
        assert_eq!(w.jobs.len(), 0);
    }
}

#[test]
fn online_specs_that_break_a_rule_stall() {
    for (path, value, word) in [
        ("/report", json!({"claimName": "r"}), "belongs to a gate with `spec.retrieval`"),
        ("/online/interval", json!("500ms"), "between"),
        ("/online/interval", json!("6m"), "between"),
        ("/online/window", json!("0s"), "between"),
        ("/online/window", json!("x"), "no duration"),
        ("/online/objectives", json!([]), "1 to 8"),
        ("/online/objectives/1/name", json!("errors"), "second time"),
        ("/online/objectives/0/max", json!(1.0), "share"),
        ("/online/objectives/0/max", json!(-0.5), "share"),
        ("/online/objectives/1/threshold", json!("240ms"), "250ms 300ms"),
        ("/online/objectives/1/threshold", json!("1000ms"), "1s 2s 5s"),
        ("/online/objectives/1/threshold", Value::Null, "missing"),
        ("/online/objectives/1/signal", json!("ErrorRate"), "SlowRate only"),
    ] {
        let mut spec = live();
        spec["online"]["interval"] = json!("5s");
        spec["online"]["window"] = json!("5s");
        spec["report"] = Value::Null;
        *spec.pointer_mut(path).unwrap() = value;
        let mut w = world(spec);
        w.settle().stalls(Reason::InvalidSpec, word);
    }
    let both = json!({"retrieval": offline()["retrieval"], "online": live()["online"]});
    for spec in [both, json!({})] {
        world(spec).settle().stalls(Reason::InvalidSpec, "exactly one of `retrieval` and `online`");
    }
}

#[test]
fn a_wrong_spec_keeps_what_was_found_and_is_mended() {
    let mut w = checked();
    let mut wrong = offline();
    wrong["retrieval"]["metrics"][0]["name"] = json!("bleu");
    w.apply(wrong).stalls(Reason::InvalidSpec, "bleu");
    assert!(w.status().dataset.is_some());
    w.apply(offline()).usable("168");
    assert_eq!(w.jobs.len(), 0);
}

#[test]
fn a_gate_that_is_going_is_left_alone() {
    let mut w = checked();
    w.gate.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let plan = w.pass();
    assert_eq!((plan.actions.len(), plan.requeue), (0, None));
}
