//! Children of a release: a snapshot, a Deployment and a Service for each revision in use.
//!
//! Invariants: nothing that serves or may be gone back to is deleted; a child that differs from its snapshot is
//! put back; what is not known is left alone.

use std::collections::BTreeSet;

use kube::{Resource, ResourceExt};

use super::target::Target;
use super::{Draft, FOREIGN};
use crate::api::names;
use crate::controller::plan::{Action, ChildKind, body, put};
use crate::controller::read::Referred;
use crate::controller::release::render;
use crate::controller::release::revision::Snapshot;
use crate::controller::release::traffic::{service_name, written};

impl Draft<'_> {
    /// Makes, mends and removes children. Without the world in view nothing is touched, and from a wrong spec
    /// nothing is made.
    pub(super) fn children(&mut self, target: &Target, valid: bool) {
        let Some(world) = self.world() else { return };
        let status = &self.plan.status;
        let mut used: BTreeSet<String> = BTreeSet::new();
        used.extend(status.stable.as_ref().map(|s| s.revision.clone()));
        used.extend(status.candidate.as_ref().map(|c| c.revision.clone()));
        used.extend(status.previous.as_ref().map(|p| p.revision.clone()));
        for revision in used.iter().filter(|_| valid) {
            let kept = self.snapshot(revision);
            let snapshot = match (kept, target) {
                (Some(snapshot), _) => snapshot,
                (None, Target::Revision(wanted)) if wanted.revision == *revision => {
                    let number = world.snapshots.iter().map(|s| s.revision).max().unwrap_or(0).saturating_add(1);
                    let body = render::snapshot(self.release, wanted, number);
                    let name = service_name(&self.release.name_any(), revision);
                    self.write(Some(Action::Create { kind: ChildKind::ControllerRevision, name, body }));
                    wanted.as_ref().clone()
                }
                (None, _) => continue,
            };
            self.ensure(&snapshot);
        }
        // After a status was lost, what is used is not known before it is decided what goes on.
        if self.plan.status.restored_at.is_none() {
            self.remove_unused(&used);
        }
    }

    fn ensure(&mut self, snapshot: &Snapshot) {
        let Some(world) = self.world() else { return };
        let Some(Referred::Here(model)) = world.models.get(&snapshot.model) else { return };
        let one_node = world.one_node_claims.contains(&snapshot.claim);
        let Some(deployment) = render::deployment(self.release, &self.seen.config, snapshot, model, one_node) else {
            return;
        };
        let service = render::service(self.release, &snapshot.revision);
        let name = service_name(&self.release.name_any(), &snapshot.revision);
        let live = world.deployments.iter().find(|d| d.name_any() == name).map(body);
        self.write(put(ChildKind::Deployment, &name, live.as_ref(), deployment));
        let live = world.services.iter().find(|s| s.name_any() == name).map(body);
        self.write(put(ChildKind::Service, &name, live.as_ref(), service));
    }

    /// Where something foreign stands nothing is made, and nobody tells when it is gone: it is not watched.
    fn write(&mut self, action: Option<Action>) {
        let stands = |kind: &ChildKind, name: &String| {
            self.world().is_some_and(|world| world.in_the_way.contains(&(*kind, name.clone())))
        };
        match action {
            Some(Action::Create { kind, name, .. }) if stands(&kind, &name) => self.plan.look_again(FOREIGN),
            action => self.plan.actions.extend(action),
        }
    }

    fn remove_unused(&mut self, used: &BTreeSet<String>) {
        let Some(world) = self.world() else { return };
        let release = self.release.name_any();
        let live = self.live_route();
        let unused = |labels: &std::collections::BTreeMap<String, String>| {
            let revision = labels.get(names::LABEL_REVISION)?;
            // The live route decides, not what was decided about it.
            let routed = live.and_then(|route| written(route, &release, revision)).unwrap_or(0) > 0;
            (!used.contains(revision) && !routed).then_some(())
        };
        let mut actions = Vec::new();
        let mut delete = |kind: ChildKind, meta: &kube::core::ObjectMeta| {
            let labels = meta.labels.clone().unwrap_or_default();
            if unused(&labels).is_some() {
                actions.extend(Action::delete(kind, meta));
            }
        };
        world.deployments.iter().for_each(|d| delete(ChildKind::Deployment, d.meta()));
        world.services.iter().for_each(|s| delete(ChildKind::Service, s.meta()));
        world.snapshots.iter().for_each(|s| delete(ChildKind::ControllerRevision, s.meta()));
        self.plan.actions.extend(actions);
    }
}
