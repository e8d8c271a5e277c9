//! Counts and sums in the status: what a restart of the operator goes on from.
//!
//! Invariant: written with every decision, and otherwise at most once a minute (five while no candidate has weight).

use std::time::Duration;

use super::{Draft, online, watch};
use crate::api::release::{CandidateStatus, Counted, ObjectiveStatus};
use crate::evaluation::sequence::{Agreement, agrees};
use crate::worker::receipt::whole;

/// Sums are written at most this often while nothing else changes.
const SAMPLE_MOVING: Duration = Duration::from_secs(60);
const SAMPLE_SETTLED: Duration = Duration::from_secs(300);

impl Draft<'_> {
    /// Requests of both arms since the gateway took the weight.
    pub(super) fn counted(&self, candidate: &CandidateStatus) -> Counted {
        let readings = &self.seen.readings;
        if watch::step_key(&self.plan.status).as_deref() != Some(readings.step_key.as_str()) {
            let persisted = self.plan.status.traffic.as_ref().and_then(|t| t.counted.clone());
            return persisted.unwrap_or_else(|| Counted { stable: 0, candidate: 0, agrees: "Unknown".to_owned() });
        }
        let (c, s) = (readings.step_candidate.answers, readings.step_stable.answers);
        let agreement = agrees(c, s, u8::try_from(candidate.weight).unwrap_or(100));
        let agrees = match agreement {
            Agreement::True => "True",
            Agreement::False => "False",
            Agreement::Unknown => "Unknown",
        };
        Counted { stable: whole(s), candidate: whole(c), agrees: agrees.to_owned() }
    }

    /// Sums and counts go into the status with every decision, and now and then by themselves.
    pub(super) fn sample(&mut self) {
        let status = &self.plan.status;
        let candidate = status.candidate.clone().filter(|c| c.weight > 0);
        let stable = status.stable.as_ref().filter(|_| status.previous.is_some()).map(|s| s.revision.clone());
        let Some(revision) = candidate.as_ref().map(|c| c.revision.clone()).or_else(|| stable.clone()) else { return };
        let decided = self.plan.status != self.old;
        let sampled = self.old.traffic.as_ref().and_then(|t| t.sampled_at.as_deref()).map(|at| self.since(Some(at)));
        let every = if candidate.is_some() { SAMPLE_MOVING } else { SAMPLE_SETTLED };
        if !decided && sampled.is_some_and(|age| age < every) {
            return;
        }
        let outcomes = online::outcomes(&self.plan.status, &self.seen.readings, &revision);
        let of_stable = |o: &&ObjectiveStatus| o.revision != revision && Some(&o.revision) == stable.as_ref();
        let mut sums: Vec<ObjectiveStatus> = self.plan.status.online.iter().filter(of_stable).cloned().collect();
        sums.extend(online::to_status(&outcomes, &revision));
        // What was counted while the route said something else says nothing of this weight.
        let counted = candidate.as_ref().filter(|_| self.converged()).map(|c| self.counted(c));
        let before = self.plan.status.traffic.as_ref().and_then(|t| t.counted.clone());
        if sums == self.plan.status.online && counted == before {
            return;
        }
        let now = self.now_text();
        self.plan.status.online = sums;
        if let (Some(c), Some(counted)) = (self.plan.status.candidate.as_mut(), &counted) {
            c.step_requests = counted.candidate;
        }
        let drifts = |c: &Option<Counted>| c.as_ref().is_some_and(|c| c.agrees == "False");
        let again = drifts(&before) && drifts(&counted);
        if let Some(traffic) = self.plan.status.traffic.as_mut() {
            traffic.counted = counted;
            traffic.sampled_at = Some(now.clone());
            // Sums never forget: after a drift was told, counting begins anew, or its end would never be seen.
            if again {
                traffic.counted = None;
                traffic.converged_at = Some(now);
            }
        }
    }
}
