//! A status that was lost (a restore, an edit by hand): what serves is read from the route.
//!
//! Why: an empty status would count as a first release, which has no canary and nothing to compare with.
//! Invariant: only the name of stable is taken over; a weight for which nobody remembers evidence is none.

use kube::ResourceExt;

use super::Draft;
use crate::api::release::RevisionStatus;
use crate::api::{Reason, names};
use crate::controller::event::Note;

impl Draft<'_> {
    /// Takes stable over from a route of ours. Needs the world: without its snapshot a revision has no version.
    pub(super) fn restore(&mut self) {
        let status = &self.plan.status;
        let lost = status.stable.is_none() && status.candidate.is_none() && status.history.is_empty();
        let Some(revision) = self.live_route().and_then(|route| route.annotations().get(names::ANNOTATION_STABLE))
        else {
            return;
        };
        if !lost || self.live_weight(revision).is_none() {
            return;
        }
        let Some(snapshot) = self.snapshot(revision) else { return };
        let now = self.now_text();
        self.plan.status.stable = Some(RevisionStatus {
            revision: revision.clone(),
            version: snapshot.version_text(),
            weight: 100,
            image: snapshot.image,
            since: now,
            evidence: Vec::new(),
        });
        let text = format!(
            "The status was empty: revision {revision} is stable again, as HTTPRoute {} says. What was failed, handled \
             or on its way before is not known any more.",
            self.release.name_any()
        );
        self.plan.events.push(Note::warning(Reason::StatusRestored, text));
    }
}
