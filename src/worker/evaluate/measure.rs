//! One run: read the data set, ask or read both arms, compute the numbers.

use super::arm::{Searcher, Served, ask};
use super::directory::DirectorySearcher;
use super::http::HttpSearcher;
use super::plan::{Arm, Gate};
use super::progress::Progress;
use super::stopped::{Cause, Stopped};
use crate::api::{DataFrom, gate as api};
use crate::evaluation::compare::{Comparison, compare};
use crate::evaluation::dataset::{Dataset, hex};
use crate::evaluation::run::Run;
use crate::evaluation::verdict::Coverage;
use crate::worker::job::{self, EvaluateTask};

/// What an arm answered, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub identity: Identity,
    pub run: Run,
    /// Judged queries that were answered.
    pub answered: usize,
}

/// What an arm is: enters the digest of the inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub revision: String,
    pub content_digest: String,
    pub fingerprint: String,
}

impl From<&Served> for Identity {
    fn from(served: &Served) -> Self {
        Self {
            revision: served.revision.clone(),
            content_digest: served.content_digest.clone(),
            fingerprint: served.fingerprint.clone(),
        }
    }
}

/// Asks or reads one arm. `expected`: what it must be.
pub async fn answers(
    name: &str,
    arm: &Arm,
    expected: Option<&Identity>,
    dataset: &Dataset,
    depth: usize,
    progress: &mut Progress,
) -> Result<Answered, Stopped> {
    match arm {
        Arm::Url(url) => {
            let searcher = HttpSearcher::connect(url).await?;
            asked(name, &searcher, expected, dataset, depth, progress).await
        }
        Arm::Directory(directory) => {
            let searcher = DirectorySearcher::open(directory)?;
            asked(name, &searcher, expected, dataset, depth, progress).await
        }
        Arm::Run(file) => {
            let (run, digest) = Run::read(file)?;
            // A query without a line found nothing: that is an answer.
            let identity =
                Identity { revision: "run".to_owned(), content_digest: hex(&digest), fingerprint: String::new() };
            Ok(Answered { identity, run, answered: dataset.judged_count() })
        }
    }
}

/// Asks a searcher, after a look at what it serves.
pub async fn asked(
    name: &str,
    searcher: &dyn Searcher,
    expected: Option<&Identity>,
    dataset: &Dataset,
    depth: usize,
    progress: &mut Progress,
) -> Result<Answered, Stopped> {
    let identity = Identity::from(searcher.served());
    if let Some(expected) = expected.filter(|e| **e != identity) {
        return Err(changed(name, expected, &identity));
    }
    let answers = ask(searcher, name, dataset, depth, progress).await?;
    Ok(Answered { identity, run: answers.run, answered: answers.answered })
}

fn changed(name: &str, expected: &Identity, found: &Identity) -> Stopped {
    let parts = [
        ("revision", &expected.revision, &found.revision),
        ("content digest", &expected.content_digest, &found.content_digest),
        ("fingerprint", &expected.fingerprint, &found.fingerprint),
    ];
    let differing: Vec<String> = parts
        .iter()
        .filter(|(_, planned, served)| planned != served)
        .map(|(what, planned, served)| format!("{what} {served} where {planned} was planned"))
        .collect();
    Stopped::new(Cause::InputsChanged, format!("The {name} serves {}.", differing.join(", ")))
}

/// A finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub inputs: String,
    pub coverage: Coverage,
    pub comparison: Comparison,
}

/// Computes the numbers. `spec_digest`: digest of the gate's spec.
pub fn measured(
    dataset: &Dataset,
    gate: &Gate,
    inputs: String,
    candidate: &Answered,
    baseline: Option<&Answered>,
) -> Measured {
    let comparison = compare(dataset, &gate.rules, &gate.judging, &inputs, &candidate.run, baseline.map(|b| &b.run));
    let coverage = Coverage {
        queries: dataset.judged_count() as u64,
        candidate: candidate.answered as u64,
        baseline: baseline.map(|b| b.answered as u64),
    };
    Measured { inputs, coverage, comparison }
}

/// The digest of what a run on the command line saw: the same form as in a Job.
pub fn inputs(dataset: &Dataset, gate: &Gate, candidate: &Identity, baseline: Option<&Identity>) -> String {
    let arm = |identity: &Identity| job::Arm {
        url: String::new(),
        revision: identity.revision.clone(),
        content_digest: identity.content_digest.clone(),
        fingerprint: identity.fingerprint.clone(),
    };
    job::run_inputs(&EvaluateTask {
        // Where the files lie is no input, what they hold is.
        dataset: api::Dataset { from: DataFrom::default(), format: api::DatasetFormat::Beir, split: String::new() },
        dataset_digest: dataset.digest().to_owned(),
        metrics: gate.metrics.clone(),
        statistics: gate.statistics.clone(),
        spec_digest: job::digest(&(&gate.metrics, &gate.statistics)),
        candidate: arm(candidate),
        baseline: baseline.map(arm),
        report: None,
    })
}
