//! The program in a Job: input from the environment, numbers into the receipt, no verdict.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use super::measure::{Answered, Identity, Measured, answers, leave_out, measured};
use super::plan::{Arm, Gate};
use super::progress::{Display, Progress};
use super::repeat;
use super::report::gather::{self, Found, Told};
use super::report::keep::{self, Place};
use super::show;
use super::stopped::{Cause, Stopped};
use crate::api::gate::{Baseline, Dataset as DatasetSpec, DatasetFormat};
use crate::evaluation::dataset::{Dataset, Files};
use crate::evaluation::slice::{clusters, distinct, slices};
use crate::evaluation::verdict::{Evidence, GateJudged, Judged, Reason, SliceRules, Verdict, judge};
use crate::worker::exit::Failure;
use crate::worker::job::{self, AskedOfDataset, CheckTask, EvaluateTask, Foreseen, JobInput, Task, paths};
use crate::worker::path;
use crate::worker::receipt::{Body, CheckReport, Counts, EvaluateReport, Kept, MAX_SLICES, clip, whole};

/// Longest advice: what a status takes, and what a receipt with the most slices has room for.
const MAX_ADVICE: usize = 512;
const MAX_ADVICE_BYTES: usize = 620;

/// Carries out the task of a Job.
pub fn carry_out(input: &JobInput) -> Result<Body, Failure> {
    match &input.task {
        Task::Check(task) => check(task, Path::new(paths::DATASET)),
        Task::Evaluate(task) => {
            let mounts = Mounts { dataset: Path::new(paths::DATASET), report: Path::new(paths::REPORT) };
            super::block_on(evaluate(task, &input.run, mounts))?
        }
        Task::Build(_) | Task::Verify(_) | Task::Prune(_) | Task::Probe(_) | Task::Serve(_) => Err(Failure::invalid(
            "InvalidSpec",
            "the job input is none for `rag evaluate`: task must be check or evaluate",
        )),
    }
}

fn check(task: &CheckTask, mount: &Path) -> Result<Body, Failure> {
    let gate = task.gate.as_ref().map(asked).transpose()?;
    let dataset = Dataset::read(&files(&task.dataset, mount)?).map_err(Stopped::from)?;
    Ok(Body::Check(match gate {
        Some(gate) => report(&dataset, Some(&gate))?,
        None => counted(&dataset, &task.slices, task.cluster_by.as_deref()),
    }))
}

fn asked(of: &AskedOfDataset) -> Result<Gate, Failure> {
    Gate::new(of.metrics.clone(), of.statistics.clone(), of.slices.clone(), None, of.baseline)
        .map_err(|text| Failure::invalid("InvalidSpec", text))
}

/// What a check reports, if the data set fits the gate.
pub fn report(dataset: &Dataset, gate: Option<&Gate>) -> Result<CheckReport, Stopped> {
    let Some(gate) = gate else { return Ok(counted(dataset, &[], None)) };
    gate.fits(dataset)?;
    let by = gate.judging.slices.as_ref().map(SliceRules::by).unwrap_or_default();
    let counted = counted(dataset, by, gate.judging.statistics.cluster_by.as_deref());
    let Foreseen { tested, advice } = gate.foreseen(dataset);
    Ok(CheckReport {
        tested: tested.map(whole),
        advice: advice.map(|advice| clip(&advice, MAX_ADVICE, MAX_ADVICE_BYTES)),
        ..counted
    })
}

/// `by`: keys of slices; `cluster_by`: key of clusters.
fn counted(dataset: &Dataset, by: &[String], cluster_by: Option<&str>) -> CheckReport {
    let mut slices: Vec<(String, i64)> =
        slices(dataset, by).into_iter().map(|slice| (slice.name, whole(slice.queries.len()))).collect();
    slices.sort_by_key(|(_, queries)| Reverse(*queries));
    slices.truncate(MAX_SLICES);
    CheckReport {
        digest: dataset.digest().to_owned(),
        queries: whole(dataset.judged_count()),
        judgments: whole(dataset.judgment_count()),
        clusters: cluster_by.map(|key| whole(distinct(&clusters(dataset, key)))),
        slices,
        tested: None,
        advice: None,
    }
}

/// Where the volumes of a run lie.
#[derive(Clone, Copy)]
struct Mounts<'a> {
    dataset: &'a Path,
    report: &'a Path,
}

async fn evaluate(task: &EvaluateTask, run: &str, mounts: Mounts<'_>) -> Result<Body, Failure> {
    let invalid = |text: String| Failure::invalid("InvalidSpec", text);
    let baseline = if task.baseline.is_some() { Baseline::Stable } else { Baseline::None };
    let gate = Gate::new(
        task.metrics.clone(),
        task.statistics.clone(),
        task.slices.clone(),
        task.earlier.max_cumulative_drop,
        baseline,
    )
    .map_err(invalid)?
    .counting(task.counting);
    let candidate = planned(&task.candidate).map_err(invalid)?;
    let baseline = task.baseline.as_ref().map(planned).transpose().map_err(invalid)?;
    let files = files(&task.dataset, mounts.dataset)?;
    let mut dataset = Dataset::read(&files).map_err(Stopped::from)?;
    if dataset.digest() != task.dataset_digest {
        let text = format!("The data set has digest {} where {} was planned.", dataset.digest(), task.dataset_digest);
        return Err(Stopped::new(Cause::InputsChanged, text).into());
    }
    let mut progress = Progress::new(Display::default());
    let asking = gate.asking(&dataset, baseline.is_some())?;
    let mut measure = async |name, (arm, identity): &(Arm, Identity)| -> Result<Answered, Stopped> {
        answers(name, arm, Some(identity), &dataset, asking, &mut progress).await
    };
    let from_candidate = measure("candidate", &candidate).await?;
    let from_baseline = match &baseline {
        Some(arm) => Some(measure("baseline", arm).await?),
        None => None,
    };
    leave_out(&mut dataset, gate.counting, &from_candidate, from_baseline.as_ref());
    let measured = measured(&dataset, &gate, job::run_inputs(task), &from_candidate, from_baseline.as_ref())?;
    let found =
        Found { dataset: &dataset, candidate: &from_candidate, baseline: from_baseline.as_ref(), measured: &measured };
    let kept = tell(task, run, mounts, &files, &gate, found);
    let comparison = &measured.comparison;
    let counts = Counts { unjudged: comparison.unjudged, without_relevant: comparison.without_relevant };
    let mut report = EvaluateReport::new(measured.inputs.clone(), counts, &measured.evidence());
    report.report = kept;
    Ok(Body::Evaluate(Box::new(report)))
}

/// For people: a table in the log, and the files that the gate asks for. The operator judges the receipt.
fn tell(
    task: &EvaluateTask,
    run: &str,
    mounts: Mounts<'_>,
    files: &Files,
    gate: &Gate,
    found: Found<'_>,
) -> Option<Kept> {
    let measured = found.measured;
    let judged = judged_as_the_operator_will(task, gate, measured);
    let mut told = Told {
        candidate: task.candidate.revision.clone(),
        baseline: task.baseline.as_ref().map(|arm| arm.revision.clone()).unwrap_or_default(),
        ..Told::default()
    };
    let Some(report) = &task.report else {
        eprintln!("{}", show::table(&gather::page(gate, Some(found), &judged, &told)));
        return None;
    };
    let kept = match Place::of(report, &task.candidate.revision, run) {
        Ok(place) => {
            let baseline = found.baseline.map(|_| place.run_file("baseline"));
            told.subject = format!("gate {}, release {}", report.gate, report.release);
            let (from, files) = (&task.dataset.from, (files, mounts.dataset));
            told.repeat = repeat::from_kept(report, from, files, &place.run_file("candidate"), baseline.as_deref());
            told.expose_text = report.expose_text;
            let page = gather::page(gate, Some(found), &judged, &told);
            eprintln!("{}", show::table(&page));
            keep::keep(mounts.report, &place, &page, gate, &found)
        }
        Err(problem) => Kept::lost(&problem),
    };
    match &kept {
        Kept::Written { uri, .. } => eprintln!("the report is kept at {uri}"),
        Kept::Lost { problem } => eprintln!("note: the report is not kept: {problem}"),
    }
    Some(kept)
}

/// The verdict that the operator will give, with what earlier runs have to do with it. Its numbers come through a receipt
/// and have six decimals there as here.
fn judged_as_the_operator_will(task: &EvaluateTask, gate: &Gate, measured: &Measured) -> GateJudged {
    let evidence = Evidence { promoted: task.earlier.promoted.clone(), ..measured.evidence() };
    let mut judged = judge(&gate.judging.criteria(), &evidence);
    let now = |name: &str| {
        let at = task.metrics.iter().position(|metric| metric.name == name)?;
        evidence.rows.get(at).map(|row| row.candidate)
    };
    let worse = job::worse_than_at_promotion(&task.metrics, &task.earlier.at_promotion, now);
    if let Some(told) = worse.filter(|_| judged.gate.verdict() == Verdict::Pass) {
        judged.gate = Judged { reason: Reason::WorseThanAtPromotion, sentence: told, required_queries: None };
    }
    judged
}

fn planned(arm: &job::Arm) -> Result<(Arm, Identity), String> {
    let url = arm.url.parse().map_err(|e| format!("arm `{}` is no URL: {e}", arm.url))?;
    let identity = Identity {
        revision: arm.revision.clone(),
        content_digest: arm.content_digest.clone(),
        fingerprint: arm.fingerprint.clone(),
    };
    Ok((Arm::Url(url), identity))
}

/// The files of a data set below its mount.
fn files(dataset: &DatasetSpec, mount: &Path) -> Result<Files, Failure> {
    let split = &dataset.split;
    match (&dataset.from.config_map, &dataset.from.volume) {
        (Some(_), None) => Ok(match dataset.format {
            DatasetFormat::Beir => Files::config_map(mount),
            DatasetFormat::Trec => Files::trec_config_map(mount),
            DatasetFormat::Jsonl => Files::jsonl_config_map(mount),
        }),
        (None, Some(volume)) => {
            let directory = mount.join(inside(&volume.path)?);
            Ok(match dataset.format {
                DatasetFormat::Beir => Files::beir(&directory, split),
                DatasetFormat::Trec => Files::trec(&directory, split),
                DatasetFormat::Jsonl => Files::jsonl(&directory, split),
            })
        }
        (Some(_), Some(_)) | (None, None) => Err(Failure::invalid(
            "InvalidSpec",
            "exactly one of dataset.from.configMap and dataset.from.volume must be set",
        )),
    }
}

fn inside(path: &str) -> Result<PathBuf, Failure> {
    path::below(path).ok_or_else(|| {
        let text = format!("dataset.from.volume.path `{path}` must be relative and without `..`");
        Failure::invalid("InvalidSpec", text)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Json;
    use axum::Router;
    use axum::routing::{get, post};
    use serde_json::{Value, json};

    use super::*;
    use crate::api::gate::Statistics;
    use crate::api::{ConfigMapSource, DataFrom, VolumeSource};
    use crate::worker::receipt::{Receipt, Refused};

    const QUERIES: usize = 150;

    /// The keys of a ConfigMap.
    fn mounted() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let query = |i: usize| {
            let metadata = json!({"part": if i.is_multiple_of(3) { "third" } else { "rest" }, "source": i / 2});
            format!("{}\n", json!({"_id": format!("q{i}"), "text": i.to_string(), "metadata": metadata}))
        };
        let queries: String = (0..QUERIES).map(query).collect();
        let qrels: String = (0..QUERIES).map(|i| format!("q{i}\td{i}\t1\n")).collect();
        std::fs::write(dir.path().join("queries.jsonl"), queries).unwrap();
        std::fs::write(dir.path().join("qrels.tsv"), format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
        dir
    }

    fn spec() -> DatasetSpec {
        let config_map = Some(ConfigMapSource { name: "d".to_owned(), keys: Vec::new() });
        DatasetSpec {
            from: DataFrom { config_map, volume: None },
            format: DatasetFormat::Beir,
            split: "test".to_owned(),
        }
    }

    /// An arm that finds the document of query i unless i is below `lost`; gives its plan and what it counted.
    async fn arm(revision: &'static str, lost: usize) -> (job::Arm, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let search = async move |Json(body): Json<Value>| {
            counted.fetch_add(1, Ordering::SeqCst);
            let number: usize = body["query"].as_str().unwrap().parse().unwrap();
            let document = if number < lost { "other".to_owned() } else { format!("d{number}") };
            Json(json!({"revision": revision, "results": [{"id": "c", "document": document, "score": 1.0}]}))
        };
        let served =
            json!({"revision": revision, "contentDigest": "c", "fingerprint": "f", "documents": 1, "chunks": 1});
        let router =
            Router::new().route("/v1/revision", get(async move || Json(served))).route("/v1/search", post(search));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let plan = job::Arm {
            url,
            revision: revision.to_owned(),
            content_digest: "c".to_owned(),
            fingerprint: "f".to_owned(),
        };
        (plan, asked)
    }

    fn task(mount: &Path, candidate: job::Arm, baseline: Option<job::Arm>) -> EvaluateTask {
        let metric = crate::worker::evaluate::plan::metric_flag("success@1:margin=0.05,floor=0.1").unwrap();
        let digest = Dataset::read(&Files::config_map(mount)).unwrap().digest().to_owned();
        EvaluateTask {
            dataset: spec(),
            dataset_digest: digest,
            metrics: vec![metric],
            statistics: Statistics::default(),
            slices: None,
            counting: job::Counting::default(),
            spec_digest: "s".to_owned(),
            candidate,
            baseline,
            earlier: job::Earlier::default(),
            report: None,
        }
    }

    fn on(dataset: &Path) -> Mounts<'_> {
        Mounts { dataset, report: Path::new("/nowhere") }
    }

    fn report_of(body: Body) -> EvaluateReport {
        match body {
            Body::Evaluate(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_run_leaves_numbers_that_the_operator_can_judge() {
        let mount = mounted();
        let (candidate, _) = arm("a", 60).await;
        let (baseline, _) = arm("b", 0).await;
        let task = task(mount.path(), candidate, Some(baseline));
        let report = report_of(evaluate(&task, "r1", on(mount.path())).await.unwrap());
        assert_eq!(report.inputs, job::run_inputs(&task));
        assert_eq!(report.n, [Some(150), Some(150), Some(150), Some(0), Some(0), None]);
        let row = report.evidence(true, Vec::new()).rows[0];
        assert_eq!((row.n, row.candidate, row.baseline), (150, 0.6, Some(1.0)));
        assert_eq!((row.difference, row.nonzero, row.min), (Some(-0.4), Some(60), Some(-1.0)));
        // What the operator does with it, after the receipt's way.
        let receipt = Receipt { v: 1, run: "r1".to_owned(), body: Body::Evaluate(Box::new(report)) };
        let line = receipt.to_line().unwrap();
        assert_eq!(Receipt::parse(&line, "r2"), Err(Refused::Foreign { found: "r1".into(), expected: "r2".into() }));
        let report = report_of(Receipt::parse(&line, "r1").unwrap().body);
        let judging = job::Judging::of(&task.metrics, &task.statistics, None, None).unwrap();
        let judged = judge(&judging.criteria(), &report.evidence(true, Vec::new()));
        assert_eq!(judged.gate.reason, Reason::RegressionProven);
        assert!(judged.gate.sentence.contains("success@1 changed by -0.4000"), "{}", judged.gate.sentence);
    }

    /// The command line and the operator, each in its own way, over the same two arms.
    #[tokio::test]
    async fn a_gate_file_gives_the_operators_verdict() {
        use crate::controller::release::plan::verdict::judged;
        let mount = mounted();
        let (baseline, _) = arm("b", 0).await;
        // Nothing lost, a little, as much as is allowed, far too much; with and without what else a gate may say.
        for lost in [0, 1, 6, 8, 60] {
            let (candidate, _) = arm("a", lost).await;
            for more in [
                "metrics: [{name: success@1, margin: 0.05}]",
                "metrics: [{name: success@1, margin: 0.02, floor: 0.99}]\n    statistics: {method: PairedT}",
                "metrics: [{name: ndcg@10, margin: 0.1}, {name: mrr, floor: 0.97, required: false}]\n    \
                 statistics: {alpha: 0.2, seed: 3}",
                "metrics: [{name: success@1, margin: 0.05}]\n    statistics: {clusterBy: source}\n    slices: {by: [part], \
                 minQueries: 30, worstGroupFloor: 0.9, required: [part=third]}",
                "metrics: [{name: success@1, margin: 0.5}]\n    maxCumulativeDrop: 0.05\n    missing: drop\n    \
                 ignoreIdenticalIds: true",
            ] {
                for compared in [true, false] {
                    let file = mount.path().join("gate.yaml");
                    let text = format!(
                        "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {{name: g}}\nspec:\n  retrieval:\n    \
                         dataset: {{from: {{configMap: {{name: d}}}}}}\n    {more}\n"
                    );
                    std::fs::write(&file, &text).unwrap();
                    let gate: crate::api::EvalGate = crate::yaml::read(&text).unwrap();
                    let retrieval = gate.spec.retrieval.unwrap();
                    // In the cluster: a Job, its receipt, the operator.
                    let mut task = reported(task(mount.path(), candidate.clone(), compared.then(|| baseline.clone())));
                    (task.metrics, task.statistics) = (retrieval.metrics.clone(), retrieval.statistics.clone());
                    (task.slices, task.counting) = (retrieval.slices.clone(), job::Counting::of(&retrieval));
                    task.earlier.max_cumulative_drop = retrieval.max_cumulative_drop;
                    let gate = Gate::read(&file).unwrap();
                    task.spec_digest = gate.spec_digest.clone();
                    let there = async |task: &EvaluateTask| {
                        let claim = tempfile::tempdir().unwrap();
                        let mounts = Mounts { dataset: mount.path(), report: claim.path() };
                        let body = evaluate(task, "r1", mounts).await.unwrap();
                        let line = Receipt { v: 1, run: "r1".to_owned(), body }.to_line().unwrap();
                        let report = report_of(Receipt::parse(&line, "r1").unwrap().body);
                        let promoted = task.earlier.promoted.clone();
                        let there = judged(&retrieval, &report, &job::run_inputs(task), compared, promoted).judged;
                        // And what the page on the claim says.
                        let Some(Kept::Written { uri, .. }) = &report.report else { panic!("{:?}", report.report) };
                        let html = claim.path().join(uri.strip_prefix("pvc://reports/").unwrap());
                        let html = std::fs::read_to_string(html).unwrap();
                        let said =
                            format!("<span>{}</span> <small>{}<", there.gate.verdict(), there.gate.reason.as_str());
                        assert!(html.contains(&said), "{lost} {more} {compared}: the page does not say {said}");
                        there
                    };
                    let alone = there(&task).await;
                    // On the command line: a file, two URLs.
                    let arm = |plan: &job::Arm| Arm::parse(&plan.url, None, &[], false).unwrap();
                    let order = super::super::command_line::MeasureOrder {
                        corpus: None,
                        write_run: false,
                        progress: crate::worker::evaluate::progress::Display::None,
                        files: Files::config_map(mount.path()),
                        gate,
                        candidate: arm(&candidate),
                        baseline: compared.then(|| arm(&baseline)),
                    };
                    let outcome = super::super::command_line::measure(&order).await;
                    let here = super::super::command_line::judgement(&order, &outcome);
                    assert_eq!(here, alone, "{lost} {more} {compared}");
                    // What earlier releases lost is known in the cluster only, and to the page.
                    if compared && retrieval.max_cumulative_drop.is_some() {
                        task.earlier.promoted = vec![-0.045];
                        let after = there(&task).await.gate.reason;
                        assert_eq!(after == Reason::CumulativeDrop, lost > 0, "{lost} {more}: {after:?}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_page_of_a_scheduled_run_says_what_became_worse_since_the_promotion() {
        let (mount, claim) = (mounted(), tempfile::tempdir().unwrap());
        let (candidate, _) = arm("a", 30).await;
        let mut task = reported(task(mount.path(), candidate, None));
        let mounts = Mounts { dataset: mount.path(), report: claim.path() };
        let page = async |task: &EvaluateTask, run: &str| {
            let report = report_of(evaluate(task, run, mounts).await.unwrap());
            let Some(Kept::Written { uri, .. }) = &report.report else { panic!("{:?}", report.report) };
            std::fs::read_to_string(claim.path().join(uri.strip_prefix("pvc://reports/").unwrap())).unwrap()
        };
        task.earlier.at_promotion = std::iter::once(("success@1".to_owned(), 0.85)).collect();
        assert!(page(&task, "r1").await.contains("<span>Pass</span>"), "a drop of 0.05 is allowed");
        task.earlier.at_promotion = std::iter::once(("success@1".to_owned(), 0.86)).collect();
        let html = page(&task, "r2").await;
        assert!(html.contains("<span>Fail</span> <small>WorseThanAtPromotion<"), "{html}");
        assert!(html.contains("success@1 was 0.8600 when the revision was promoted and is 0.8000 now"), "{html}");
    }

    fn reported(mut task: EvaluateTask) -> EvaluateTask {
        task.report = Some(job::ReportTask {
            claim_name: "reports".to_owned(),
            path: "rag".to_owned(),
            namespace: "team".to_owned(),
            release: "handbook".to_owned(),
            gate: "quality".to_owned(),
            expose_text: false,
        });
        task.candidate.revision = "a".to_owned();
        task
    }

    #[tokio::test]
    async fn a_report_is_kept_beside_what_repeats_it() {
        let (mount, claim) = (mounted(), tempfile::tempdir().unwrap());
        let (candidate, _) = arm("a", 60).await;
        let (baseline, _) = arm("b", 0).await;
        let mut task = reported(task(mount.path(), candidate, Some(baseline)));
        task.counting.ignore_identical_ids = true;
        let mounts = Mounts { dataset: mount.path(), report: claim.path() };
        let report = report_of(evaluate(&task, "r1", mounts).await.unwrap());
        let Some(Kept::Written { uri, sha256 }) = &report.report else { panic!("{:?}", report.report) };
        assert!(uri.starts_with("pvc://reports/rag/handbook/a-quality-") && uri.ends_with(".html"), "{uri}");
        let page = claim.path().join(uri.strip_prefix("pvc://reports/").unwrap());
        let html = std::fs::read(&page).unwrap();
        assert_eq!(*sha256, crate::hex::hex(&<sha2::Sha256 as sha2::Digest>::digest(&html)));
        let html = String::from_utf8(html).unwrap();
        assert!(html.contains("RegressionProven") && html.contains("gate quality, release handbook"));
        assert!(html.contains("Answers were read with ignoreIdenticalIds ("), "{html}");
        // The runs beside it give the same numbers again, on a laptop.
        let beside = |suffix: &str| page.with_extension("").display().to_string() + suffix;
        let arm = |suffix: &str| Arm::parse(&beside(suffix), None, &[], true).unwrap();
        let order = super::super::command_line::MeasureOrder {
            corpus: None,
            write_run: false,
            progress: crate::worker::evaluate::progress::Display::None,
            files: Files::config_map(mount.path()),
            gate: Gate::new(task.metrics.clone(), task.statistics.clone(), None, None, Baseline::Stable).unwrap(),
            candidate: arm(".candidate.run"),
            baseline: Some(arm(".baseline.run")),
        };
        let again = super::super::command_line::measure(&order).await.unwrap_or_else(|e| panic!("{e}")).measured;
        let first = report.evidence(true, Vec::new()).rows[0];
        let row = again.comparison.rows[0];
        assert_eq!(
            (row.candidate, row.baseline, row.lower, row.upper),
            (first.candidate, first.baseline, first.lower, first.upper)
        );
        let rows = std::fs::read_to_string(beside(".jsonl")).unwrap();
        assert_eq!(rows.lines().count(), 300);
        // The same run again writes the same bytes.
        let second = report_of(evaluate(&task, "r1", mounts).await.unwrap());
        assert_eq!(second, report);
    }

    #[tokio::test]
    async fn a_report_that_cannot_be_kept_changes_no_number() {
        let mount = mounted();
        let (candidate, _) = arm("a", 60).await;
        let without = task(mount.path(), candidate, None);
        let with = reported(without.clone());
        let plain = report_of(evaluate(&without, "r1", on(mount.path())).await.unwrap());
        // Its place is a file, as a claim that is full or read-only is no place either.
        let blocked = mount.path().join("queries.jsonl");
        let mounts = Mounts { dataset: mount.path(), report: &blocked };
        let report = report_of(evaluate(&with, "r1", mounts).await.unwrap());
        let Some(Kept::Lost { problem }) = &report.report else { panic!("{:?}", report.report) };
        assert!(problem.contains("claim reports"), "{problem}");
        assert_eq!(EvaluateReport { report: None, ..report }, plain);
        let odd = EvaluateTask {
            report: with.report.map(|report| job::ReportTask { gate: "../x".to_owned(), ..report }),
            ..without
        };
        let report = report_of(evaluate(&odd, "r1", on(mount.path())).await.unwrap());
        assert!(matches!(report.report, Some(Kept::Lost { .. })));
    }

    #[tokio::test]
    async fn a_first_release_has_no_baseline() {
        let mount = mounted();
        let (candidate, _) = arm("a", 0).await;
        let report = report_of(evaluate(&task(mount.path(), candidate, None), "r1", on(mount.path())).await.unwrap());
        assert_eq!(report.n, [Some(150), Some(150), None, Some(0), Some(0), None]);
        let row = report.evidence(false, Vec::new()).rows[0];
        assert_eq!((row.candidate, row.baseline, row.lower), (1.0, None, None));
    }

    #[tokio::test]
    async fn an_arm_or_a_data_set_that_is_not_the_planned_one_ends_the_run_before_a_question() {
        let mount = mounted();
        let (candidate, asked) = arm("a", 0).await;
        for change in ["revision", "digest", "fingerprint", "dataset"] {
            let mut task = task(mount.path(), candidate.clone(), None);
            match change {
                "revision" => task.candidate.revision = "z".to_owned(),
                "digest" => task.candidate.content_digest = "z".to_owned(),
                "fingerprint" => task.candidate.fingerprint = "z".to_owned(),
                _ => task.dataset_digest = "z".to_owned(),
            }
            match evaluate(&task, "r1", on(mount.path())).await.unwrap_err() {
                Failure::Invalid { reason, text } => {
                    assert_eq!(reason, "InputsChanged");
                    assert!(text.contains("z was planned"), "{text}");
                }
                other => panic!("{change}: {other:?}"),
            }
        }
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_check_reports_digest_and_counts_and_refuses_with_file_and_line() {
        let mount = mounted();
        let task = CheckTask { dataset: spec(), gate: None, slices: Vec::new(), cluster_by: None };
        let Ok(Body::Check(found)) = check(&task, mount.path()) else { panic!("no check") };
        assert_eq!((found.queries, found.judgments, found.digest.len()), (150, 150, 64));
        std::fs::write(mount.path().join("qrels.tsv"), "q1\td\t1\n").unwrap();
        let failure = check(&task, mount.path()).unwrap_err();
        assert_eq!(failure.code(), 42);
        assert!(failure.to_string().contains("qrels.tsv:1: found a judgment"), "{failure}");
    }

    /// Of a gate as users write it.
    fn check_of(retrieval: &str) -> CheckTask {
        let text = format!("dataset: {{from: {{configMap: {{name: d}}}}}}\n{retrieval}");
        let gate: crate::api::gate::RetrievalGate = crate::yaml::read(&text).unwrap();
        CheckTask { dataset: spec(), gate: Some(AskedOfDataset::of(&gate)), slices: Vec::new(), cluster_by: None }
    }

    #[test]
    fn a_check_looks_at_what_the_metrics_read() {
        let mount = mounted();
        let task = check_of("metrics: [{name: mrr, margin: 0.05}, {name: taskRecall@10, floor: 0.5}]");
        let failure = check(&task, mount.path()).unwrap_err();
        assert!(matches!(&failure, Failure::Invalid { reason, .. } if reason == "DatasetInvalid"), "{failure:?}");
        assert!(failure.to_string().contains("taskRecall@10 counts nuggets, and the data set has none"), "{failure}");
        let nugget = r#"{"query_id":"q1","nugget_id":"a","doc_ids":["d1"]}"#;
        std::fs::write(mount.path().join("nuggets.jsonl"), nugget).unwrap();
        check(&task, mount.path()).unwrap();
    }

    #[test]
    fn a_check_looks_at_what_queries_are_grouped_by() {
        let mount = mounted();
        let told = |gate: &str| {
            let failure = check(&check_of(&format!("metrics: [{{name: mrr, margin: 0.05}}]\n{gate}")), mount.path());
            failure.map(|_| ()).map_err(|failure| (failure.code(), failure.to_string()))
        };
        assert_eq!(told("slices: {by: [part], required: [part=third]}\nstatistics: {clusterBy: source}"), Ok(()));
        for (gate, expected) in [
            ("slices: {by: [part, prat]}", "slices.by names `prat`"),
            ("slices: {by: [part], required: [part=second]}", "the values there are: `rest`, `third`"),
            ("statistics: {clusterBy: souce}", "the keys there are: `part`, `source`"),
        ] {
            let (code, text) = told(gate).unwrap_err();
            assert!(code == 42 && text.contains(expected), "{gate}: {code} {text}");
        }
    }

    #[test]
    fn a_check_foresees_what_is_too_small_by_what_enters_the_test() {
        let mount = mounted();
        let grade = |i: usize| usize::from(i >= 10);
        let qrels: String = (0..QUERIES).map(|i| format!("q{i}\td{i}\t{}\n", grade(i))).collect();
        std::fs::write(mount.path().join("qrels.tsv"), format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
        let foreseen = |gate: &str| {
            let Body::Check(found) = check(&check_of(gate), mount.path()).unwrap() else { panic!("no check") };
            (found.queries, found.tested, found.advice)
        };
        let metrics = "metrics: [{name: mrr, margin: 0.02}, {name: map, floor: 0.1}]";
        let (queries, tested, advice) = foreseen(metrics);
        assert_eq!((queries, tested), (150, Some(140)));
        let advice = advice.unwrap();
        assert!(advice.starts_with("140 queries with a relevant document (of 150 queries, for mrr) can"), "{advice}");
        assert!(advice.ends_with("or add 9 such queries"), "{advice}");
        // Two queries a cluster.
        assert_eq!(foreseen(&format!("{metrics}\nstatistics: {{clusterBy: source}}")).1, Some(70));
        let slices = "slices: {by: [part], minQueries: 100, required: [part=third]}";
        let (_, _, advice) = foreseen(&format!("metrics: [{{name: mrr, margin: 0.05}}]\n{slices}"));
        assert_eq!(
            advice.unwrap(),
            "no slice has the 100 queries of slices.minQueries, the largest that counts is part=rest with 94, so that only \
             required slices are looked at; add queries or lower minQueries; required slice part=third has 46 queries with a \
             relevant document (of 50 queries, for mrr), its margin of 0.05 needs 59"
        );
        // Margins that decide nothing need no queries.
        assert_eq!(foreseen(&format!("{metrics}\nbaseline: None")), (150, Some(140), None));
        assert_eq!(foreseen("metrics: [{name: mrr, margin: 0.02, required: false}]"), (150, None, None));
        let zeros = qrels.replace("\t1\n", "\t0\n");
        std::fs::write(mount.path().join("qrels.tsv"), format!("query-id\tcorpus-id\tscore\n{zeros}")).unwrap();
        let failure = check(&check_of(metrics), mount.path()).unwrap_err();
        assert_eq!(failure.code(), 42);
        assert!(failure.to_string().contains("mrr cannot tell two answers apart: no judged query has"), "{failure}");
    }

    #[test]
    fn the_largest_check_fits_into_a_receipt() {
        for c in ["a", "\"", "é", "🌍"] {
            let report = CheckReport {
                digest: "d".repeat(64),
                queries: 9_999_999,
                judgments: 9_999_999,
                clusters: Some(9_999_999),
                slices: vec![(crate::evaluation::slice::short_name(&c.repeat(300)), 9_999_999); MAX_SLICES],
                tested: Some(9_999_999),
                advice: Some(clip(&c.repeat(5_000), MAX_ADVICE, MAX_ADVICE_BYTES)),
            };
            Receipt { v: 1, run: "r".repeat(72), body: Body::Check(report) }.to_line().unwrap();
        }
    }

    #[test]
    fn the_check_of_an_earlier_operator_counts_what_it_names() {
        let text = r#"{"dataset":{"from":{"configMap":{"name":"d"}}},"slices":["part"],"clusterBy":"source"}"#;
        let task: CheckTask = serde_json::from_str(text).unwrap();
        let Body::Check(found) = check(&task, mounted().path()).unwrap() else { panic!("no check") };
        assert_eq!((found.clusters, found.slices[0].clone()), (Some(75), ("part=rest".to_owned(), 100)));
    }

    #[test]
    fn a_volume_is_read_inside_its_mount_only() {
        let volume = |path: &str| {
            let volume = Some(VolumeSource { claim_name: "c".to_owned(), path: path.to_owned() });
            files(&DatasetSpec { from: DataFrom { config_map: None, volume }, ..spec() }, Path::new("/dataset"))
        };
        let found = volume("handbook").unwrap();
        assert_eq!(found.queries.unwrap(), Path::new("/dataset/handbook/queries.jsonl"));
        assert_eq!(found.qrels, Path::new("/dataset/handbook/qrels/test.tsv"));
        assert_eq!(volume("").unwrap().queries.unwrap(), Path::new("/dataset/queries.jsonl"));
        for path in ["../x", "/etc", "a/../../b"] {
            assert_eq!(volume(path).unwrap_err().code(), 42, "{path}");
        }
        let neither = DatasetSpec { from: DataFrom::default(), ..spec() };
        assert!(files(&neither, Path::new("/dataset")).is_err());
    }

    #[test]
    fn another_programs_input_is_refused() {
        let input = JobInput {
            v: 1,
            run: "r".to_owned(),
            task: Task::Prune(job::PruneTask { owner_uid: "u".to_owned(), physical: Vec::new() }),
        };
        assert_eq!(carry_out(&input).unwrap_err().code(), 42);
    }

    /// Claim and path at their longest, names of 40 characters: what the largest receipt keeps room for.
    #[test]
    fn the_report_takes_no_more_of_a_receipt_than_is_kept_for_it() {
        let task = job::ReportTask {
            claim_name: "c".repeat(63),
            path: "p".repeat(63),
            namespace: "n".repeat(63),
            release: "r".repeat(40),
            gate: "g".repeat(40),
            expose_text: true,
        };
        let place = Place::of(&task, &"a".repeat(10), &"r".repeat(72)).unwrap();
        let kept = Kept::Written { uri: place.uri(), sha256: "f".repeat(64) };
        let Kept::Written { uri, .. } = &kept else { panic!("written") };
        assert!(uri.len() <= 255, "{}", uri.len());
        let line = |kept: &Kept| {
            let body = Body::Error(crate::worker::receipt::ErrorReport {
                reason: String::new(),
                error: serde_json::to_string(kept).unwrap(),
            });
            Receipt { v: 1, run: String::new(), body }.to_line().unwrap()
        };
        let empty = line(&Kept::lost("")).len();
        let bytes = |kept: &Kept| serde_json::to_string(kept).unwrap().len() + "\"report\":,".len();
        assert!(bytes(&kept) <= 351, "{}", bytes(&kept));
        for c in ['a', '"', 'é', '🌍'] {
            let lost = Kept::lost(&c.to_string().repeat(999));
            assert!(line(&lost).len() - empty <= 700, "{c}");
        }
    }
}
