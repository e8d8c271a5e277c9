//! Results of a gate, collected from the releases that asked for them.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::api::gate::GateRun;
use crate::api::release::GateProgress;
use crate::api::{EvalGate, RagRelease};
use crate::controller::event::cut;

/// Most results that are listed.
const MOST: usize = 20;
/// Most bytes of the list: a status stays small, whatever its messages say.
const MOST_BYTES: usize = 24 * 1024;

/// What is listed already and what releases have found since, newest first; each Job once.
pub fn collect(gate: &EvalGate, releases: &[RagRelease]) -> Vec<GateRun> {
    let name = gate.name_any();
    let listed = gate.status.iter().flat_map(|status| &status.last_runs).cloned();
    let found = releases.iter().flat_map(|release| {
        let of = release.name_any();
        let runs = release.status.iter().flat_map(|status| &status.gates).map(|run| (run, false));
        let scheduled = release.status.iter().flat_map(|status| &status.scheduled).map(|s| (&s.run, true));
        let named = runs.chain(scheduled).filter(|(run, _)| run.name == name);
        named.filter_map(move |(run, scheduled)| finished(&of, run, scheduled)).collect::<Vec<_>>()
    });
    let by_job: BTreeMap<String, GateRun> = listed.chain(found).map(|run| (run.job.clone(), run)).collect();
    let mut runs: Vec<GateRun> = by_job.into_values().collect();
    runs.sort_by(|a, b| b.finished_at.cmp(&a.finished_at).then_with(|| a.job.cmp(&b.job)));
    runs.truncate(MOST);
    while runs.len() > 1 && bytes(&runs) > MOST_BYTES {
        runs.pop();
    }
    runs
}

fn finished(release: &str, run: &GateProgress, scheduled: bool) -> Option<GateRun> {
    Some(GateRun {
        release: release.to_owned(),
        revision: run.revision.clone(),
        baseline: run.baseline.clone(),
        scheduled,
        verdict: run.verdict?,
        reason: run.reason.clone().unwrap_or_default(),
        message: cut(run.message.as_deref().unwrap_or_default()),
        n: run.n.unwrap_or(0),
        metrics: run.metrics.clone(),
        required_queries: run.required_queries,
        worst_slice: run.worst_slice.clone(),
        report: run.report.clone(),
        job: run.job.clone()?,
        finished_at: run.finished_at.clone()?,
    })
}

fn bytes(runs: &[GateRun]) -> usize {
    serde_json::to_string(runs).map_or(usize::MAX, |text| text.len())
}
