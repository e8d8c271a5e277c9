//! A status that grows for years fits into 32 KiB.
//!
//! Why: it is written with every decision and read by everything that lists releases. Invariants: only texts and old
//! history give way, never what a decision needs (revisions, commands, numbers, what was frozen), so that a release of
//! many large gates may be larger; the same status gives way in the same manner, so that nothing is written twice.

use crate::api::RagReleaseStatus;
use crate::controller::text::shortened;

/// Most bytes of a status as JSON.
pub const MOST: usize = 32 * 1024;

/// What gives way, one after the other, until it fits.
const STEPS: [fn(&mut RagReleaseStatus); 6] = [
    |status| {
        let old = status.failed_revisions.len().saturating_sub(1);
        status.failed_revisions.iter_mut().take(old).for_each(|failed| cut(&mut failed.message, 200));
    },
    |status| {
        status.history.iter_mut().for_each(|entry| cut(&mut entry.message, 80));
        status.commands.iter_mut().for_each(|command| cut(&mut command.outcome, 80));
    },
    |status| {
        let runs = status.scheduled.iter_mut().map(|scheduled| &mut scheduled.run).chain(&mut status.gates);
        runs.filter_map(|run| run.message.as_mut()).for_each(|text| cut(text, 300));
        status.scheduled.iter_mut().filter_map(|s| s.failed.as_mut()).for_each(|text| cut(text, 300));
    },
    |status| status.conditions.iter_mut().for_each(|condition| cut(&mut condition.message, 1_000)),
    |status| {
        let old = status.history.len().saturating_sub(5);
        status.history.drain(..old);
    },
    |status| status.conditions.iter_mut().for_each(|condition| cut(&mut condition.message, 300)),
];

/// Makes a status fit.
pub fn fit(status: &mut RagReleaseStatus) {
    for step in STEPS {
        if size(status) <= MOST {
            return;
        }
        step(status);
    }
}

pub fn size(status: &RagReleaseStatus) -> usize {
    serde_json::to_vec(status).map_or(0, |bytes| bytes.len())
}

fn cut(text: &mut String, most: usize) {
    *text = shortened(text, most);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// As large as its bounds allow beside the numbers of two gates.
    fn grown() -> RagReleaseStatus {
        let text = |n: usize| "x".repeat(n);
        let many = |n: usize, one: &dyn Fn(usize) -> Value| (0..n).map(one).collect::<Vec<_>>();
        let at = "2026-01-01T00:00:00Z";
        let run = |i: usize| json!({"name": format!("g{i}"), "revision": "r", "attempt": 1, "message": text(1_200)});
        let status = json!({
            "failedRevisions": many(20, &|i| json!({"revision": format!("{i:010}"), "reason": "SloBreached", "message": text(1_200), "at": at})),
            "history": many(20, &|i| json!({"revision": format!("{i:010}"), "version": "docs/v1", "outcome": "RolledBack", "message": text(300), "at": at})),
            "commands": many(20, &|i| json!({"command": "retry", "value": format!("{i}{}", text(250)), "manager": text(128), "outcome": text(300), "at": at})),
            "gates": many(2, &run),
            "scheduled": many(2, &|i| json!({"begunAt": at, "failed": text(1_200), "run": run(i)})),
            "conditions": many(3, &|i| json!({"type": format!("T{i}"), "status": "True", "reason": "R", "message": text(4_096), "observedGeneration": 1, "lastTransitionTime": at})),
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn only_texts_and_history_give_way_and_always_in_the_same_manner() {
        let before = grown();
        assert!(size(&before) > 50_000);
        let mut after = before.clone();
        fit(&mut after);
        assert!(size(&after) <= MOST, "{}", size(&after));
        let needed = |status: &RagReleaseStatus| {
            let failed: Vec<_> =
                status.failed_revisions.iter().map(|f| (f.revision.clone(), f.reason.clone())).collect();
            let commands: Vec<_> = status.commands.iter().map(|c| (c.command.clone(), c.value.clone())).collect();
            (failed, commands, status.gates.len(), status.scheduled.len())
        };
        assert_eq!(needed(&before), needed(&after));
        assert_eq!(before.failed_revisions.last(), after.failed_revisions.last(), "the newest speaks in full");
        let mut again = after.clone();
        fit(&mut again);
        assert_eq!(again, after);
        // The next pass says what it has to say anew.
        again.conditions.clone_from(&before.conditions);
        fit(&mut again);
        assert_eq!(again, after);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut status = grown();
        status.failed_revisions.truncate(3);
        status.commands.clear();
        status.conditions.clear();
        let before = status.clone();
        fit(&mut status);
        assert_eq!(status, before);
    }
}
