//! The command that repeats a run, for people who doubt a number.
//!
//! Invariant: what only says where results go is left out, so the same inputs give the same text; user names, passwords
//! and what stands behind the `?` of a URL never appear in it.

use std::path::Path;

use super::Args;
use crate::api::gate::{Compat, Metric, Missing};
use crate::api::release::Mode;
use crate::worker::job::ReportTask;

/// The flags of a run on the command line that decide what is measured and how it is judged.
pub fn on_the_command_line(args: &Args) -> Vec<String> {
    let path = |file: &Path| quoted(&file.display().to_string());
    let mut words = vec!["rag evaluate".to_owned()];
    let mut flag = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("--{name} {value}")));
    flag("queries", args.queries.as_deref().map(path));
    flag("qrels", args.qrels.as_deref().map(path));
    flag("slices", args.slices.as_deref().map(path));
    flag("nuggets", args.nuggets.as_deref().map(path));
    flag("corpus", args.corpus.as_deref().map(path));
    flag("candidate", args.candidate.as_deref().map(|arm| quoted(&arm_name(arm))));
    flag("candidate-mode", args.candidate_mode.map(mode));
    flag("baseline", args.baseline.as_deref().map(|arm| quoted(&arm_name(arm))));
    flag("baseline-mode", args.baseline_mode.map(mode));
    args.models.iter().for_each(|model| flag("model", Some(path(model))));
    flag("gate", args.gate.as_deref().map(path));
    args.metrics.iter().for_each(|metric| flag("metric", Some(quoted(&metric_text(metric)))));
    flag("missing", args.missing.map(|missing| missing_word(missing).to_owned()));
    flag("compat", args.compat.map(|compat| compat_word(compat).to_owned()));
    if args.allow_missing {
        words.push("--allow-missing".to_owned());
    }
    if args.ignore_identical_ids {
        words.push("--ignore-identical-ids".to_owned());
    }
    vec![words.join(" ")]
}

/// From the files that a Job kept. Every query was asked, so what such a run does not name found nothing.
pub fn from_kept(report: &ReportTask, candidate: &str, baseline: Option<&str>) -> Vec<String> {
    let baseline = baseline.map(|file| format!(" --baseline {}", quoted(file))).unwrap_or_default();
    vec![
        "# with the runs that are kept beside this page, and the gate's data set".to_owned(),
        format!("kubectl get evalgate {} -o yaml > gate.yaml", quoted(&report.gate)),
        format!(
            "rag evaluate --gate gate.yaml --queries queries.jsonl --qrels qrels.tsv --candidate {}{baseline} --allow-missing",
            quoted(candidate)
        ),
    ]
}

/// An arm as its user wrote it, without what may be secret in a URL.
pub fn arm_name(arm: &str) -> String {
    let Ok(mut url) = arm.parse::<reqwest::Url>() else { return arm.to_owned() };
    if !matches!(url.scheme(), "http" | "https") {
        return arm.to_owned();
    }
    // A URL that cannot have a user name has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn missing_word(missing: Missing) -> &'static str {
    match missing {
        Missing::Zero => "zero",
        Missing::Drop => "drop",
    }
}

fn compat_word(compat: Compat) -> &'static str {
    match compat {
        Compat::TrecEval10 => "trec_eval_10",
        Compat::TrecEval9 => "trec_eval_9",
    }
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Vector => "vector",
        Mode::Keyword => "keyword",
        Mode::Hybrid => "hybrid",
    }
    .to_owned()
}

fn metric_text(metric: &Metric) -> String {
    let number = |key: &str, x: Option<f64>| x.map(|x| format!("{key}={x}"));
    let settings = [
        number("margin", metric.margin),
        number("relativeMargin", metric.relative_margin),
        number("floor", metric.floor),
        number("max", metric.max),
    ];
    let mut settings: Vec<String> = settings.into_iter().flatten().collect();
    if metric.confident {
        settings.push("confident=true".to_owned());
    }
    if !metric.required {
        settings.push("required=false".to_owned());
    }
    format!("{}:{}", metric.name, settings.join(","))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_left_out_and_paths_stay() {
        assert_eq!(arm_name("http://user:secret@arm:8081/x?token=abc#y"), "http://arm:8081/x");
        assert_eq!(arm_name("runs/a.run"), "runs/a.run");
        assert_eq!(arm_name("C:x"), "C:x");
    }

    #[test]
    fn words_survive_a_shell() {
        for word in ["plain-1.run", "with space", "it's", "$(x)", "", "a\nb"] {
            let output = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), word);
        }
    }
}
