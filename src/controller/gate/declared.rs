//! The spec of an EvalGate as checked values.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::EvalGate;
use crate::api::gate::{Baseline, Dataset, DatasetFormat, EvalGateSpec, Objective, OnlineGate, RetrievalGate, Signal};
use crate::controller::schedule::Schedule;
use crate::controller::spec::{Invalid, below_root, data_from, duration};
use crate::worker::job::Judging;
use crate::worker::signals::BUCKETS_MS;

/// What may follow their names: nothing, or that of a packed file.
const ENDINGS: [&str; 3] = ["", ".gz", ".zst"];
const SECOND: Duration = Duration::from_secs(1);

/// What a gate measures.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared<'a> {
    Retrieval(Retrieval<'a>),
    Online(Online<'a>),
}

/// An offline gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Retrieval<'a> {
    /// As it is written.
    pub spec: &'a RetrievalGate,
    pub dataset: &'a Dataset,
    pub judging: Judging,
    /// Whether the candidate is compared with the stable revision.
    pub compared: bool,
    /// Time limit of a Job.
    pub timeout: Duration,
}

/// An online gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Online<'a> {
    pub objectives: &'a [Objective],
    pub interval: Duration,
    /// Beyond the interval: how late a reading may be.
    pub window: Duration,
}

/// Checks all that the CRD states, since stored objects may predate it.
pub fn parse(gate: &EvalGate) -> Result<Declared<'_>, Invalid> {
    let spec = &gate.spec;
    let timeout = duration("spec.timeout", &spec.timeout, SECOND, Duration::from_secs(24 * 3600))?;
    if !(0..=10).contains(&spec.retries) {
        return Err(Invalid::new("spec.retries", format!("is {}; it must be from 0 to 10", spec.retries)));
    }
    match (&spec.schedule, &spec.time_zone) {
        (Some(_), _) if spec.retrieval.is_none() => {
            let problem = "needs `spec.retrieval`: an online gate watches all the time; leave it out";
            return Err(Invalid::new("spec.schedule", problem));
        }
        (Some(schedule), zone) => {
            Schedule::parse(schedule, zone.as_deref()).map_err(|problem| Invalid::new("spec.schedule", problem))?;
        }
        (None, Some(_)) => {
            return Err(Invalid::new("spec.timeZone", "needs `spec.schedule`; set it, or leave both out"));
        }
        (None, None) => {}
    }
    report(spec)?;
    match (&spec.retrieval, &spec.online) {
        (Some(gate), None) => Ok(Declared::Retrieval(retrieval(gate, timeout)?)),
        (None, Some(gate)) => Ok(Declared::Online(online(gate)?)),
        (Some(_), Some(_)) | (None, None) => {
            Err(Invalid::new("spec", "must hold exactly one of `retrieval` and `online`"))
        }
    }
}

fn report(spec: &EvalGateSpec) -> Result<(), Invalid> {
    let Some(report) = &spec.report else {
        if spec.expose_text {
            let problem = "says what a report may show; set `spec.report` too, or remove it";
            return Err(Invalid::new("spec.exposeText", problem));
        }
        return Ok(());
    };
    if spec.retrieval.is_none() {
        return Err(Invalid::new("spec.report", "belongs to a gate with `spec.retrieval`; remove it here"));
    }
    // Claim and path become part of an address that a receipt has room for.
    for (field, text) in [("claimName", &report.claim_name), ("path", &report.path)] {
        if text.len() > 63 {
            let problem = format!("has {} bytes; it must have at most 63", text.len());
            return Err(Invalid::new(format!("spec.report.{field}"), problem));
        }
    }
    if report.claim_name.is_empty() {
        return Err(Invalid::new("spec.report.claimName", "is empty; write the name of a PersistentVolumeClaim"));
    }
    below_root("spec.report.path", &report.path)
}

fn retrieval(gate: &RetrievalGate, timeout: Duration) -> Result<Retrieval<'_>, Invalid> {
    let field = "spec.retrieval";
    let from = &gate.dataset.from;
    data_from(&format!("{field}.dataset.from"), from)?;
    let keys = from.config_map.as_ref().map(|map| map.keys.as_slice()).unwrap_or_default();
    let files = files(gate.dataset.format);
    let listed = |file: &str| keys.iter().any(|key| key.strip_prefix(file).is_some_and(|end| ENDINGS.contains(&end)));
    if let Some(missing) = files.iter().find(|file| !keys.is_empty() && !listed(file)) {
        let all = files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(" and ");
        let problem = format!("leaves `{missing}` out; list {all}, or leave the field out");
        return Err(Invalid::new(format!("{field}.dataset.from.configMap.keys"), problem));
    }
    let split = &gate.dataset.split;
    let word = !split.is_empty() && split.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !word || split.len() > 63 {
        let problem = format!(
            "is `{split}`; write 1 to 63 letters, digits, `_` or `-`, such as `test`: the name of the file in `qrels`"
        );
        return Err(Invalid::new(format!("{field}.dataset.split"), problem));
    }
    if gate.statistics.seed < 0 {
        let problem = format!("is {}; write 0 or more", gate.statistics.seed);
        return Err(Invalid::new(format!("{field}.statistics.seed"), problem));
    }
    Ok(Retrieval {
        spec: gate,
        dataset: &gate.dataset,
        judging: Judging::of(&gate.metrics, &gate.statistics, gate.slices.as_ref(), gate.max_cumulative_drop)
            .map_err(|(part, problem)| Invalid::new(format!("{field}.{part}"), format!("is wrong: {problem}")))?,
        compared: gate.baseline == Baseline::Stable,
        timeout,
    })
}

/// Files that a ConfigMap with a data set must hold.
fn files(format: DatasetFormat) -> &'static [&'static str] {
    match format {
        DatasetFormat::Beir => &["queries.jsonl", "qrels.tsv"],
        DatasetFormat::Trec => &["queries.tsv", "qrels.txt"],
        DatasetFormat::Jsonl => &["dataset.jsonl"],
    }
}

fn online(gate: &OnlineGate) -> Result<Online<'_>, Invalid> {
    let field = "spec.online";
    let most = Duration::from_secs(300);
    let interval = duration(&format!("{field}.interval"), &gate.interval, SECOND, most)?;
    let window = duration(&format!("{field}.window"), &gate.window, SECOND, most)?;
    let objectives = &gate.objectives;
    if objectives.is_empty() || objectives.len() > 8 {
        let problem = format!("has {} entries; it must have 1 to 8", objectives.len());
        return Err(Invalid::new(format!("{field}.objectives"), problem));
    }
    let mut names = BTreeSet::new();
    for (i, objective) in objectives.iter().enumerate() {
        let field = format!("{field}.objectives[{i}]");
        if !names.insert(&objective.name) {
            let problem = format!("is `{}` a second time; give each objective a name of its own", objective.name);
            return Err(Invalid::new(format!("{field}.name"), problem));
        }
        check(&field, objective)?;
    }
    Ok(Online { objectives, interval, window })
}

fn check(field: &str, objective: &Objective) -> Result<(), Invalid> {
    if !(0.0..=0.999).contains(&objective.max) {
        let problem = format!("is {}; it is a share: write a number from 0 to 0.999", objective.max);
        return Err(Invalid::new(format!("{field}.max"), problem));
    }
    let field = format!("{field}.threshold");
    match (objective.signal, &objective.threshold) {
        (Signal::SlowRate, Some(threshold)) if milliseconds(threshold).is_some() => Ok(()),
        (Signal::SlowRate, found) => {
            let found = found.as_deref().map_or("missing".to_owned(), |found| format!("`{found}`"));
            let bounds = BUCKETS_MS.map(bound).join(" ");
            let problem = format!("is {found}; write one of {bounds}: the pods count answers in these buckets");
            Err(Invalid::new(field, problem))
        }
        (Signal::ErrorRate | Signal::EmptyRate, None) => Ok(()),
        (Signal::ErrorRate | Signal::EmptyRate, Some(found)) => {
            Err(Invalid::new(field, format!("is `{found}`, but belongs to signal SlowRate only; remove it")))
        }
    }
}

/// A threshold as a bound of the buckets in which the pods count.
fn milliseconds(threshold: &str) -> Option<u32> {
    BUCKETS_MS.into_iter().find(|ms| bound(*ms) == threshold)
}

/// A bound as users write it: `250ms`, `1s`.
fn bound(ms: u32) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}
