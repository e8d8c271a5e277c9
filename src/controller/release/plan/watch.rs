//! Which signals a release needs: plain data for the room of signals.

use kube::runtime::reflector::ObjectRef;

use super::online;
use crate::api::release::Stage;
use crate::api::{RagRelease, RagReleaseStatus};
use crate::controller::release::observe::{self, World};
use crate::controller::signals::{StepWindow, Watch};

/// The watch that the persisted state asks for; `None`: nothing to watch.
pub fn wanted(release: &RagRelease, object: ObjectRef<RagRelease>, world: &World) -> Option<Watch> {
    let status = release.status.clone().unwrap_or_default();
    let (revision, moves) = judged(&status)?;
    let interval = observe::interval(&status);
    let window = online::gates(&status).map(|g| g.window).max().unwrap_or(interval);
    let mut targets = observe::targets(world);
    let stable = status.stable.as_ref().map(|s| s.revision.clone());
    targets.retain(|r, _| *r == revision || (moves && Some(r) == stable.as_ref()));
    // A revision without a pod is listed too: nothing of it is known, which is not good news.
    targets.entry(revision.clone()).or_default();
    Some(Watch {
        object,
        interval,
        stale_after: interval.saturating_mul(2).max(interval.saturating_add(window)),
        targets,
        judged: online::judged(&status, &revision),
        step: step(&status),
        every_scrape: moves,
        ready: observe::ready(&status, world),
    })
}

/// The revision that is judged, and whether it is on its way. A settled one is judged in the rollback window
/// only: outside it there is nothing to go back to.
fn judged(status: &RagReleaseStatus) -> Option<(String, bool)> {
    if let Some(candidate) = &status.candidate {
        // While its gates run there is no traffic, but the encoder is to match at the first weight, too.
        let moves = match candidate.stage {
            Stage::Preparing | Stage::Stepping => true,
            Stage::Verifying => false,
            Stage::RollingBack => return None,
        };
        return Some((candidate.revision.clone(), moves));
    }
    let has_tests = online::gates(status).next().is_some();
    let stable = status.stable.as_ref().filter(|_| status.previous.is_some() && has_tests)?;
    Some((stable.revision.clone(), false))
}

/// Key of the counts at the present weight. They begin anew when the gateway took the route as it now stands:
/// what came before, or while the route said something else, says nothing of this weight. Until then they count
/// all the same, for an outage does not wait for a gateway's word.
pub fn step_key(status: &RagReleaseStatus) -> Option<String> {
    let candidate = status.candidate.as_ref().filter(|c| c.stage == Stage::Stepping)?;
    let converged = status.traffic.as_ref().and_then(|t| t.converged_at.as_deref()).unwrap_or("-");
    Some(format!("{}/{}/{converged}", candidate.revision, candidate.step))
}

fn step(status: &RagReleaseStatus) -> Option<StepWindow> {
    let key = step_key(status)?;
    let candidate = status.candidate.as_ref()?;
    let counted = status.traffic.as_ref().and_then(|t| t.counted.as_ref());
    let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
    Some(StepWindow {
        key,
        stable: status.stable.as_ref().map(|s| s.revision.clone()),
        candidate: candidate.revision.clone(),
        persisted_stable: counted.map_or(0, |c| unsigned(c.stable)),
        persisted_candidate: counted.map_or(0, |c| unsigned(c.candidate)),
    })
}
