//! What gates measured of a revision before it was promoted: kept with it, so that it goes and comes back with it.
//!
//! Invariants: sums count revisions that were promoted and still stand, since the anchor; another dataset begins anew.

use std::collections::BTreeMap;

use super::Draft;
use crate::api::release::{FrozenGate, GateEvidence, GateProgress, MetricEvidence, When};

impl Draft<'_> {
    /// The evidence of a revision that is promoted now.
    pub(super) fn evidence(&self, revision: &str) -> Vec<GateEvidence> {
        let status = &self.plan.status;
        let plan = status.plan.iter().filter(|plan| plan.revision == revision);
        let gates = plan.flat_map(|plan| &plan.gates).filter(|gate| gate.when == When::BeforeTraffic);
        gates
            .filter_map(|gate| {
                let measured = |run: &&GateProgress| run.name == gate.name && run.revision == revision;
                let run = status.gates.iter().find(measured).filter(|run| !run.metrics.is_empty())?;
                let before = self.evidence_of_stable(gate);
                let metrics = run.metrics.iter().map(|metric| MetricEvidence {
                    name: metric.name.clone(),
                    mean: metric.candidate,
                    since_anchor: six(since_anchor(before, &metric.name) + metric.difference.unwrap_or(0.0)),
                });
                Some(GateEvidence {
                    gate: gate.name.clone(),
                    dataset_digest: gate.dataset_digest.clone()?,
                    anchored_at: before.map_or_else(|| self.now_text(), |before| before.anchored_at.clone()),
                    metrics: metrics.collect(),
                })
            })
            .collect()
    }

    /// What stable's evidence says of this gate on the same dataset.
    pub(super) fn evidence_of_stable(&self, gate: &FrozenGate) -> Option<&GateEvidence> {
        let of_stable = self.plan.status.stable.iter().flat_map(|stable| &stable.evidence);
        let same = |e: &&GateEvidence| e.gate == gate.name && Some(&e.dataset_digest) == gate.dataset_digest.as_ref();
        of_stable.into_iter().find(same)
    }

    /// For each metric of a gate what the revisions promoted since the anchor lost or won.
    pub(super) fn promoted_differences(&self, gate: &FrozenGate) -> Vec<f64> {
        let before = self.evidence_of_stable(gate);
        let metrics = gate.spec.retrieval.iter().flat_map(|retrieval| &retrieval.metrics);
        metrics.map(|metric| since_anchor(before, &metric.name)).collect()
    }

    /// The means that a gate measured of stable before it was promoted, by metric.
    pub(super) fn means_at_promotion(&self, gate: &FrozenGate) -> BTreeMap<String, f64> {
        let metrics = self.evidence_of_stable(gate).into_iter().flat_map(|evidence| &evidence.metrics);
        metrics.map(|metric| (metric.name.clone(), metric.mean)).collect()
    }

    /// The sums begin anew; `false`: there are none.
    pub(super) fn reset_anchor(&mut self) -> bool {
        let now = self.now_text();
        let status = &mut self.plan.status;
        let stable = status.stable.iter_mut().flat_map(|stable| &mut stable.evidence);
        let previous = status.previous.iter_mut().flat_map(|previous| &mut previous.evidence);
        let mut any = false;
        for evidence in stable.chain(previous) {
            any = true;
            evidence.anchored_at.clone_from(&now);
            evidence.metrics.iter_mut().for_each(|metric| metric.since_anchor = 0.0);
        }
        any
    }
}

fn since_anchor(evidence: Option<&GateEvidence>, metric: &str) -> f64 {
    let metrics = evidence.into_iter().flat_map(|evidence| &evidence.metrics);
    metrics.into_iter().find(|known| known.name == metric).map_or(0.0, |known| known.since_anchor)
}

fn six(x: f64) -> f64 {
    (x * 1e6).round() / 1e6 + 0.0
}
