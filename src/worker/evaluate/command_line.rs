//! `rag evaluate` on the command line: reads the flags as an order, measures, judges, prints.
//!
//! Invariants: flags that contradict each other are refused before anything is asked; the exit code is the verdict, also
//! where the result goes to files; a result that cannot be written decides nothing.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::directory::Model;
use super::measure::{Answered, Measured, answers, inputs, leave_out, look_up, measured};
use super::plan::{Arm, Asking, Gate};
use super::progress::{Display, Progress};
use super::report::gather::{self, Found, Told};
use super::report::page::Page;
use super::stand_in;
use super::stopped::Stopped;
use super::{Args, Output, OutputTo, block_on, pod, repeat, report, show};
use crate::api::gate::Baseline;
use crate::evaluation::dataset::{Dataset, Files, Form};
use crate::evaluation::verdict::{GateJudged, Verdict, judge};
use crate::worker::exit::{self, Failure};
use crate::worker::job::Counting;

const EXIT_FAIL: u8 = 1;
const EXIT_UNDECIDED: u8 = 4;
const EXIT_USAGE: u8 = 64;

pub fn carry_out(args: &Args) -> ExitCode {
    match Order::of(args) {
        Ok(Order::Check { files, gate, output }) => exit::report(check(output, &files, gate.as_ref())),
        Ok(Order::Measure(order)) => match block_on(measure(&order)) {
            Ok(outcome) => conclude(args, &order, outcome),
            Err(failure) => exit::report(Err(failure)),
        },
        Err(text) => {
            exit::tell(&format!("error: {text}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// What the flags ask for, checked.
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
enum Order {
    Check { files: Files, gate: Option<Gate>, output: Output },
    Measure(MeasureOrder),
}

/// What to measure, and by what to judge it.
pub struct MeasureOrder {
    pub files: Files,
    pub gate: Gate,
    pub candidate: Arm,
    pub baseline: Option<Arm>,
    pub corpus: Option<PathBuf>,
    /// Whether the candidate's answers are written.
    pub write_run: bool,
    pub progress: Display,
}

impl Order {
    fn of(args: &Args) -> Result<Self, String> {
        if args.outputs.iter().filter(|to| to.file.is_none()).count() > 1 {
            return Err("only one --output can be printed; give the others a file, such as junit=gate.xml".to_owned());
        }
        let Some(qrels) = args.qrels.clone() else {
            return Err("--qrels FILE is needed, and --queries FILE with it where an arm must be asked".to_owned());
        };
        let files = Files {
            form: Form::ByContent,
            queries: args.queries.clone(),
            qrels,
            slices: args.slices.clone(),
            nuggets: args.nuggets.clone(),
        };
        let counting = Counting {
            ignore_identical_ids: args.ignore_identical_ids,
            missing: args.missing.unwrap_or_default(),
            compat: args.compat.unwrap_or_default(),
        };
        let gate = match &args.gate {
            Some(file) => Some(Gate::read(file)?),
            None if args.metrics.is_empty() => None,
            None => Some(Gate::of_flags(args.metrics.clone(), counting)?),
        };
        if args.check {
            return Ok(Self::Check { files, gate, output: check_output(&args.outputs)? });
        }
        let Some(candidate) = &args.candidate else {
            return Err("--candidate URL|DIR|RUN is needed (or --check)".to_owned());
        };
        let Some(gate) = gate else {
            return Err("--gate FILE or --metric is needed, such as --metric ndcg@10:margin=0.05".to_owned());
        };
        if gate.baseline == Baseline::None && args.baseline.is_some() {
            return Err("the gate says `baseline: None`; remove --baseline".to_owned());
        }
        let models = args.models.iter().map(|directory| Model::load(directory)).collect::<Result<Vec<_>, _>>()?;
        let arm = |arm: &str, mode| Arm::parse(arm, mode, &models, args.allow_missing);
        let candidate = arm(candidate, args.candidate_mode)?;
        let baseline = args.baseline.as_deref().map(|baseline| arm(baseline, args.baseline_mode)).transpose()?;
        let (corpus, write_run) = (args.corpus.clone(), args.write_run.is_some());
        let order = MeasureOrder { files, gate, candidate, baseline, corpus, write_run, progress: args.progress };
        Ok(Self::Measure(order))
    }
}

fn check_output(outputs: &[OutputTo]) -> Result<Output, String> {
    match outputs {
        [OutputTo { output: output @ (Output::Json | Output::Table), file: None }] => Ok(*output),
        _ => Err("a check prints --output table or json and nothing else".to_owned()),
    }
}

fn check(output: Output, files: &Files, gate: Option<&Gate>) -> Result<(), Failure> {
    let dataset = Dataset::read(files).map_err(Stopped::from)?;
    let found = pod::report(&dataset, gate)?;
    let text = match output {
        Output::Json => {
            let (digest, queries, judgments) = (&found.digest, found.queries, found.judgments);
            let slices =
                found.slices.iter().map(|(name, queries)| serde_json::json!({"name": name, "queries": queries}));
            let line = serde_json::json!({
                "digest": digest, "queries": queries, "judgments": judgments, "clusters": found.clusters,
                "slices": slices.collect::<Vec<_>>(), "tested": found.tested, "advice": found.advice,
            });
            format!("{line}\n")
        }
        Output::Table | Output::Junit | Output::Markdown => {
            let mut lines =
                vec![format!("{} queries with {} judgments, digest {}", found.queries, found.judgments, found.digest)];
            lines.extend(found.clusters.map(|clusters| format!("{clusters} clusters")));
            let tested = found.tested.filter(|tested| *tested < found.clusters.unwrap_or(found.queries));
            lines.extend(tested.map(|n| format!("{n} of them enter the paired test of a metric with a margin")));
            lines.extend(found.slices.iter().map(|(name, queries)| format!("slice {name}: {queries} queries")));
            lines.extend(found.advice);
            lines.into_iter().map(|line| line + "\n").collect()
        }
    };
    exit::print_result(&text)
}

/// What a run on the command line found.
pub struct Outcome {
    pub dataset: Dataset,
    pub candidate: Answered,
    pub baseline: Option<Answered>,
    pub measured: Measured,
}

impl Outcome {
    pub fn found(&self) -> Found<'_> {
        let Self { dataset, candidate, baseline, measured } = self;
        Found { dataset, candidate, baseline: baseline.as_ref(), measured }
    }
}

/// Asks the arms and counts.
pub async fn measure(order: &MeasureOrder) -> Result<Outcome, Stopped> {
    let gate = &order.gate;
    let mut dataset = Dataset::read(&order.files)?;
    let asking = gate.asking(&dataset, order.baseline.is_some())?;
    if let Some(advice) = gate.foreseen(&dataset).advice.filter(|_| order.baseline.is_some()) {
        exit::tell(&format!("note: {advice}"));
    }
    if let Some(not_compared) = gate.not_compared(order.baseline.is_some()) {
        exit::tell(&format!("note: {not_compared}"));
    }
    let mut progress = Progress::new(order.progress);
    let of_candidate = Asking { all_ids: asking.all_ids || order.write_run, ..asking };
    let mut candidate = answers("candidate", &order.candidate, None, &dataset, of_candidate, &mut progress).await?;
    let mut baseline = match &order.baseline {
        Some(arm) => Some(answers("baseline", arm, None, &dataset, asking, &mut progress).await?),
        None => None,
    };
    if let Some(corpus) = &order.corpus {
        let arms = order.baseline.as_ref().zip(baseline.as_mut());
        look_up(corpus, &dataset, std::iter::once((&order.candidate, &mut candidate)).chain(arms).collect())?;
    }
    let seen = inputs(&dataset, gate, &candidate.identity, baseline.as_ref().map(|b| &b.identity));
    leave_out(&mut dataset, gate.counting, &candidate, baseline.as_ref());
    let measured = measured(&dataset, gate, seen, &candidate, baseline.as_ref())?;
    if !dataset.left_out().is_empty() {
        exit::tell(&format!(
            "note: {} judged queries lack an answer of an arm and are left out",
            dataset.left_out().len()
        ));
    }
    for note in missing(&dataset, &measured, baseline.as_ref()) {
        exit::tell(&format!("note: {note}"));
    }
    Ok(Outcome { dataset, candidate, baseline, measured })
}

/// What becomes of the queries that an arm did not name and that were not left out.
fn missing(dataset: &Dataset, measured: &Measured, baseline: Option<&Answered>) -> Vec<String> {
    let (of_candidate, of_baseline) = measured.comparison.missing;
    let left = |missing: usize| missing.saturating_sub(dataset.left_out().len());
    let unanswered = baseline.is_some_and(|arm| dataset.judged().any(|(query, _)| !arm.run.answered(query)));
    let in_test = if unanswered { ", and are not compared" } else { "" };
    let note = |name: &str, n: usize, more: &str| {
        (left(n) > 0).then(|| format!("{n} judged queries have no answer of the {name}; they count 0{more}"))
    };
    [note("candidate", of_candidate, ""), note("baseline", of_baseline, in_test)].into_iter().flatten().collect()
}

/// The verdict of a run, by the function that the operator uses.
pub fn judgement(order: &MeasureOrder, outcome: &Result<Outcome, Stopped>) -> GateJudged {
    let gate = &order.gate;
    match outcome {
        Ok(found) => judge(&gate.judging.criteria(), &found.measured.evidence()),
        Err(stopped) => stopped.judged(),
    }
}

/// Judges, writes, prints, and ends with the verdict.
fn conclude(args: &Args, order: &MeasureOrder, outcome: Result<Outcome, Stopped>) -> ExitCode {
    let gate = &order.gate;
    let judged = judgement(order, &outcome);
    let told = Told {
        subject: String::new(),
        candidate: repeat::arm_name(args.candidate.as_deref().unwrap_or_default()),
        baseline: repeat::arm_name(args.baseline.as_deref().unwrap_or_default()),
        repeat: repeat::on_the_command_line(args),
        expose_text: args.expose_text,
    };
    let page = gather::page(gate, outcome.as_ref().ok().map(Outcome::found), &judged, &told);
    if let Err(text) = print(&args.outputs, &page).and_then(|()| write(args, gate, &page, &outcome)) {
        exit::tell(&format!("error: {text}"));
        return ExitCode::from(EXIT_UNDECIDED);
    }
    match judged.gate.verdict() {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::from(EXIT_FAIL),
        Verdict::Inconclusive | Verdict::Error => ExitCode::from(EXIT_UNDECIDED),
    }
}

fn print(outputs: &[OutputTo], page: &Page) -> Result<(), String> {
    for OutputTo { output, file } in outputs {
        let text = match output {
            Output::Json => show::json(page).map_err(|e| format!("the result is no JSON: {e}"))?,
            Output::Junit => show::junit(page),
            Output::Markdown => show::markdown(page),
            Output::Table => show::table(page),
        };
        let text = text.trim_end();
        match file {
            Some(file) => std::fs::write(file, format!("{text}\n")).map_err(|e| cannot(file, e))?,
            None => exit::print(&format!("{text}\n")).map_err(|e| exit::unprinted(&e))?,
        }
    }
    Ok(())
}

fn cannot(file: &Path, e: std::io::Error) -> String {
    format!("{}: cannot be written: {e}", file.display())
}

fn write(args: &Args, gate: &Gate, page: &Page, outcome: &Result<Outcome, Stopped>) -> Result<(), String> {
    if let Some(file) = &args.report {
        std::fs::write(file, report::html(page)).map_err(|e| cannot(file, e))?;
    }
    let Ok(found) = outcome else { return Ok(()) };
    if let Some(file) = &args.write_run {
        let written = File::create(file).and_then(|to| found.candidate.run.write(BufWriter::new(to)));
        written.map_err(|e| cannot(file, e))?;
        stand_in::Measured::new(found.dataset.digest(), &found.candidate.identity).write(file)?;
    }
    if let Some(file) = &args.per_query {
        let rows = |to| show::write_rows(BufWriter::new(to), &found.dataset, gate, &found.measured);
        File::create(file).and_then(rows).map_err(|e| cannot(file, e))?;
    }
    Ok(())
}
