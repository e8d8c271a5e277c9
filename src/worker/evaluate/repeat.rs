//! The command that repeats a run, for people who doubt a number.
//!
//! Invariant: what only says where results go is left out, so the same inputs give the same text; user names, passwords
//! and what stands behind the `?` of a URL never appear in it.

use std::path::Path;

use super::Args;
use crate::api::DataFrom;
use crate::api::gate::{Compat, Metric, Missing};
use crate::api::release::Mode;
use crate::evaluation::dataset::Files;
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

/// From the files that a Job kept. Every query was asked, so what such a run does not name found nothing. `files`: those
/// of the data set below `mount`.
pub fn from_kept(
    report: &ReportTask,
    from: &DataFrom,
    (files, mount): (&Files, &Path),
    candidate: &str,
    baseline: Option<&str>,
) -> Vec<String> {
    let there = match (&from.config_map, &from.volume) {
        (Some(map), _) => format!("the keys of ConfigMap {} as files", map.name),
        (None, Some(volume)) => format!("the files of claim {}", volume.claim_name),
        (None, None) => "the gate's data set".to_owned(),
    };
    let file = |file: &Path| quoted(&file.strip_prefix(mount).unwrap_or(file).display().to_string());
    let mut words = vec!["rag evaluate --gate gate.yaml".to_owned()];
    let mut flag = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("--{name} {value}")));
    flag("queries", files.queries.as_deref().map(file));
    flag("qrels", Some(file(&files.qrels)));
    flag("slices", files.slices.as_deref().map(file));
    flag("nuggets", files.nuggets.as_deref().map(file));
    flag("candidate", Some(quoted(candidate)));
    flag("baseline", baseline.map(quoted));
    words.push("--allow-missing".to_owned());
    let (gate, namespace) = (quoted(&report.gate), quoted(&report.namespace));
    vec![
        format!("# in a directory with the runs that are kept beside this page, and {there}"),
        format!("kubectl -n {namespace} get evalgate {gate} -o yaml > gate.yaml"),
        words.join(" "),
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
    // A name alone says it already.
    if !metric.required && !settings.is_empty() {
        settings.push("required=false".to_owned());
    }
    if settings.is_empty() { metric.name.clone() } else { format!("{}:{}", metric.name, settings.join(",")) }
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
    use clap::Parser as _;

    use super::*;
    use crate::api::{ConfigMapSource, VolumeSource};
    use crate::evaluation::dataset::{Dataset, Form};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// The flags of a line as a shell gives them to the program.
    fn parsed(line: &str) -> Args {
        let script = format!("for word in {line}; do printf '%s\\n' \"$word\"; done");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let words = words.lines().skip_while(|word| *word != "evaluate");
        Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).args
    }

    #[test]
    fn the_command_on_a_kept_page_reads_the_data_set_that_the_job_read() {
        let mount = tempfile::tempdir().unwrap();
        let root = mount.path();
        for directory in ["", "my set"] {
            std::fs::create_dir_all(root.join(directory).join("qrels")).unwrap();
            for (name, text) in [
                ("queries.jsonl", "{\"_id\":\"q1\",\"text\":\"one\"}\n"),
                ("queries.tsv", "q1\tone\n"),
                ("qrels.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
                ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\n"),
                ("qrels.txt", "q1 0 d1 3\n"),
                ("qrels/test.txt", "q1 0 d1 4\n"),
                ("dataset.jsonl", "{\"query_id\":\"q1\",\"text\":\"one\",\"qrels\":{\"d1\":5}}\n"),
                ("test.jsonl", "{\"query_id\":\"q1\",\"text\":\"one\",\"qrels\":{\"d1\":6}}\n"),
                ("slices.tsv", "q1\tdomain\tlegal\n"),
                ("nuggets.jsonl", "{\"query_id\":\"q1\",\"nugget_id\":\"n\",\"doc_ids\":[\"d1\"]}\n"),
            ] {
                std::fs::write(root.join(directory).join(name), text).unwrap();
            }
        }
        let map = DataFrom { config_map: Some(ConfigMapSource { name: "d".into(), keys: Vec::new() }), volume: None };
        let volume = |path: &str| DataFrom {
            config_map: None,
            volume: Some(VolumeSource { claim_name: "sets".into(), path: path.into() }),
        };
        let below = root.join("my set");
        let report = ReportTask {
            claim_name: "reports".into(),
            path: "rag".into(),
            namespace: "team".into(),
            release: "handbook".into(),
            gate: "quality".into(),
            expose_text: false,
        };
        for (from, files, baseline) in [
            (map.clone(), Files::config_map(root), Some("b.run")),
            (map.clone(), Files::trec_config_map(root), None),
            (map, Files::jsonl_config_map(root), Some("b.run")),
            (volume("my set"), Files::beir(&below, "test"), None),
            (volume("my set"), Files::trec(&below, "test"), Some("b.run")),
            (volume("my set"), Files::jsonl(&below, "test"), None),
        ] {
            let lines = from_kept(&report, &from, (&files, root), "a.run", baseline);
            assert_eq!(lines[1], "kubectl -n team get evalgate quality -o yaml > gate.yaml");
            let args = parsed(&lines[2]);
            assert!(args.allow_missing && args.gate == Some("gate.yaml".into()), "{lines:?}");
            assert_eq!((args.candidate.as_deref(), args.baseline.as_deref()), (Some("a.run"), baseline));
            let at = |file: Option<std::path::PathBuf>| file.map(|file| root.join(file));
            let found = Files {
                form: Form::ByContent,
                queries: at(args.queries),
                qrels: at(args.qrels).unwrap(),
                slices: at(args.slices),
                nuggets: at(args.nuggets),
            };
            let digest = |files: &Files| Dataset::read(files).unwrap().digest().to_owned();
            assert_eq!(digest(&found), digest(&files), "{lines:?}");
        }
    }

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
