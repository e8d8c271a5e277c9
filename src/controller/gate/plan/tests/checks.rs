//! Retrieval gates: the data set is read in full before a gate is usable.

use super::*;

#[test]
fn a_data_set_is_read_in_full_before_the_gate_is_usable() {
    let mut w = world(offline());
    w.settle().waits(Reason::Progressing, "being read in full");
    assert_eq!((w.running(), w.last.requeue), (1, Some(SOON)));
    w.read("d1", 168).usable("168 queries with 336 judgments");
    let dataset = w.status().dataset.clone().unwrap();
    assert_eq!((dataset.digest.as_str(), dataset.queries, dataset.judgments), ("d1", 168, 336));
    assert_eq!(dataset.spec_digest, crate::worker::job::spec_digest(&w.gate.spec));
    assert_eq!(dataset.checked_at, text_of(1_000_005));
    assert_eq!(w.status().kind.as_deref(), Some("retrieval"));
    assert_eq!(w.status().observed_generation, 1);
    w.jobs_expire().later(100_000).usable("ndcg@10");
    assert_eq!((w.jobs.len(), w.last.requeue), (0, None));
}

#[test]
fn the_job_reads_what_the_spec_names() {
    let mut spec = offline();
    spec["timeout"] = json!("10m");
    spec["retrieval"]["dataset"]["split"] = json!("dev");
    let mut w = world(spec);
    w.settle();
    let job = w.jobs.values().next().unwrap();
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 600);
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["metadata"]["labels"][names::LABEL_PURPOSE], "check");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["evaluate"]));
    assert!(
        container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|m| m["mountPath"] == "/dataset" && m["readOnly"] == true)
    );
    let input: Value = serde_json::from_str(container["env"][0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(input["task"]["check"]["dataset"]["split"], "dev");
    let gate = &input["task"]["check"]["gate"];
    assert_eq!((&gate["metrics"][0]["name"], &gate["metrics"][1]["margin"]), (&json!("ndcg@10"), &json!(0.02)));
    assert_eq!(gate["baseline"], "Stable");
    assert_eq!(input["run"], job["metadata"]["name"]);
}

#[test]
fn what_a_check_foresees_is_told_at_once() {
    let check = |queries: i64, clusters: Option<i64>, tested: Option<i64>, advice: Option<&str>| {
        let receipt = json!({"kind": "check", "digest": "d", "queries": queries, "judgments": queries, "clusters": clusters,
            "slices": [], "tested": tested, "advice": advice});
        let mut w = world(offline());
        w.settle().end("Complete", 0, &receipt).settle().usable(advice.unwrap_or("recall@10"));
        assert_eq!(w.status().advice.as_deref(), advice);
        let margin = w.status().certifiable_margin;
        // It stays when the Job is gone.
        w.jobs_expire().later(100_000).usable(advice.unwrap_or("recall@10"));
        assert_eq!((w.status().certifiable_margin, w.status().advice.as_deref()), (margin, advice));
        margin
    };
    assert_eq!(check(168, None, Some(168), None), Some(0.0177));
    // Of what cannot differ nothing is certified: what enters the test is counted, of the metric that has least of it.
    assert_eq!(check(168, None, Some(148), Some("148 queries can certify")), Some(0.0201));
    assert_eq!(check(168, Some(70), Some(60), Some("60 clusters can certify")), Some(0.0488));
    // No metric has a margin, or the Job is of an earlier version.
    assert_eq!(check(168, Some(60), None, None), Some(0.0488));
    assert_eq!(check(149, None, None, None), Some(0.02));
    assert_eq!(check(9, None, Some(0), None), Some(1.0));
}

#[test]
fn slices_and_clusters_are_counted() {
    let mut spec = offline();
    spec["retrieval"]["slices"] = json!({"by": ["domain"], "required": ["domain=legal", "domain=it"]});
    spec["retrieval"]["statistics"] = json!({"clusterBy": "source"});
    let mut w = world(spec.clone());
    w.settle();
    let job = w.jobs.values().next().unwrap().to_string();
    assert!(job.contains(r#"\"clusterBy\":\"source\"},\"slices\":{\"by\":[\"domain\"]"#), "{job}");
    let receipt = json!({"kind": "check", "digest": "d", "queries": 500, "judgments": 900, "clusters": 148,
        "slices": [["domain=tax", 352], ["domain=legal", 148]]});
    w.end("Complete", 0, &receipt).settle().usable("");
    let status = w.status().clone();
    assert_eq!(status.certifiable_margin, Some(0.0201));
    let dataset = status.dataset.unwrap();
    assert_eq!(dataset.clusters, Some(148));
    assert_eq!((dataset.slices[1].name.as_str(), dataset.slices[1].queries), ("domain=legal", 148));
    // What does not fit together is said with its field.
    spec["retrieval"]["slices"]["required"] = json!(["legal"]);
    world(spec).settle().stalls(Reason::InvalidSpec, "`spec.retrieval.slices` is wrong: required: `legal` is no slice");
    let mut spec = offline();
    spec["retrieval"]["maxCumulativeDrop"] = json!(0.0);
    world(spec).settle().stalls(Reason::InvalidSpec, "`spec.retrieval.maxCumulativeDrop` is wrong");
    let mut spec = offline();
    spec["retrieval"]["metrics"][0]["relativeMargin"] = json!(0.1);
    world(spec).settle().stalls(Reason::InvalidSpec, "margin and relativeMargin exclude each other");
}

#[test]
fn a_data_set_that_is_wrong_stalls_with_file_and_line() {
    let mut w = world(offline());
    w.settle()
        .fails(42, "DatasetInvalid", "qrels/test.tsv:7: grade `x` is no number")
        .stalls(Reason::DatasetInvalid, "test.tsv:7");
    w.stalls(Reason::DatasetInvalid, "delete Job");
    assert_eq!(w.status().dataset, None);
    let job = w.jobs.values().next().unwrap();
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86_400);
    w.later(3_600).stalls(Reason::DatasetInvalid, "test.tsv:7");
    assert_eq!(w.running(), 0);
    // Corrected, and the Job deleted.
    w.jobs_expire();
    assert_eq!(w.running(), 1);
    w.read("d2", 168).usable("168");
}

#[test]
fn words_of_a_failed_check() {
    for (exit, told, reason, stalls) in [
        (42, "DatasetInvalid", Reason::DatasetInvalid, true),
        (42, "InvalidSpec", Reason::InvalidSpec, true),
        (42, "Unheard", Reason::DatasetInvalid, true),
        (43, "SourceUnavailable", Reason::SourceUnavailable, false),
        (43, "Unheard", Reason::SourceUnavailable, false),
        (137, "JobFailed", Reason::JobFailed, false),
    ] {
        let mut w = world(offline());
        w.settle().fails(exit, told, "queries.jsonl cannot be read");
        match stalls {
            true => w.stalls(reason, "cannot be read"),
            false => w.waits(reason, "cannot be read"),
        };
        w.says("False", reason, "Releases that name this gate wait");
    }
}

#[test]
fn a_source_that_cannot_be_reached_is_read_again() {
    let mut w = world(offline());
    w.settle()
        .fails(43, "SourceUnavailable", "the volume does not answer")
        .waits(Reason::SourceUnavailable, "every minute");
    assert_eq!(w.last.requeue, Some(RETRY));
    w.later(59);
    assert_eq!((w.running(), w.last.requeue), (0, Some(Duration::from_secs(1))));
    w.later(1).waits(Reason::SourceUnavailable, "does not answer");
    assert_eq!(w.running(), 1);
    w.read("d", 168).usable("168");
}

#[test]
fn receipts_that_do_not_count() {
    for (condition, exit, receipt, word) in [
        ("Failed", 137, Value::Null, "exit code 137"),
        ("Complete", 0, Value::Null, "left no receipt"),
        ("Complete", 0, json!({"kind": "prune", "deleted": 0, "missing": 0, "foreign": []}), "another kind"),
        ("Complete", 0, json!({"kind": "check", "digest": "d"}), "does not count"),
    ] {
        let mut w = world(offline());
        w.settle().end(condition, exit, &receipt).settle().waits(Reason::JobFailed, word);
        assert_eq!(w.status().dataset, None);
        w.later(60);
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn data_that_is_missing_is_named_and_waited_for() {
    let map = json!({"retrieval": {"dataset": {"from": {"configMap": {"name": "questions"}}}, "metrics": [{"name": "map", "floor": 0.1}]}});
    for (spec, word) in [(offline(), "PersistentVolumeClaim `corpus`"), (map, "ConfigMap `questions`")] {
        let mut w = world(spec);
        w.data = false;
        w.settle().waits(Reason::RefNotFound, word);
        assert_eq!((w.jobs.len(), w.last.requeue), (0, Some(LATER)));
        w.data = true;
        w.settle().waits(Reason::Progressing, "");
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn data_that_goes_after_the_check_leaves_the_gate_usable() {
    let mut w = checked();
    w.data = false;
    w.settle().usable("168");
}

#[test]
fn pods_of_a_check_that_cannot_start_are_told() {
    for (status, reason, word) in [
        (waiting("ErrImagePull", "not found"), Reason::ImagePullFailed, "rag:1"),
        (waiting("InvalidImageName", "x"), Reason::ImagePullFailed, "cannot be pulled"),
        (waiting("CreateContainerConfigError", "no such key"), Reason::PodConfigError, "no such key"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            Reason::PodUnschedulable,
            "0/1 nodes",
        ),
        (waiting("ContainerCreating", ""), Reason::Progressing, "being read"),
    ] {
        let mut w = world(offline());
        w.settle().pod(status).waits(reason, word);
        assert_eq!(w.last.requeue, Some(SOON));
        w.read("d", 168).usable("168");
    }
    let mut w = world(offline());
    w.settle()
        .pod(waiting("ContainerCreating", ""))
        .later(31)
        .waits(Reason::PodConfigError, "PersistentVolumeClaim `corpus`");
}

#[test]
fn a_kubelet_may_say_as_much_as_it_likes() {
    let mut w = world(offline());
    let status = waiting("ErrImagePull", &"x".repeat(9_000));
    w.settle().pod(status).waits(Reason::ImagePullFailed, "load the image onto the node");
}

#[test]
fn a_changed_spec_is_checked_again() {
    let mut other_margin = offline();
    other_margin["retrieval"]["metrics"][0]["margin"] = json!(0.04);
    let mut other_path = offline();
    other_path["retrieval"]["dataset"]["from"]["volume"]["path"] = json!("elsewhere");
    let mut other_split = offline();
    other_split["retrieval"]["dataset"]["split"] = json!("dev");
    for spec in [other_margin, other_path, other_split] {
        let mut w = checked();
        assert!(w.status().advice.is_some());
        w.apply(spec).waits(Reason::Progressing, "being read");
        assert_eq!(w.running(), 1);
        let status = w.status();
        assert_eq!(
            (status.certifiable_margin, &status.advice),
            (None, &None),
            "the numbers of another spec say nothing"
        );
        w.read("d2", 500).usable("500");
    }
}

#[test]
fn what_decides_no_measurement_is_not_checked_again() {
    let mut w = checked();
    let mut spec = offline();
    spec["timeout"] = json!("5m");
    spec["retries"] = json!(0);
    w.apply(spec).usable("168");
    assert_eq!(w.jobs.len(), 0);
}

#[test]
fn a_second_change_ends_the_first_check() {
    let mut w = world(offline());
    let mut second = offline();
    second["retrieval"]["dataset"]["split"] = json!("dev");
    w.settle().apply(second);
    assert_eq!((w.jobs.len(), w.running()), (1, 1));
}

#[test]
fn a_job_of_somebody_else_is_not_touched() {
    let mut w = world(offline());
    let name = render::check_name(&w.gate);
    w.jobs.insert(name.clone(), json!({"metadata": {"name": name, "uid": "x"}, "spec": {"template": {}}}));
    w.settle().stalls(Reason::NotOwned, &name);
    assert_eq!(w.jobs.len(), 1);
}

#[test]
fn a_lost_status_is_checked_anew() {
    let mut w = checked();
    w.gate.status = None;
    w.settle().waits(Reason::Progressing, "");
    assert_eq!(w.running(), 1);
}
