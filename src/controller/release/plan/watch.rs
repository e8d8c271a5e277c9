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
    let interval = observe::interval(&status, &revision);
    let window = online::gates(&status, &revision).map(|g| g.window).max().unwrap_or(interval);
    let mut targets = observe::targets(world);
    let stable = status.stable.as_ref().map(|s| &s.revision);
    let candidate = status.candidate.as_ref().map(|c| &c.revision);
    targets.retain(|r, _| *r == revision || Some(r) == candidate || (moves && Some(r) == stable));
    // A revision without a pod is listed too: nothing of it is known, which is not good news.
    for asked in candidate.into_iter().chain([&revision]) {
        targets.entry(asked.clone()).or_default();
    }
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

/// The revision that is judged, and whether something is on its way. Stable is judged in the rollback window only,
/// for outside it there is nothing to go back to, and as long as a candidate has no weight.
fn judged(status: &RagReleaseStatus) -> Option<(String, bool)> {
    let stable = status.stable.as_ref().map(|s| s.revision.clone()).filter(|_| status.previous.is_some());
    let stable = stable.filter(|revision| online::gates(status, revision).next().is_some());
    let Some(candidate) = &status.candidate else { return stable.map(|revision| (revision, false)) };
    // While its gates run there is no traffic, but the encoder is to match at the first weight, too.
    let moves = match candidate.stage {
        Stage::Preparing | Stage::Stepping => true,
        Stage::Verifying => false,
        Stage::RollingBack => return None,
    };
    let stable = stable.filter(|_| candidate.weight == 0);
    Some((stable.unwrap_or_else(|| candidate.revision.clone()), moves))
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
