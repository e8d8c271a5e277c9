//! One run: read the data set, ask or read both arms, compute the numbers.

use std::path::Path;

use super::arm::{Answers, Searcher, Served, ask};
use super::directory::DirectorySearcher;
use super::facts::Facts;
use super::http::HttpSearcher;
use super::plan::{Arm, Asking, Gate, RunFile};
use super::progress::Progress;
use super::stand_in;
use super::stopped::{Cause, Stopped};
use crate::api::gate::Missing;
use crate::api::{DataFrom, gate as api};
use crate::evaluation::compare::{Comparison, compare};
use crate::evaluation::dataset::{Dataset, hex};
use crate::evaluation::lines::short;
use crate::evaluation::mixed::{self, Domains};
use crate::evaluation::run::{Compat, Names, Run};
use crate::evaluation::silhouette::Silhouette;
use crate::evaluation::verdict::{Coverage, Evidence, LEAST_COVERAGE};
use crate::worker::job::{self, Counting, EvaluateTask};

/// What an arm answered, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub identity: Identity,
    pub run: Run,
    /// Judged queries that count as answered.
    pub answered: usize,
    /// Domains of the first documents, as far as they are told.
    pub domains: Domains,
    /// How far the domains of its documents lie apart; or why it is not known, where it was asked.
    pub silhouette: Result<Option<Silhouette>, String>,
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
    asking: Asking,
    progress: &mut Progress,
) -> Result<Answered, Stopped> {
    match arm {
        Arm::Url(_) | Arm::Directory(_) if !dataset.has_texts() => Err(Stopped::new(
            Cause::DatasetInvalid,
            format!(
                "The {name} must be asked, but the queries have no texts; write --queries FILE, or give a run file."
            ),
        )),
        Arm::Url(url) => {
            let searcher = HttpSearcher::connect(url, mixed::labelled(dataset)).await?;
            asked(name, &searcher, expected, dataset, asking, progress).await
        }
        Arm::Directory(directory) => {
            let searcher = DirectorySearcher::open(directory, mixed::labelled(dataset))?;
            asked(name, &searcher, expected, dataset, asking, progress).await
        }
        Arm::Run(file) => read(name, file, dataset, asking),
    }
}

/// A run file as an arm. A judged query that it does not name found nothing or was never asked, which the form cannot
/// tell apart; so it may lack no more than an arm that is asked, unless its user says that they found nothing. Where such
/// queries are to be left out, they are no answers.
fn read(name: &str, file: &RunFile, dataset: &Dataset, asking: Asking) -> Result<Answered, Stopped> {
    let counting = asking.counting;
    let RunFile { path: file, allow_missing } = file;
    let names = if asking.all_ids { Names::All } else { Names::Judged(dataset) };
    stand_in::check(file, dataset.digest())?;
    let (mut run, digest) = Run::read(file, compat(counting.compat), names)?;
    if counting.ignore_identical_ids {
        run.drop_identical_ids();
    }
    let named = dataset.judged().filter(|(query, _)| run.list(query).is_some()).count();
    if named == 0 {
        let example = run.queries().next().unwrap_or_default();
        let text = format!(
            "{}: none of its queries is judged, such as `{}`; give the judgments that belong to this run.",
            file.display(),
            short(example)
        );
        return Err(Stopped::new(Cause::DatasetInvalid, text));
    }
    // A baseline whose ids are those of another corpus has value 0, and any candidate would pass against it.
    if !finds_a_judged_document(dataset, &run) {
        let text = format!(
            "{}: none of its documents is judged for its query; judgments and run must name documents by the same ids.",
            file.display()
        );
        return Err(Stopped::new(Cause::DatasetInvalid, text));
    }
    if !allow_missing && Coverage::is_low(named as u64, dataset.judged_count() as u64) {
        return Err(too_few_named(name, file, dataset, &run));
    }
    if *allow_missing {
        run.found_nothing();
    }
    let answered = dataset.judged().filter(|(query, _)| run.answered(query)).count();
    let identity = Identity { revision: "run".to_owned(), content_digest: hex(&digest), fingerprint: String::new() };
    Ok(Answered { identity, run, answered, domains: Domains::new(), silhouette: Ok(None) })
}

fn too_few_named(name: &str, file: &Path, dataset: &Dataset, run: &Run) -> Stopped {
    let missing: Vec<&str> =
        dataset.judged().map(|(query, _)| query).filter(|query| run.list(query).is_none()).collect();
    let first: Vec<String> = missing.iter().take(3).map(|query| format!("`{}`", short(query))).collect();
    let text = format!(
        "{}: the {name} names {} of {} judged queries; {} are missing, first {}. At least {} % must be answered for a \
         verdict: what is missing counts 0, so that a baseline looks worse than it is and a candidate passes against it. \
         Give a run of all judged queries; if the missing ones were asked and found nothing, say so with --allow-missing.",
        file.display(),
        dataset.judged_count().saturating_sub(missing.len()),
        dataset.judged_count(),
        missing.len(),
        first.join(", "),
        LEAST_COVERAGE * 100.0
    );
    Stopped::new(Cause::LowCoverage, text)
}

/// The domains of what run files found, from a file of documents. An arm that was asked has told its own.
pub fn look_up(corpus: &Path, dataset: &Dataset, arms: Vec<(&Arm, &mut Answered)>) -> Result<(), Stopped> {
    for (arm, answered) in arms {
        match arm {
            Arm::Run(_) => answered.domains = mixed::read(corpus, &mixed::shown(dataset, &answered.run))?,
            Arm::Url(_) | Arm::Directory(_) => {}
        }
    }
    Ok(())
}

pub(super) fn compat(compat: api::Compat) -> Compat {
    match compat {
        api::Compat::TrecEval10 => Compat::TrecEval10,
        api::Compat::TrecEval9 => Compat::TrecEval9,
    }
}

/// Leaves out the judged queries that an arm did not answer, where the gate says so.
pub fn leave_out(dataset: &mut Dataset, counting: Counting, candidate: &Answered, baseline: Option<&Answered>) {
    match counting.missing {
        Missing::Zero => {}
        Missing::Drop => {
            let has = |arm: &Answered, query: &str| arm.run.answered(query);
            dataset.keep(|query| has(candidate, query) && baseline.is_none_or(|baseline| has(baseline, query)));
        }
    }
}

/// Asks a searcher, after a look at what it serves.
pub async fn asked(
    name: &str,
    searcher: &dyn Searcher,
    expected: Option<&Identity>,
    dataset: &Dataset,
    asking: Asking,
    progress: &mut Progress,
) -> Result<Answered, Stopped> {
    let identity = Identity::from(searcher.served());
    if let Some(expected) = expected.filter(|e| **e != identity) {
        return Err(changed(name, expected, &identity));
    }
    let Answers { run, answered, domains } = ask(searcher, name, dataset, asking, progress).await?;
    // Behind the questions, which must not wait for it.
    let silhouette = searcher.silhouette().await;
    Ok(Answered { identity, run, answered, domains, silhouette })
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
    pub facts: Facts,
}

impl Measured {
    /// What the verdict reads of it.
    pub fn evidence(&self) -> Evidence {
        self.comparison.evidence(self.coverage)
    }
}

/// Computes the numbers. `inputs`: digest of what the run saw.
pub fn measured(
    dataset: &Dataset,
    gate: &Gate,
    inputs: String,
    candidate: &Answered,
    baseline: Option<&Answered>,
) -> Result<Measured, Stopped> {
    let (of_candidate, of_baseline) = (&candidate.run, baseline.map(|b| &b.run));
    if !std::iter::once(of_candidate).chain(of_baseline).any(|run| finds_a_judged_document(dataset, run)) {
        return Err(Stopped::new(
            Cause::DatasetInvalid,
            "None of the documents that were found is judged. Judgments and index must name documents by the same ids; \
             is this the data set of another corpus?",
        ));
    }
    let comparison = compare(dataset, &gate.judging.criteria(), &inputs, of_candidate, of_baseline);
    let facts = Facts::of(dataset, gate, candidate, baseline, &comparison);
    let coverage = Coverage {
        queries: dataset.judged_count().saturating_add(dataset.left_out().len()) as u64,
        candidate: candidate.answered as u64,
        baseline: baseline.map(|b| b.answered as u64),
    };
    Ok(Measured { inputs, coverage, comparison, facts })
}

fn finds_a_judged_document(dataset: &Dataset, run: &Run) -> bool {
    let found = |query| run.list(query).unwrap_or_default().iter();
    dataset.judged().any(|(query, judgments)| found(query).any(|at| judgments.names(at.document)))
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
        slices: gate.slices.clone(),
        counting: gate.counting,
        spec_digest: gate.spec_digest.clone(),
        candidate: arm(candidate),
        baseline: baseline.map(arm),
        earlier: job::Earlier::default(),
        report: None,
    })
}
