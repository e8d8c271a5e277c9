//! `rag evaluate`: measures one or two arms on a labelled query set; on the command line it also judges.
//!
//! Why one program: the gate of a pull request and the gate in the cluster read the same files, ask the same
//! API and compute the same numbers.
//!
//! Layout: [`plan`] what to do; [`arm`] asking, [`http`] over the network, [`directory`] in this process;
//! [`measure`] one run, [`facts`] what it tells beside its metrics, [`doubts`] why to look again; [`pod`] in a Job,
//! [`command_line`] outside of one; [`show`] results for people and programs; [`report`] the same as plain data and as a
//! page with plots; [`repeat`] the command to do it again; [`stand_in`] run files that are kept; [`stopped`] runs that could not measure.
//!
//! Invariants: in a Job no verdict leaves this program, exit 0 means measured; on the command line the exit
//! code is the verdict: 0 Pass, 1 Fail, 4 Inconclusive or Error, 64 wrong usage; a check ends with 0, 42
//! (the data are wrong) or 43 (a file cannot be read now).

mod arm;
mod command_line;
mod directory;
mod doubts;
mod facts;
mod http;
mod measure;
mod plan;
mod pod;
mod progress;
mod repeat;
mod report;
mod show;
mod stand_in;
mod stopped;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use self::plan::{compat_flag, metric_flag, missing_flag};
use self::progress::{Display, progress_flag};
use super::exit::{Failure, finish, job_input};
use super::serve::mode_flag;
use crate::api::gate::{Compat, Metric, Missing};
use crate::api::release::Mode;

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
    /// baseline's mean), max=, confident=true (the floor at the lower bound), and required=false to report it only. A
    /// name alone, such as map, is reported only. Up to 8 times.
    #[arg(long = "metric", value_name = "NAME[:KEY=VALUE,…]", value_parser = metric_flag)]
    metrics: Vec<Metric>,
    /// What counts for a judged query that an arm gave no answer to: zero, the value 0 (default), or drop, which leaves it
    /// out of both arms.
    #[arg(long, value_name = "WHAT", value_parser = missing_flag, conflicts_with = "gate")]
    missing: Option<Missing>,
    /// Take a run file that does not name more than 1 % of the judged queries: they were asked and found nothing. Without
    /// it such a run is no answer (LowCoverage); index directories and URLs are asked, so that it means nothing to them.
    /// What found nothing is an answer: it counts 0 and is not left out, with missing drop too.
    #[arg(long, requires = "candidate")]
    allow_missing: bool,
    /// Which trec_eval decides about equal scores: trec_eval_10 (default) in double precision, trec_eval_9 in single.
    #[arg(long, value_name = "VERSION", value_parser = compat_flag, conflicts_with = "gate")]
    compat: Option<Compat>,
    /// Remove results whose id is the id of their query, for collections whose queries are documents too.
    #[arg(long, conflicts_with = "gate")]
    ignore_identical_ids: bool,
    /// How progress is shown on standard error: bar (default; plain where that is no terminal), plain (a line each 10 s),
    /// json (the same as an object a line) or none.
    #[arg(long, value_name = "FORM", value_parser = progress_flag, default_value = "bar", hide_default_value = true)]
    progress: Display,
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
        Ok(None) => command_line::carry_out(&args),
        Err(unread) => unread.finish(),
    }
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
