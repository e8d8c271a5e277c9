//! `rag evaluate`: measures one or two arms on a labelled query set; on the command line it also judges.
//!
//! Why one program: the gate of a pull request and the gate in the cluster read the same files, ask the same
//! API and compute the same numbers.
//!
//! Layout: [`plan`] what to do; [`arm`] asking, [`http`] over the network, [`directory`] in this process;
//! [`measure`] one run, [`facts`] what it tells beside its metrics; [`pod`] in a Job; [`show`] results for people and
//! programs; [`report`] the same as plain data and as a page with plots; [`repeat`] the command to do it again;
//! [`stopped`] runs that could not measure.
//!
//! Invariants: in a Job no verdict leaves this program, exit 0 means measured; on the command line the exit
//! code is the verdict: 0 Pass, 1 Fail, 4 Inconclusive or Error, 64 wrong usage; a check ends with 0 or 42.

mod arm;
mod directory;
mod facts;
mod http;
mod measure;
mod plan;
mod pod;
mod progress;
mod repeat;
mod report;
mod show;
mod stopped;

use std::fs::File;
use std::future::Future;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::directory::Model;
use self::measure::{Answered, Measured, answers, inputs, leave_out, look_up, measured};
use self::plan::{Arm, Gate, compat_flag, metric_flag, missing_flag};
use self::progress::Progress;
use self::report::gather::{self, Found, Told};
use self::report::page::Page;
use self::stopped::Stopped;
use super::exit::{self, Failure, finish, job_input};
use super::serve::mode_flag;
use crate::api::gate::{Baseline, Compat, Metric, Missing, Statistics};
use crate::api::release::Mode;
use crate::evaluation::dataset::{Dataset, Files, Form};
use crate::evaluation::verdict::{GateJudged, Verdict, judge};
use crate::worker::job::Counting;

const EXIT_FAIL: u8 = 1;
const EXIT_UNDECIDED: u8 = 4;
const EXIT_USAGE: u8 = 64;

/// Flags of `rag evaluate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Read the data set in full, report its digest and counts, measure nothing.
    #[arg(long, conflicts_with_all = ["candidate", "baseline", "models", "write_run", "per_query", "report"])]
    check: bool,
    /// Queries, one JSON object a line: {"_id": "q1", "text": "…"}, or query id and text separated by a tab. Not needed
    /// where every arm is a run file. Each file may be packed (gzip, Zstandard).
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Judgments: tab-separated with the header query-id, corpus-id, score (BEIR); lines `query 0 document grade` (TREC);
    /// or a JSON object a query with query_id, text, qrels and metadata. The first line decides.
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// Metadata of the queries, for slices and clusters: query id, name, value; tab-separated.
    #[arg(long, value_name = "FILE")]
    slices: Option<PathBuf>,
    /// Pieces of the answers, for taskRecall@k and taskSuccess@k, one JSON object a line: {"query_id": "q1",
    /// "nugget_id": "n1", "required": true, "weight": 1, "doc_ids": ["d1"]}.
    #[arg(long, value_name = "FILE")]
    nuggets: Option<PathBuf>,
    /// Documents, one JSON object a line: {"_id": "d1", "metadata": {"domain": "legal"}}; tells the domains of what run
    /// files found, for contamination@10. Arms that are asked tell their own.
    #[arg(long, value_name = "FILE", requires = "candidate")]
    corpus: Option<PathBuf>,
    /// What is judged: the URL of the evaluation port of a `rag serve`, an index directory that `rag index` wrote,
    /// or a TREC run file.
    #[arg(long, value_name = "URL|DIR|RUN")]
    candidate: Option<String>,
    /// What it is compared with. Default: nothing; then only floors and max decide.
    #[arg(long, value_name = "URL|DIR|RUN")]
    baseline: Option<String>,
    /// Model directory that built an index directory, for its queries; once for each encoder. Found by its
    /// fingerprint, so the order does not matter; mode keyword needs none.
    #[arg(long = "model", value_name = "DIR")]
    models: Vec<PathBuf>,
    /// How a candidate that is an index directory is searched: vector (default), keyword or hybrid; the other
    /// retrieval settings are the defaults of `rag serve`.
    #[arg(long, value_name = "MODE", value_parser = mode_flag, requires = "candidate")]
    candidate_mode: Option<Mode>,
    /// How a baseline that is an index directory is searched.
    #[arg(long, value_name = "MODE", value_parser = mode_flag, requires = "baseline")]
    baseline_mode: Option<Mode>,
    /// An EvalGate as YAML: metrics and statistics are taken from it, its data set is not.
    #[arg(long, value_name = "FILE", conflicts_with = "metrics")]
    gate: Option<PathBuf>,
    /// A metric and what must hold, such as ndcg@10:margin=0.02,floor=0.4. Also relativeMargin= (a share of the
    /// baseline's mean), max=, confident=true (the floor at the lower bound), and required=false to report it only. Up
    /// to 8 times.
    #[arg(long = "metric", value_name = "NAME:KEY=VALUE,…", value_parser = metric_flag)]
    metrics: Vec<Metric>,
    /// What counts for a judged query that an arm gave no answer to: zero, the value 0 (default), or drop, which leaves it
    /// out of both arms.
    #[arg(long, value_name = "WHAT", value_parser = missing_flag, conflicts_with = "gate")]
    missing: Option<Missing>,
    /// Take a run file that does not name more than 1 % of the judged queries: they were asked and found nothing. Without
    /// it such a run is no answer (LowCoverage); index directories and URLs are asked, so that it means nothing to them.
    #[arg(long, requires = "candidate")]
    allow_missing: bool,
    /// Which trec_eval decides about equal scores: trec_eval_10 (default) in double precision, trec_eval_9 in single.
    #[arg(long, value_name = "VERSION", value_parser = compat_flag, conflicts_with = "gate")]
    compat: Option<Compat>,
    /// Remove results whose id is the id of their query, for collections whose queries are documents too.
    #[arg(long, conflicts_with = "gate")]
    ignore_identical_ids: bool,
    /// How the result is printed: table, json, markdown or junit. With =FILE it is written there instead, so one run
    /// can give several: --output table --output junit=gate.xml.
    #[arg(long = "output", value_name = "FORMAT[=FILE]", value_parser = output_flag, default_value = "table")]
    outputs: Vec<OutputTo>,
    /// Write the result as one self-contained HTML page with plots and the queries that lost most.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Show the texts of queries in the page; otherwise only their ids.
    #[arg(long, requires = "report")]
    expose_text: bool,
    /// Write the candidate's answers as a TREC run file.
    #[arg(long, value_name = "FILE")]
    write_run: Option<PathBuf>,
    /// Write the values of each query and arm, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    per_query: Option<PathBuf>,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Json,
    Junit,
    Markdown,
    Table,
}

/// A form of the result, and the file that it goes to; without one it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OutputTo {
    output: Output,
    file: Option<PathBuf>,
}

fn output_flag(text: &str) -> Result<OutputTo, String> {
    let (word, file) = text.split_once('=').map_or((text, None), |(word, file)| (word, Some(file)));
    let output = match word {
        "json" => Output::Json,
        "junit" => Output::Junit,
        "markdown" => Output::Markdown,
        "table" => Output::Table,
        other => return Err(format!("`{other}` is unknown; write table, json, markdown or junit")),
    };
    match file {
        Some("") => Err(format!("`{text}` names no file; write {word}=FILE, or {word} to print it")),
        file => Ok(OutputTo { output, file: file.map(PathBuf::from) }),
    }
}

/// Runs `rag evaluate`.
pub fn run(args: Args) -> ExitCode {
    match job_input() {
        Ok(Some(input)) => {
            let outcome = pod::carry_out(&input);
            finish(&input.run, outcome)
        }
        Ok(None) => on_the_command_line(&args),
        // An input that cannot be read names no run: the receipt is for people.
        Err(failure) => finish("", Err(failure)),
    }
}

fn on_the_command_line(args: &Args) -> ExitCode {
    match Order::of(args) {
        Ok(Order::Check { files, gate, output }) => exit::report(check(output, &files, gate.as_ref())),
        Ok(Order::Measure(order)) => match block_on(measure(&order)) {
            Ok(outcome) => conclude(args, &order, outcome),
            Err(failure) => exit::report(Err(failure)),
        },
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// What the flags ask for, checked.
enum Order {
    Check { files: Files, gate: Option<Gate>, output: Output },
    Measure(MeasureOrder),
}

struct MeasureOrder {
    files: Files,
    gate: Gate,
    candidate: Arm,
    baseline: Option<Arm>,
    corpus: Option<PathBuf>,
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
            None => {
                let gate = Gate::new(args.metrics.clone(), Statistics::default(), None, None, Baseline::Stable)?;
                Some(gate.counting(counting))
            }
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
        Ok(Self::Measure(MeasureOrder { files, gate, candidate, baseline, corpus: args.corpus.clone() }))
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
    let (slices, cluster_by) = gate.map(pod::grouping).unwrap_or_default();
    let found = pod::report(&dataset, slices, cluster_by)?;
    let advice = gate.map(|gate| said_in_advance(&dataset, gate)).transpose()?.flatten();
    match output {
        Output::Json => {
            let (digest, queries, judgments) = (&found.digest, found.queries, found.judgments);
            let slices =
                found.slices.iter().map(|(name, queries)| serde_json::json!({"name": name, "queries": queries}));
            let line = serde_json::json!({
                "digest": digest, "queries": queries, "judgments": judgments, "clusters": found.clusters,
                "slices": slices.collect::<Vec<_>>(), "advice": advice,
            });
            println!("{line}");
        }
        Output::Table | Output::Junit | Output::Markdown => {
            println!("{} queries with {} judgments, digest {}", found.queries, found.judgments, found.digest);
            if let Some(clusters) = found.clusters {
                println!("{clusters} clusters");
            }
            for (name, queries) in &found.slices {
                println!("slice {name}: {queries} queries");
            }
            if let Some(advice) = advice {
                println!("{advice}");
            }
        }
    }
    Ok(())
}

fn said_in_advance(dataset: &Dataset, gate: &Gate) -> Result<Option<String>, Stopped> {
    let (by, cluster_by) = pod::grouping(gate);
    Ok(gate.judging.advice(&pod::report(dataset, by, cluster_by)?, gate.baseline == Baseline::Stable))
}

/// What a run on the command line found.
struct Outcome {
    dataset: Dataset,
    candidate: Answered,
    baseline: Option<Answered>,
    measured: Measured,
}

impl Outcome {
    fn found(&self) -> Found<'_> {
        let Self { dataset, candidate, baseline, measured } = self;
        Found { dataset, candidate, baseline: baseline.as_ref(), measured }
    }
}

async fn measure(order: &MeasureOrder) -> Result<Outcome, Stopped> {
    let gate = &order.gate;
    let mut dataset = Dataset::read(&order.files)?;
    let asking = gate.asking(&dataset, order.baseline.is_some())?;
    let advice = said_in_advance(&dataset, gate)?;
    if let Some(advice) = advice.filter(|_| order.baseline.is_some()) {
        eprintln!("note: {advice}");
    }
    let mut progress = Progress::new();
    let mut candidate = answers("candidate", &order.candidate, None, &dataset, asking, &mut progress).await?;
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
        eprintln!("note: {} judged queries lack an answer of an arm and are left out", dataset.left_out().len());
    }
    for (name, missing) in [("candidate", measured.comparison.missing.0), ("baseline", measured.comparison.missing.1)] {
        if missing > 0 {
            eprintln!("note: {missing} judged queries have no answer of the {name}; they count 0");
        }
    }
    Ok(Outcome { dataset, candidate, baseline, measured })
}

/// The verdict of a run, by the function that the operator uses.
fn judgement(order: &MeasureOrder, outcome: &Result<Outcome, Stopped>) -> GateJudged {
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
        eprintln!("error: {text}");
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
            None => println!("{text}"),
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
    }
    if let Some(file) = &args.per_query {
        let rows = |to| show::write_rows(BufWriter::new(to), &found.dataset, gate, &found.measured);
        File::create(file).and_then(rows).map_err(|e| cannot(file, e))?;
    }
    Ok(())
}

/// One thread is enough: the work is waiting for answers.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Failure::unavailable("InternalError", format!("the program cannot start: {e}")))?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
mod tests {
    use crate::api::reason::VerdictReason;
    use crate::evaluation::verdict::Reason;

    #[test]
    fn the_words_of_the_verdict_are_those_of_the_api() {
        let api: Vec<&str> = VerdictReason::ALL.iter().map(|r| r.as_str()).collect();
        let ours: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(api, ours);
    }
}
