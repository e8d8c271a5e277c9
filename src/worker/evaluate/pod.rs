//! The program in a Job: input from the environment, numbers into the receipt, no verdict.

use std::path::{Component, Path, PathBuf};

use super::measure::{Answered, Identity, answers, measured};
use super::plan::{Arm, Gate};
use super::progress::Progress;
use super::stopped::{Cause, Stopped};
use crate::api::gate::{Baseline, Dataset as DatasetSpec, DatasetFormat};
use crate::evaluation::dataset::{Dataset, Files};
use crate::evaluation::verdict::judge;
use crate::worker::exit::Failure;
use crate::worker::job::{self, CheckTask, EvaluateTask, JobInput, Task, paths};
use crate::worker::receipt::{Body, CheckReport, EvaluateReport, MetricRow};

/// Carries out the task of a Job.
pub fn carry_out(input: &JobInput) -> Result<Body, Failure> {
    match &input.task {
        Task::Check(task) => check(task, Path::new(paths::DATASET)),
        Task::Evaluate(task) => super::block_on(evaluate(task, Path::new(paths::DATASET)))?,
        Task::Build(_) | Task::Verify(_) | Task::Prune(_) | Task::Probe(_) | Task::Serve(_) => Err(Failure::invalid(
            "InvalidSpec",
            "the job input is none for `rag evaluate`: task must be check or evaluate",
        )),
    }
}

fn check(task: &CheckTask, mount: &Path) -> Result<Body, Failure> {
    let dataset = Dataset::read(&files(&task.dataset, mount)?).map_err(Stopped::from)?;
    Ok(Body::Check(report(&dataset)))
}

/// What a check reports.
pub fn report(dataset: &Dataset) -> CheckReport {
    CheckReport {
        digest: dataset.digest().to_owned(),
        queries: count(dataset.judged_count()),
        judgments: count(dataset.judgment_count()),
    }
}

async fn evaluate(task: &EvaluateTask, mount: &Path) -> Result<Body, Failure> {
    let invalid = |text: String| Failure::invalid("InvalidSpec", text);
    let baseline = if task.baseline.is_some() { Baseline::Stable } else { Baseline::None };
    let gate = Gate::new(task.metrics.clone(), task.statistics.clone(), baseline).map_err(invalid)?;
    let candidate = planned(&task.candidate).map_err(invalid)?;
    let baseline = task.baseline.as_ref().map(planned).transpose().map_err(invalid)?;
    let dataset = Dataset::read(&files(&task.dataset, mount)?).map_err(Stopped::from)?;
    if dataset.digest() != task.dataset_digest {
        let text = format!("The data set has digest {} where {} was planned.", dataset.digest(), task.dataset_digest);
        return Err(Stopped::new(Cause::InputsChanged, text).into());
    }
    let mut progress = Progress::new();
    let mut measure = async |name, (arm, identity): &(Arm, Identity)| -> Result<Answered, Stopped> {
        answers(name, arm, Some(identity), &dataset, gate.depth(), &mut progress).await
    };
    let from_candidate = measure("candidate", &candidate).await?;
    let from_baseline = match &baseline {
        Some(arm) => Some(measure("baseline", arm).await?),
        None => None,
    };
    let run = measured(&dataset, &gate, job::run_inputs(task), &from_candidate, from_baseline.as_ref());
    // For people who read the log; the operator judges the receipt.
    let judged = judge(&run.coverage, &gate.rules, &run.comparison.rows, &gate.judging);
    eprintln!("{}", super::show::table(&gate, Some(&run), &judged));
    Ok(Body::Evaluate(EvaluateReport {
        inputs: run.inputs,
        n: [
            i64::try_from(run.coverage.queries).ok(),
            i64::try_from(run.coverage.candidate).ok(),
            run.coverage.baseline.and_then(|n| i64::try_from(n).ok()),
            Some(count(run.comparison.unjudged)),
            Some(count(run.comparison.without_relevant)),
        ],
        metrics: run.comparison.rows.iter().map(MetricRow::from).collect(),
    }))
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
    let DatasetFormat::Beir = dataset.format;
    match (&dataset.from.config_map, &dataset.from.volume) {
        (Some(_), None) => Ok(Files::config_map(mount)),
        (None, Some(volume)) => Ok(Files::beir(&mount.join(inside(&volume.path)?), &dataset.split)),
        (Some(_), Some(_)) | (None, None) => Err(Failure::invalid(
            "InvalidSpec",
            "exactly one of dataset.from.configMap and dataset.from.volume must be set",
        )),
    }
}

fn inside(path: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(path);
    if path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Ok(path);
    }
    let text = format!("dataset.from.volume.path `{}` must be relative and without `..`", path.display());
    Err(Failure::invalid("InvalidSpec", text))
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
