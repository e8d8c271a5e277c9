//! Figures with the machine they belong to: a table for people, one line of JSON for programs.
//!
//! Invariants: every figure keeps its single values; machine, load, commit and build are part of the report, since
//! a figure without them says nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

/// Flags of a bench.
#[derive(clap::Parser)]
struct Args {
    /// File of the JSON line; default target/bench/<subject>.json.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What one bench measured.
#[derive(Serialize)]
pub struct Report {
    subject: &'static str,
    date: String,
    commit: String,
    build: &'static str,
    small: bool,
    machine: Machine,
    /// Load average of the last minute when the bench began and when it ended.
    load: [Option<f64>; 2],
    figures: Vec<Figure>,
    notes: Vec<String>,
    #[serde(skip)]
    json: PathBuf,
}

#[derive(Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
}

/// One figure of several runs.
#[derive(Serialize)]
struct Figure {
    what: String,
    unit: &'static str,
    median: f64,
    max: f64,
    values: Vec<f64>,
}

impl Report {
    pub fn begin(subject: &'static str) -> Result<Self> {
        let args = Args::parse();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ok(Self {
            subject,
            date: jiff::Timestamp::now().to_string(),
            commit: commit(root),
            build: if cfg!(debug_assertions) { "dev (its figures mean nothing)" } else { "release" },
            small: super::small(),
            machine: machine()?,
            load: [load(), None],
            figures: Vec::new(),
            notes: Vec::new(),
            json: args.json.unwrap_or_else(|| root.join(format!("target/bench/{subject}.json"))),
        })
    }

    /// Adds a figure; several runs give several values.
    pub fn figure(&mut self, what: impl Into<String>, unit: &'static str, values: Vec<f64>) {
        // More digits than were measured help nobody.
        let values: Vec<f64> = values.into_iter().map(|value| (value * 1e3).round() / 1e3).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (Some(max), Some(median)) = (sorted.last().copied(), median(&sorted)) else { return };
        self.figures.push(Figure { what: what.into(), unit, median, max, values });
    }

    /// Adds a sentence that belongs to the figures.
    pub fn note(&mut self, words: impl Into<String>) {
        self.notes.push(words.into());
    }

    /// Prints table and JSON line, and writes the line to its file.
    pub fn finish(mut self) -> Result<()> {
        self.load[1] = load();
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(["what", "median", "max", "unit", "runs"]);
        for figure in &self.figures {
            let runs = figure.values.len().to_string();
            table.add_row([figure.what.clone(), shown(figure.median), shown(figure.max), figure.unit.to_owned(), runs]);
        }
        for column in [1, 2, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("\n{}, {}, commit {}, {} build", self.subject, self.date, self.commit, self.build);
        println!("{}, {} cores, {} MiB", self.machine.cpu, self.machine.cores, self.machine.memory_mib);
        println!("load average {} at the start, {} at the end", word(self.load[0]), word(self.load[1]));
        println!("{table}");
        for note in &self.notes {
            println!("{note}");
        }
        let line = serde_json::to_string(&self)?;
        println!("{line}");
        if let Some(parent) = self.json.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&self.json, format!("{line}\n"))
            .with_context(|| format!("cannot write {}", self.json.display()))?;
        println!("written to {}", self.json.display());
        Ok(())
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied()?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = sorted.get(middle.checked_sub(1)?).copied()?;
    Some((lower + upper) / 2.0)
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == v.trunc() => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn word(load: Option<f64>) -> String {
    load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}"))
}

fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn machine() -> Result<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let kib: u64 = memory.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let cores = std::thread::available_parallelism()?.get();
    Ok(Machine { cpu, cores, memory_mib: kib / 1024 })
}

/// The commit that is measured; uncommitted changes are said.
fn commit(root: &Path) -> String {
    let git = std::process::Command::new("git").arg("-C").arg(root).args(["describe", "--always", "--dirty"]).output();
    match git {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Ok(_) | Err(_) => "unknown".to_owned(),
    }
}
