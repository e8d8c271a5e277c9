//! What a release does next: pure and total, one decision a pass.
//!
//! Why one [`Draft`]: every part looks at the same observation and writes into the same status, so nothing is
//! decided twice. Invariants: a decision stands in the status before anything acts on it; down before up; a
//! weight goes up only with the world in view; what is not known is never taken for good news.

mod children;
mod climb;
mod command;
mod down;
mod evidence;
mod fit;
mod gates;
mod machine;
pub mod online;
mod restore;
mod sample;
mod scheduled;
mod seen;
mod spec;
mod start;
mod target;
pub mod verdict;
pub mod watch;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use self::spec::Validated;
use super::observe::{Observed, RouteSeen, World};
use super::traffic::{self, Acceptance, Weight};
use crate::api::release::{CandidateStatus, Failure, GatewayTraffic, Stage, TrafficStatus};
use crate::api::{RagRelease, RagReleaseStatus, Reason, names};
use crate::controller::condition::{State, parse_time, time_text};
use crate::controller::event::Note;
use crate::controller::plan::{Action, ChildKind, Plan, body};
use crate::controller::reconcile::owner;
use crate::controller::route::HTTPRoute;

/// A release that moves is looked at this often even if nothing calls.
const MOVING: Duration = Duration::from_secs(10);
/// A cluster without the HTTPRoute kind is looked at again after this time.
const NO_API: Duration = Duration::from_secs(300);
/// So is a release whose name somebody else's route has.
const FOREIGN: Duration = Duration::from_secs(60);
/// A gateway that does not answer delays a deletion by this much at most.
const DELETION: Duration = Duration::from_secs(30);
/// What could not be read is read again after this time: the change that it hides tells nobody a second time.
const OUT_OF_VIEW: Duration = Duration::from_secs(5);
/// A settled release is planned again after this time, should an event have been lost.
const SETTLED: Duration = Duration::from_secs(600);

/// Plans one pass.
pub fn plan(release: &RagRelease, seen: &Observed) -> Plan<RagReleaseStatus> {
    let mut draft = Draft::new(release, seen);
    if release.metadata.deletion_timestamp.is_some() {
        draft.delete();
        return draft.plan;
    }
    if !release.finalizers().iter().any(|f| f == names::FINALIZER) {
        draft.plan.actions.push(Action::Finalizer { present: true });
    }
    match &seen.route {
        RouteSeen::Foreign => {
            // Objects without our label are not watched: nobody tells when it is gone.
            draft.plan.look_again(FOREIGN);
            draft.conclude(words::route_not_owned(release));
            return draft.plan;
        }
        RouteSeen::ApiMissing => {
            draft.plan.look_again(NO_API);
            draft.conclude(words::gateway_api_missing());
            return draft.plan;
        }
        RouteSeen::Absent | RouteSeen::Ours(_) => {}
    }
    let spec = Validated::parse(&release.spec);
    let target = target::resolve(release, seen, &spec);
    draft.restore(&target);
    draft.commands();
    draft.unresolved = target == target::Target::Unknown;
    let state = draft.step(&target, &spec);
    draft.settle_promote(&state);
    if spec.is_ok() {
        draft.scheduled();
    }
    draft.children(&target, spec.is_ok());
    draft.route();
    draft.sample();
    if draft.world().is_none() {
        draft.plan.look_again(OUT_OF_VIEW);
    }
    draft.conclude(state);
    draft.plan
}

/// A pass in the making.
struct Draft<'a> {
    release: &'a RagRelease,
    seen: &'a Observed,
    old: RagReleaseStatus,
    plan: Plan<RagReleaseStatus>,
    commands: command::Given,
    /// The spec could not be resolved in this pass: nothing may be said of its generation.
    unresolved: bool,
}

impl<'a> Draft<'a> {
    fn new(release: &'a RagRelease, seen: &'a Observed) -> Self {
        let old = release.status.clone().unwrap_or_default();
        let plan = Plan::of(old.clone());
        Self { release, seen, old, plan, commands: command::Given::default(), unresolved: false }
    }

    fn status(&mut self) -> &mut RagReleaseStatus {
        &mut self.plan.status
    }

    fn now(&self) -> Timestamp {
        self.seen.now
    }

    fn now_text(&self) -> String {
        time_text(self.seen.now)
    }

    fn world(&self) -> Option<&'a World> {
        self.seen.world.as_ref()
    }

    fn live_route(&self) -> Option<&'a HTTPRoute> {
        match &self.seen.route {
            RouteSeen::Ours(route) => Some(route),
            RouteSeen::ApiMissing | RouteSeen::Absent | RouteSeen::Foreign => None,
        }
    }

    fn paused(&self) -> bool {
        let command = self.release.annotations().get(names::COMMAND_PAUSE);
        self.release.spec.paused || command.is_some_and(|value| value == "true")
    }

    fn since(&self, text: Option<&str>) -> Duration {
        text.and_then(parse_time).map_or(Duration::ZERO, |at| elapsed(at, self.now()))
    }

    /// The candidate as the route names it: from its first weight until the gateway took the weight away. Before
    /// it there is nothing to route to, and a backend without pods would spoil a route that works.
    fn routed_candidate(&self) -> Option<&CandidateStatus> {
        self.plan.status.candidate.as_ref().filter(|c| match c.stage {
            Stage::Preparing | Stage::Verifying => false,
            Stage::Stepping | Stage::RollingBack => true,
        })
    }

    /// The candidate's weight as decided.
    fn wanted_weight(&self) -> Weight {
        let candidate = self.plan.status.candidate.as_ref();
        candidate.and_then(|c| Weight::new(c.weight)).unwrap_or(Weight::NONE)
    }

    /// The candidate's weight that may be written now. A decision of an earlier pass whose route was never written is
    /// not carried out blindly: the weight goes up only while the candidate is seen to have a ready pod. A route that
    /// was deleted is made again with the weights as decided, for without it nothing serves.
    fn writable_weight(&self) -> Weight {
        let wanted = self.wanted_weight();
        let (Some(candidate), Some(_)) = (self.routed_candidate(), self.live_route()) else { return wanted };
        let written = self.live_weight(&candidate.revision).and_then(Weight::new).unwrap_or(Weight::NONE);
        match self.ready_pods(&candidate.revision) {
            Some(1..) => wanted,
            Some(0) | None => wanted.min(written),
        }
    }

    /// Where the spec wants the route; `None`: nowhere that a gateway would take, so a route stays where it is.
    fn place(&self) -> Option<&'a GatewayTraffic> {
        self.release.spec.traffic.gateway.as_ref().filter(|gateway| spec::place(gateway).is_ok())
    }

    /// The route with this weight at this place, or where it is; `None`: nothing is to be routed.
    fn route_with(&self, weight: Weight, gateway: Option<&GatewayTraffic>) -> Option<HTTPRoute> {
        let status = &self.plan.status;
        if gateway.is_none() {
            self.live_route()?;
        }
        let stable = status.stable.as_ref()?;
        let namespace = self.release.namespace().unwrap_or_default();
        let name = self.release.name_any();
        let wanted = traffic::Wanted {
            release: &name,
            namespace: &namespace,
            labels: crate::controller::pod::labels(&name, &self.release.uid().unwrap_or_default()),
            owner: owner(self.release),
            gateway,
            stable: &stable.revision,
            candidate: self.routed_candidate().map(|c| (c.revision.as_str(), weight)),
            step: self.routed_candidate().map_or(0, |c| c.step),
        };
        Some(traffic::render(self.live_route(), &wanted))
    }

    /// Whether the live route says what the status and the spec want, and every gateway took it.
    fn acceptance(&self) -> Acceptance {
        self.acceptance_at(self.place())
    }

    /// The same of the weights alone: whether traffic went where it was sent, wherever the spec wants the route.
    fn weights_acceptance(&self) -> Acceptance {
        self.acceptance_at(None)
    }

    fn acceptance_at(&self, gateway: Option<&GatewayTraffic>) -> Acceptance {
        match (self.live_route(), self.route_with(self.wanted_weight(), gateway)) {
            (Some(live), Some(wanted)) if traffic::same(live, &wanted) => traffic::acceptance(live),
            (None, None) if self.plan.status.stable.is_none() => Acceptance::Accepted,
            (None, None) => Acceptance::Pending,
            (Some(_), Some(_) | None) | (None, Some(_)) => Acceptance::Pending,
        }
    }

    /// Writes the route when it differs, and says who changed it when that was not us.
    fn route(&mut self) {
        let name = self.release.name_any();
        let weight = self.writable_weight();
        let (live, wanted) = (self.live_route(), self.route_with(weight, self.place()));
        let settled = self.plan.status.traffic.as_ref().is_some_and(|t| t.accepted)
            && self.old.stable == self.plan.status.stable
            && self.old.candidate.as_ref().map(|c| (&c.revision, c.weight))
                == self.plan.status.candidate.as_ref().map(|c| (&c.revision, c.weight));
        let accepted = self.acceptance() == Acceptance::Accepted;
        match (live, wanted) {
            (_, None) => {}
            (None, Some(wanted)) => {
                if settled && self.old.stable.is_some() {
                    let text = format!("HTTPRoute {name} was deleted; it is made again with the weights as decided.");
                    self.plan.events.push(Note::warning(Reason::RouteDrift, text));
                }
                let (kind, body) = (ChildKind::HttpRoute, body(&wanted));
                self.plan.actions.insert(0, Action::Create { kind, name, body });
            }
            (Some(live), Some(wanted)) if !traffic::same(live, &wanted) => {
                if settled && live.spec != wanted.spec && self.spec_is_known() {
                    let text = format!(
                        "HTTPRoute {name} was changed by {}; it is put back as decided. Change the RagRelease instead.",
                        traffic::last_editor(live)
                    );
                    self.plan.events.push(Note::warning(Reason::RouteDrift, text));
                }
                let weights = self.route_with(weight, None).filter(|weights| !traffic::same(live, weights));
                self.replace_route(name, weights, &wanted);
            }
            (Some(_), Some(_)) => {}
        }
        let written = self.plan.status.candidate.as_ref().and_then(|c| self.live_weight(&c.revision));
        let wanted_weight = i32::from(self.wanted_weight().percent());
        let now = self.now_text();
        let traffic = self.plan.status.traffic.get_or_insert_with(TrafficStatus::default);
        if traffic.wanted != wanted_weight {
            traffic.wanted = wanted_weight;
            traffic.counted = None;
        }
        traffic.written = written;
        if traffic.accepted != accepted {
            traffic.accepted = accepted;
            traffic.converged_at = accepted.then_some(now);
        }
    }

    /// Weight that the live route gives a revision.
    fn live_weight(&self, revision: &str) -> Option<i32> {
        self.live_route().and_then(|route| traffic::written(route, &self.release.name_any(), revision))
    }

    /// Whether the spec that the route is rendered from is the one that was last acted on.
    fn spec_is_known(&self) -> bool {
        self.old.observed_generation == self.release.metadata.generation.unwrap_or(0)
    }

    /// Weights and place are written apart, weights first: a host name that is refused keeps nobody on a bad revision.
    /// Where the route stands may be what is refused now: then both go in one write. A write that fails may end the pass,
    /// so nothing may stand before the weights, and nothing waits for the place.
    fn replace_route(&mut self, name: String, weights: Option<HTTPRoute>, wanted: &HTTPRoute) {
        let kind = ChildKind::HttpRoute;
        match weights {
            Some(weights) => {
                let moves = weights.spec != wanted.spec;
                let otherwise = moves.then(|| body(wanted));
                self.plan.actions.insert(0, Action::Replace { kind, name, body: body(&weights), otherwise });
            }
            None => self.plan.actions.push(Action::Replace { kind, name, body: body(wanted), otherwise: None }),
        }
    }

    /// The candidate's weight goes first, then the route, so that users meet stable, then an absent route, and at no
    /// time a broken backend; the rest is collected through its owner references.
    fn delete(&mut self) {
        let asked = self.release.metadata.deletion_timestamp.as_ref().map(|at| elapsed(at.0, self.now()));
        let patient = asked.is_none_or(|since| since < DELETION);
        if patient && self.takes_weight_away() {
            self.plan.look_again(Duration::from_secs(1));
            let text = "The candidate's weight is taken away first, then the route is removed, then the pods.";
            self.conclude(State::waiting(Reason::Deleting, text));
            return;
        }
        let route = self.live_route().and_then(|route| Action::delete(ChildKind::HttpRoute, &route.metadata));
        self.plan.actions.extend(route);
        if self.release.finalizers().iter().any(|f| f == names::FINALIZER) {
            self.plan.actions.push(Action::Finalizer { present: false });
        }
        self.conclude(State::waiting(Reason::Deleting, "Its route is removed first, then its pods."));
    }

    /// Whether a candidate still had a weight, or the gateway has not taken it away yet.
    fn takes_weight_away(&mut self) -> bool {
        let Some(candidate) = self.plan.status.candidate.clone() else { return false };
        if self.live_route().is_none() || self.plan.status.stable.is_none() {
            return false;
        }
        if candidate.weight > 0 {
            let message = format!("Revision {} was withdrawn: the release is deleted.", candidate.revision);
            let failure = Failure { reason: Reason::Superseded.as_str().to_owned(), message };
            self.withdraw(&candidate, failure);
        }
        if candidate.weight == 0 && self.weights_acceptance() == Acceptance::Accepted {
            return false;
        }
        self.route();
        true
    }
}

/// Time between two instants; a clock that went back gives none.
fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}
