//! A status that was lost (a restore, an edit by hand): what serves is read from the route.
//!
//! Why: an empty status would count as a first release, which has no canary and nothing to compare with, and what had
//! failed before would be tried again on users. Invariants: only the name of stable is taken over; a weight for which
//! nobody remembers evidence is none; nothing starts or is removed until the spec asks for stable or a person names
//! what it asks for; a command that was given before does not take effect again.

use kube::ResourceExt;

use super::target::Target;
use super::{Draft, command};
use crate::api::release::RevisionStatus;
use crate::api::{Reason, names};
use crate::controller::condition::State;
use crate::controller::event::Note;
use crate::controller::release::revision::Snapshot;

impl Draft<'_> {
    /// Takes over what is left of a release. Needs the world: what is not seen may still be there.
    pub(super) fn restore(&mut self, target: &Target) {
        let status = &self.plan.status;
        let began = status.stable.is_some() || status.candidate.is_some() || status.restored_at.is_some();
        let ended = !status.history.is_empty() || !status.failed_revisions.is_empty();
        if began || ended || self.world().is_none() {
            return;
        }
        let named = self.live_route().and_then(|route| route.annotations().get(names::ANNOTATION_STABLE));
        let named = named.filter(|revision| self.live_weight(revision).is_some()).cloned();
        let kept = self.kept();
        let text = match (&named, kept.is_empty()) {
            (None, true) => return,
            (Some(revision), _) => format!(
                "The status was empty: revision {revision} is stable again, as HTTPRoute {} says. What was failed, \
                 handled or on its way before is not known any more.",
                self.release.name_any()
            ),
            (None, false) => format!(
                "The status was empty and no HTTPRoute says what served, but snapshots are left of {}: this is no first \
                 release.",
                kept.join(", ")
            ),
        };
        self.plan.events.push(Note::warning(Reason::StatusRestored, text));
        self.plan.status.restored_at = Some(self.now_text());
        self.plan.status.stable = named.map(|revision| self.adopted(revision, target));
        self.forget_commands();
    }

    fn adopted(&self, revision: String, target: &Target) -> RevisionStatus {
        let asked = match target {
            Target::Revision(asked) if asked.revision == revision => Some(asked.as_ref().clone()),
            Target::Revision(_) | Target::Waiting { .. } | Target::Wrong { .. } | Target::Unknown => None,
        };
        let snapshot = self.snapshot(&revision).or(asked);
        RevisionStatus {
            version: snapshot.as_ref().map_or_else(|| "unknown".to_owned(), Snapshot::version_text),
            image: snapshot.map(|s| s.image).unwrap_or_default(),
            revision,
            weight: 100,
            since: self.now_text(),
            evidence: Vec::new(),
        }
    }

    /// Revisions of which a snapshot is left.
    fn kept(&self) -> Vec<String> {
        let snapshots = self.world().map(|world| world.snapshots.as_slice()).unwrap_or_default();
        let mut kept: Vec<String> =
            snapshots.iter().filter_map(|s| s.labels().get(names::LABEL_REVISION).cloned()).collect();
        kept.sort();
        kept
    }

    /// Why nothing starts after a status was lost, unless a promote that is given now names what the spec asks for.
    pub(super) fn held_after_restore(&mut self, asked: &Snapshot) -> Option<State> {
        self.plan.status.restored_at.as_ref()?;
        let given = self.commands.promote.as_ref();
        if given.is_some_and(|(_, value)| command::parse(value).subject == asked.revision) {
            self.use_promote();
            self.plan.status.restored_at = None;
            return None;
        }
        let left = match &self.plan.status.stable {
            Some(_) => String::new(),
            None => format!(" Snapshots are left of {}.", self.kept().join(", ")),
        };
        let text = format!(
            "The status was lost, so nobody knows whether revision {}, which the spec asks for, failed before.{left} Start \
             it with {}, or put back what served into the spec.",
            asked.revision,
            self.command("promote", &asked.revision)
        );
        Some(State::stalled(Reason::StatusRestored, self.beside(&text)))
    }
}
