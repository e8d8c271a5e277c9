//! What must hold in every pass, whatever happened before.

use kube::ResourceExt;

use super::super::fit;
use super::sim::Sim;
use super::world::RELEASE;
use crate::api::ConditionType;
use crate::api::gate::VerdictWord;
use crate::api::release::{RagReleaseStatus, Stage};
use crate::controller::condition::is_true;
use crate::controller::plan::{Action, ChildKind, Plan};
use crate::controller::release::observe::{self, Observed, RouteSeen};
use crate::controller::release::traffic;
use crate::controller::route::HTTPRoute;

impl Sim {
    /// Panics with what is broken.
    pub fn check(&self, plan: &Plan<RagReleaseStatus>, seen: &Observed) {
        let (old, new) = (self.status(), &plan.status);
        weights_are_sane(new);
        self.goes_up_only_with_evidence(&old, new, seen);
        failed_stays_failed(&old, new);
        self.goes_down_to_what_answers(&old, new, seen);
        route_says_what_is_persisted(plan, seen);
        deletes_nothing_in_use(plan, seen);
        self.status_is_honest(plan, seen);
        status_is_bounded(new);
    }

    fn goes_up_only_with_evidence(&self, old: &RagReleaseStatus, new: &RagReleaseStatus, seen: &Observed) {
        let before = old.candidate.as_ref().map_or(0, |c| c.weight);
        let first = old.stable.is_none() && old.candidate.is_some() && new.stable.is_some();
        let promoted = first || old.stable.as_ref().map(|s| &s.revision) != new.stable.as_ref().map(|s| &s.revision);
        let rises = new.candidate.as_ref().is_some_and(|c| c.weight > before);
        if !(rises || first) {
            if promoted && new.previous.is_some() {
                assert_eq!(before, 100, "promoted from {before} %");
            }
            return;
        }
        assert!(seen.world.is_some(), "goes up without the world in view");
        assert!(!self.release.spec.paused, "goes up in a pause");
        let revision = match &new.candidate {
            Some(candidate) => &candidate.revision,
            None => &new.stable.as_ref().unwrap().revision,
        };
        assert!(!self.not_ready.contains(revision), "goes up without ready pods");
        assert!(!self.no_match.contains(revision), "goes up with an encoder that does not match");
        for gate in &new.gates {
            assert_eq!(&gate.revision, revision, "evidence of another revision");
            let passed = gate.verdict == Some(VerdictWord::Pass);
            let accepted = gate.verdict == Some(VerdictWord::Inconclusive) && gate.accepted;
            assert!(passed || accepted, "goes up while gate {} is {:?}", gate.name, gate.verdict);
        }
        let frozen = new.plan.as_ref().unwrap();
        assert_eq!(&frozen.revision, revision, "the plan of another revision");
        let asked = frozen.gates.iter().filter(|g| g.spec.retrieval.is_some()).count();
        assert_eq!(asked, new.gates.len(), "a gate was left out");
        let Some(candidate) = new.candidate.as_ref().filter(|_| rises) else { return };
        let steps: Vec<i32> = frozen.steps.iter().map(|s| s.weight).collect();
        let next = steps.iter().copied().find(|w| *w > before);
        let all = self.release.annotations().get("ragops.dev/promote").is_some_and(|v| v.contains('!'));
        assert!(
            Some(candidate.weight) == next || (all && candidate.weight == 100),
            "from {before} to {}",
            candidate.weight
        );
        assert_eq!(Some(&candidate.weight), steps.get(usize::try_from(candidate.step).unwrap() - 1));
    }

    /// Whoever gets traffic back is not known to have no ready pod, whichever way the pass looked.
    fn goes_down_to_what_answers(&self, old: &RagReleaseStatus, new: &RagReleaseStatus, seen: &Observed) {
        let Some(going) = new.candidate.as_ref().filter(|c| c.stage == Stage::RollingBack) else { return };
        let was_stable = old.stable.as_ref().is_some_and(|s| s.revision == going.revision);
        let had_weight = old.candidate.as_ref().is_some_and(|c| c.weight > 0);
        if self.release.metadata.deletion_timestamp.is_some() || !(was_stable || had_weight) {
            return;
        }
        let back = &new.stable.as_ref().unwrap().revision;
        let ready = match &seen.world {
            Some(world) => Some(observe::ready_pods(world, back)),
            None => seen.readings.ready.get(back).copied(),
        };
        assert_ne!(ready, Some(0), "traffic goes to {back}, which has no ready pod");
    }

    fn status_is_honest(&self, plan: &Plan<RagReleaseStatus>, seen: &Observed) {
        let conditions = &plan.status.conditions;
        let is = |type_| is_true(conditions, type_);
        assert!(!(is(ConditionType::Reconciling) && is(ConditionType::Stalled)));
        if !is(ConditionType::Ready) {
            return;
        }
        let ready = conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!(Some(ready.observed_generation), Some(plan.status.observed_generation));
        if plan.status.observed_generation == self.release.metadata.generation.unwrap() {
            let RouteSeen::Ours(route) = &seen.route else { panic!("Ready without a route") };
            let stable = plan.status.stable.as_ref().unwrap();
            assert_eq!(
                traffic::written(route, RELEASE, &stable.revision),
                Some(100),
                "Ready, but the split is another"
            );
            assert_eq!(traffic::acceptance(route), traffic::Acceptance::Accepted, "Ready, but not accepted");
        }
    }
}

fn weights_are_sane(status: &RagReleaseStatus) {
    let candidate = status.candidate.as_ref().map_or(0, |c| c.weight);
    assert!((0..=100).contains(&candidate));
    match &status.stable {
        Some(stable) => assert_eq!(stable.weight + candidate, 100, "{stable:?} {candidate}"),
        None => assert_eq!(candidate, 0, "weight without a stable"),
    }
    if let Some(candidate) = &status.candidate {
        let settled = matches!(candidate.stage, Stage::Preparing | Stage::Verifying | Stage::RollingBack);
        assert!(!settled || candidate.weight == 0, "{candidate:?}");
    }
}

fn failed_stays_failed(old: &RagReleaseStatus, new: &RagReleaseStatus) {
    let Some(candidate) = &new.candidate else { return };
    if old.candidate.as_ref().map(|c| &c.revision) == Some(&candidate.revision) {
        return;
    }
    let failed = |s: &RagReleaseStatus| s.failed_revisions.iter().any(|f| f.revision == candidate.revision);
    assert!(!failed(new), "starts a failed revision");
    let retried = new.commands.iter().filter(|c| c.command == "retry" && !old.commands.contains(c));
    assert!(!failed(old) || retried.count() > 0, "starts a failed revision by itself");
}

fn route_says_what_is_persisted(plan: &Plan<RagReleaseStatus>, seen: &Observed) {
    for (i, action) in plan.actions.iter().enumerate() {
        let (kind, body, otherwise) = match action {
            Action::Create { kind, body, .. } => (kind, body, None),
            Action::Replace { kind, body, otherwise, .. } => (kind, body, otherwise.as_ref()),
            _ => continue,
        };
        if *kind != ChildKind::HttpRoute {
            continue;
        }
        let route: HTTPRoute = serde_json::from_value(body.clone()).unwrap();
        let backends = &route.spec.rules[0].backend_refs;
        if let Some(otherwise) = otherwise {
            assert_eq!(otherwise["spec"]["rules"][0]["backendRefs"], body["spec"]["rules"][0]["backendRefs"]);
        }
        if let RouteSeen::Ours(live) = &seen.route {
            let place =
                |r: &HTTPRoute| (r.spec.parent_refs.clone(), r.spec.hostnames.clone(), r.spec.rules[0].matches.clone());
            let weights = live.spec.rules[0].backend_refs != *backends;
            assert!(!weights || place(live) == place(&route), "a place that is refused would keep the weights");
            assert!(!weights || i == 0, "something stands before the weight: {:?}", plan.actions.first());
            assert!(weights || place(live) == place(&route) || i + 1 == plan.actions.len(), "the place comes last");
        } else {
            assert_eq!(i, 0, "something stands before the route: {:?}", plan.actions.first());
        }
        let sum: i64 = backends.iter().map(|b| b.weight.expect("explicit")).sum();
        assert_eq!(sum, 100);
        let stable = &plan.status.stable.as_ref().unwrap().revision;
        assert_eq!(backends[0].name, format!("{RELEASE}-{stable}"), "[0] is stable");
        let Some(candidate) = &plan.status.candidate else {
            assert_eq!(backends.len(), 1);
            continue;
        };
        let written = traffic::written(&route, RELEASE, &candidate.revision).unwrap_or(0);
        let RouteSeen::Ours(live) = &seen.route else {
            assert_eq!(written, candidate.weight, "the route is not what was decided");
            continue;
        };
        let before = traffic::written(live, RELEASE, &candidate.revision).unwrap_or(0);
        let ready = seen.world.as_ref().map_or(0, |world| observe::ready_pods(world, &candidate.revision));
        assert!(written <= before || ready > 0, "the route goes up to what has no ready pod");
        let may = if ready > 0 { candidate.weight } else { candidate.weight.min(before) };
        assert_eq!(written, may, "the route is not what was decided");
    }
}

fn deletes_nothing_in_use(plan: &Plan<RagReleaseStatus>, seen: &Observed) {
    let status = &plan.status;
    let mut used: Vec<&String> = Vec::new();
    used.extend(status.stable.iter().map(|s| &s.revision));
    used.extend(status.candidate.iter().map(|c| &c.revision));
    used.extend(status.previous.iter().map(|p| &p.revision));
    for action in &plan.actions {
        let Action::Delete { kind, name, .. } = action else { continue };
        if matches!(kind, ChildKind::Job | ChildKind::HttpRoute) {
            continue;
        }
        let revision = name.trim_start_matches("shop-");
        assert!(!used.iter().any(|u| *u == revision), "deletes {name}, which is in use");
        if let RouteSeen::Ours(route) = &seen.route {
            assert_eq!(traffic::written(route, RELEASE, revision).unwrap_or(0), 0, "deletes {name}, which has weight");
        }
    }
}

fn status_is_bounded(status: &RagReleaseStatus) {
    let chars = |text: &str, most: usize| assert!(text.chars().count() <= most, "{} characters", text.len());
    chars(status.summary.as_deref().unwrap_or_default(), 160);
    status.conditions.iter().for_each(|c| chars(&c.message, 4_096));
    status.commands.iter().for_each(|c| {
        chars(&c.value, 256);
        chars(&c.outcome, 300);
    });
    status.failed_revisions.iter().for_each(|f| chars(&f.message, 1_200));
    status.history.iter().for_each(|h| chars(&h.message, 300));
    if let Some(failure) = status.candidate.as_ref().and_then(|c| c.failure.as_ref()) {
        chars(&failure.message, 1_200);
    }
    assert!(fit::size(status) <= fit::MOST, "{} bytes", fit::size(status));
    let lists = [status.failed_revisions.len(), status.history.len(), status.commands.len()];
    assert!(lists.iter().all(|n| *n <= 20), "{lists:?}");
}
