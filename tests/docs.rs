//! The documents against the program: words, flags, metrics and links that are written are those that exist.
//!
//! Why: a reason that nobody can look up at night, or a flag that is gone, is worse than no page.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rag_operator::api::reason::{Reason, VerdictReason};
use rag_operator::embedding::probe::Cosines;
use rag_operator::evaluation::verdict;
use rag_operator::worker::serve::metrics::Metrics;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// README.md and the pages of docs/.
fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|e| e == "md"));
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// The text without fenced code.
fn prose(text: &str) -> Vec<&str> {
    let mut code = false;
    text.lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            code ^= fence;
            !(code || fence)
        })
        .collect()
}

#[test]
fn every_reason_has_one_anchor_and_no_anchor_is_left_over() {
    let text = read("docs/reasons.md");
    let anchors: Vec<&str> = prose(&text).into_iter().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut known: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    known.extend(verdict::Reason::ALL.iter().map(|r| r.as_str()));
    known.extend(VerdictReason::ALL.iter().map(|r| r.as_str()));
    let written: BTreeSet<&str> = anchors.iter().copied().collect();
    assert_eq!(anchors.len(), written.len(), "a word has two anchors");
    let missing: Vec<_> = known.difference(&written).collect();
    let left_over: Vec<_> = written.difference(&known).collect();
    assert!(missing.is_empty() && left_over.is_empty(), "missing: {missing:?}; left over: {left_over:?}");
}

#[test]
fn each_verdict_word_stands_under_its_verdict() {
    let text = read("docs/reasons.md");
    for reason in verdict::Reason::ALL {
        let heading = format!("### {}\n", reason.as_str());
        let body = text.split(&heading).nth(1).unwrap_or_default();
        let body = body.split("\n#").next().unwrap_or_default();
        let expected = format!("Verdict {}", reason.verdict());
        assert!(body.contains(&expected), "{} does not say `{expected}`", reason.as_str());
    }
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rag")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The long flags that a help text defines; a flag's line begins with it or with its short form.
fn flags(help: &str) -> BTreeSet<String> {
    let defined = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("-h, ").or_else(|| line.strip_prefix("-V, ")).unwrap_or(line);
        let name = line.strip_prefix("--")?;
        Some(name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect())
    });
    defined.filter(|name| name != "help" && name != "version").collect()
}

#[test]
fn every_flag_of_every_program_is_written_and_no_other() {
    let listed = help(&[]);
    let commands = listed.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"operator"), "{commands:?}");
    let text = read("docs/command-line.md");
    for command in commands {
        let heading = format!("\n## rag {command}\n");
        let section = text.split(&heading).nth(1).unwrap_or_else(|| panic!("no section `## rag {command}`"));
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `--"));
        let written: BTreeSet<String> =
            rows.map(|row| row.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect()).collect();
        assert_eq!(written, flags(&help(&[command])), "flags of rag {command}");
    }
}

/// First string of every `register(` in a source file.
fn registered(path: &str) -> Vec<String> {
    let source = read(path);
    let calls: Vec<&str> = source.split("register(").skip(1).collect();
    calls.iter().filter_map(|call| Some(call.trim_start().strip_prefix('"')?.split('"').next()?.to_owned())).collect()
}

#[test]
fn every_metric_is_in_operations() {
    let text = read("docs/operations.md");
    let mut names = registered("src/controller/metrics.rs");
    assert!(names.len() >= 8, "{names:?}");
    names.extend(registered("src/worker/embed/metrics.rs"));
    let server = Metrics::new("r", "v");
    server.encoder(Cosines { mean: 1.0, min: 1.0 });
    let page = server.page();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let before = names.len();
    names.extend(types.map(str::to_owned));
    assert_eq!(names.len() - before, 6, "metrics of rag serve");
    for name in names {
        // Counters are shown with `_total`, with or without labels.
        let shown = [format!("`{name}`"), format!("`{name}{{"), format!("`{name}_total`"), format!("`{name}_total{{")];
        assert!(shown.iter().any(|form| text.contains(form.as_str())), "{name} is not in docs/operations.md");
    }
}

/// Names in calls such as `var_os("NAME")`, and constants that name a variable.
fn variables(text: &str) -> Vec<String> {
    let calls = ["var(\"", "var_os(\"", "variable(\"", "const ENV_JOB: &str = \""];
    let names = calls.iter().flat_map(|call| text.split(call).skip(1)).filter_map(|rest| rest.split('"').next());
    names.filter(|n| n.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')).map(str::to_owned).collect()
}

#[test]
fn every_environment_variable_is_in_the_table_and_no_other() {
    let mut open: Vec<PathBuf> = ["src", "tests", "benches", "dev"].map(|dir| root().join(dir)).into();
    let mut used = BTreeSet::from(["RUST_LOG".to_owned(), "RAG_CLUSTER_DIR".to_owned()]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests/docs.rs") {
            used.extend(variables(&std::fs::read_to_string(&path).unwrap()));
        }
    }
    let table = read("dev/README.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next().map(str::to_owned));
    let mut written: BTreeSet<String> = rows
        .flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect();
    written.extend(["XDG_CACHE_HOME", "HOME"].map(str::to_owned));
    assert_eq!(used, written);
}

/// Anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text).into_iter().filter(|l| l.starts_with('#')).map(|l| anchor(l.trim_start_matches('#').trim())).collect()
}

/// Targets of the Markdown links of a page.
fn links(text: &str) -> Vec<String> {
    let lines = prose(text).join("\n");
    lines.split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (file, part) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !part.is_empty() {
                let found = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(found.contains(part), "{}: {link} names no heading", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} links");
}
