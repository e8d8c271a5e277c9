//! The route: whose it is, what the gateway says of it, and hands that touch it.

use super::sim::{Gateway, InTheWay, Sim};
use super::world::release;
use crate::api::ConditionType;
use crate::controller::plan::ChildKind;

const STEPS: [(i32, &str); 3] = [(5, "1h"), (50, "1h"), (100, "0s")];

fn holding() -> Sim {
    let mut sim = Sim::moving(release(&[], &STEPS), |c| c.step_started_at.is_some());
    sim.tick();
    sim
}

#[test]
fn a_foreign_route_or_no_kind_at_all_writes_nothing_and_is_looked_at_again() {
    for (way, reason) in [(InTheWay::Foreign, "NotOwned"), (InTheWay::NoApi, "GatewayApiMissing")] {
        let mut sim = Sim::of(release(&[], &STEPS));
        sim.in_the_way = way;
        sim.pass();
        assert_eq!((sim.reason().as_str(), sim.stalled()), (reason, true));
        assert_eq!((sim.deployments.len(), sim.jobs.len(), sim.route.is_some()), (0, 0, false));
        let plan = sim.pass();
        assert!(plan.actions.is_empty());
        assert!(plan.requeue.is_some_and(|again| again.as_secs() <= 300), "nobody tells when it is gone");
        sim.in_the_way = InTheWay::Nothing;
        sim.settle();
        assert_eq!(sim.reason(), "Promoted");
    }
}

#[test]
fn a_gateway_that_does_not_accept_keeps_a_first_release_from_ready_and_serving() {
    for (gateway, reason) in [(Gateway::Silent, "Stepping"), (Gateway::Refuses, "RouteNotAccepted")] {
        let mut sim = Sim::of(release(&[], &STEPS));
        sim.gateway = gateway;
        sim.settle();
        assert_eq!(sim.reason(), reason);
        assert_eq!(sim.condition(ConditionType::Serving), "False");
        sim.gateway = Gateway::Accepts;
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.condition(ConditionType::Serving).as_str()), ("Promoted", "True"));
    }
}

#[test]
fn a_refused_weight_takes_no_step_and_the_way_back_is_still_written() {
    let mut sim = holding();
    let revision = sim.candidate().revision;
    sim.gateway = Gateway::Refuses;
    sim.ticks(3);
    assert_eq!((sim.reason().as_str(), sim.candidate().weight), ("RouteNotAccepted", 5));
    assert!(sim.message().contains("backend not found"), "{}", sim.message());
    sim.advance(40_000);
    sim.tick();
    assert_eq!((sim.weight(&revision), sim.reason().as_str()), (0, "RollingBack"));
    sim.ticks(10);
    assert_eq!(sim.reason(), "RollingBack", "it leaves only when the gateway took the weight away");
    assert_eq!(sim.deployments.len(), 2);
    sim.gateway = Gateway::Accepts;
    sim.settle();
    assert_eq!(sim.deployments.len(), 1);
}

#[test]
fn a_deleted_route_comes_back_with_the_weights_as_decided() {
    for in_view in [true, false] {
        let mut sim = holding();
        sim.in_view = in_view;
        let before = sim.route_weights();
        sim.route = None;
        sim.pass();
        assert_eq!(sim.route_weights(), before);
        assert!(sim.has_event("RouteDrift") && sim.has_event("was deleted"));
        sim.settle();
        assert_eq!(sim.candidate().weight, 5);
    }
}

#[test]
fn a_weight_edited_by_hand_is_put_back_and_never_advances_the_release() {
    for weight in [0, 4, 6, 100] {
        let mut sim = holding();
        sim.ticks(10);
        assert!(sim.status().traffic.unwrap().counted.unwrap().candidate > 0);
        let mut route = sim.route.clone().unwrap();
        route.spec.rules[0].backend_refs[0].weight = Some(100 - weight);
        route.spec.rules[0].backend_refs[1].weight = Some(weight);
        route.metadata.generation = route.metadata.generation.map(|g| g + 1);
        route.metadata.managed_fields = serde_json::from_value(serde_json::json!([
            {"manager": "rag-operator", "time": "2026-01-01T00:00:00Z"}, {"manager": "kubectl-patch", "time": "2026-01-02T00:00:00Z"}
        ]))
        .unwrap();
        sim.put_route(route);
        let revision = sim.candidate().revision;
        sim.pass();
        assert_eq!((sim.weight(&revision), sim.candidate().weight), (5, 5));
        assert!(sim.has_event("kubectl-patch"), "{:?}", sim.events);
        let events = sim.events.len();
        sim.react();
        sim.pass();
        assert_eq!(sim.events.len(), events);
        let counted = sim.status().traffic.unwrap().counted;
        assert!(counted.is_none_or(|c| c.candidate == 0), "what was counted meanwhile says nothing");
        sim.ticks(5);
        assert_eq!((sim.candidate().weight, sim.reason().as_str()), (5, "Stepping"));
    }
}

#[test]
fn a_changed_host_name_reaches_the_route_without_a_candidate_and_without_a_complaint() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.edit(|r| r.spec.traffic.gateway.as_mut().unwrap().hostnames = vec!["new.example.com".to_owned()]);
    sim.settle();
    assert_eq!(sim.route.as_ref().unwrap().spec.hostnames, ["new.example.com"]);
    assert_eq!((sim.reason().as_str(), sim.status().candidate), ("Promoted", None));
    assert!(!sim.has_event("RouteDrift"));
}

/// Left behind by a release that was deleted without its children, and made again.
#[test]
fn a_foreign_child_is_named_and_nothing_is_written_beside_it() {
    for kind in [ChildKind::Deployment, ChildKind::Service, ChildKind::ControllerRevision] {
        let mut sim = Sim::serving(release(&[], &STEPS));
        let stable = sim.stable();
        sim.version_ready("v2");
        sim.pass();
        let name = format!("shop-{}", sim.candidate().revision);
        sim.deployments.retain(|d| d.metadata.name.as_ref() != Some(&name));
        sim.services.retain(|s| s.metadata.name.as_ref() != Some(&name));
        sim.snapshots.retain(|s| s.metadata.name.as_ref() != Some(&name));
        sim.foreign.insert((kind, name.clone()));
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stalled()), ("NotOwned", true), "{kind:?}: {}", sim.message());
        assert!(sim.message().contains(&format!("{} {name}", kind.word())), "{}", sim.message());
        let plan = sim.pass();
        assert!(plan.actions.is_empty(), "{kind:?}: {:?}", plan.actions);
        assert!(plan.requeue.is_some_and(|again| again.as_secs() <= 60));
        assert_eq!(sim.route_weights(), [(stable, 100)]);
        sim.foreign.clear();
        sim.settle();
        assert_eq!(sim.candidate().weight, 5, "{kind:?}: {}", sim.message());
    }
}

/// Such a spec is stored past the rules; it must not keep users on a bad revision.
#[test]
fn a_spec_without_a_gateway_does_not_block_the_way_back() {
    let edits: [fn(&mut crate::api::RagRelease); 2] =
        [|r| r.spec.traffic.gateway = None, |r| r.spec.traffic.gateway.as_mut().unwrap().parent_refs.clear()];
    for edit in edits {
        let mut sim = Sim::moving(release(&[("live", "DuringTraffic")], &STEPS), |c| c.step_started_at.is_some());
        let (revision, stable) = (sim.candidate().revision, sim.stable());
        let before = sim.route.clone().unwrap().spec;
        sim.edit(edit);
        sim.pass();
        assert_eq!((sim.reason().as_str(), sim.weight(&revision)), ("InvalidSpec", 5));
        sim.fails(&revision, 100);
        sim.ticks(4);
        assert_eq!(sim.weight(&revision), 0);
        sim.requests = 0;
        sim.settle();
        assert_eq!((sim.route_weights(), sim.status().candidate), (vec![(stable, 100)], None));
        let after = sim.route.clone().unwrap().spec;
        assert_eq!((after.parent_refs, after.hostnames), (before.parent_refs, before.hostnames));
    }
}

/// What our rules let through and the Gateway API does not: the weights are written where the route stands.
#[test]
fn a_place_that_is_refused_blocks_neither_the_way_back_nor_the_rest() {
    let wrong = "Search.example.com";
    for (stored_past_our_rule, reason) in [(true, "InvalidSpec"), (false, "Refused")] {
        let host = if stored_past_our_rule { wrong } else { "taken.example.com" };
        let mut sim = Sim::moving(release(&[("live", "DuringTraffic")], &STEPS), |c| c.step_started_at.is_some());
        let (revision, stable) = (sim.candidate().revision, sim.stable());
        let before = sim.route.clone().unwrap().spec;
        sim.refused_hosts = vec![host.to_owned()];
        sim.edit(|r| r.spec.traffic.gateway.as_mut().unwrap().hostnames = vec![host.to_owned()]);
        sim.ticks(2);
        assert_eq!((sim.reason().as_str(), sim.weight(&revision), sim.stalled()), (reason, 5, true));
        assert!(sim.message().contains(host), "{}", sim.message());
        if !stored_past_our_rule {
            let name = format!("shop-{stable}");
            sim.services.retain(|s| s.metadata.name.as_ref() != Some(&name));
            sim.pass();
            assert_eq!(sim.services.len(), 2, "nothing waits for the place");
        }
        sim.fails(&revision, 100);
        sim.ticks(4);
        assert_eq!(sim.weight(&revision), 0, "{}", sim.message());
        sim.requests = 0;
        sim.settle();
        assert_eq!((sim.route_weights(), sim.status().candidate), (vec![(stable, 100)], None));
        assert_eq!(sim.route.as_ref().unwrap().spec.hostnames, before.hostnames);
        assert!(sim.stalled() && sim.message().contains(host), "{}", sim.message());
        sim.edit(|r| r.spec.traffic.gateway.as_mut().unwrap().hostnames = vec!["new.example.com".to_owned()]);
        sim.settle();
        assert_eq!(sim.route.as_ref().unwrap().spec.hostnames, ["new.example.com"]);
        assert!(!sim.message().contains(host), "{}", sim.message());
    }
}

#[test]
fn a_first_release_whose_route_is_refused_says_so() {
    let mut sim = Sim::of(release(&[], &STEPS));
    sim.refused_hosts = vec!["shop.example.com".to_owned()];
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.stalled(), sim.route.is_none()), ("Refused", true, true));
    assert!(
        sim.message().starts_with("The API server refuses to write HTTPRoute team/shop: spec.hostnames[0]"),
        "{}",
        sim.message()
    );
    sim.refused_hosts.clear();
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.route_weights().len()), ("Promoted", 1));
}

/// A policy that came later may forbid the place where the route stands: then a corrected spec takes the weights along.
#[test]
fn a_forbidden_place_is_left_together_with_the_weights() {
    let mut sim = Sim::moving(release(&[("live", "DuringTraffic")], &STEPS), |c| c.step_started_at.is_some());
    let (revision, stable) = (sim.candidate().revision, sim.stable());
    sim.refused_hosts = vec!["shop.example.com".to_owned()];
    sim.fails(&revision, 100);
    sim.ticks(4);
    assert_eq!((sim.reason().as_str(), sim.weight(&revision)), ("RollingBack", 5), "nothing of it can be written");
    assert!(sim.message().contains("shop.example.com"), "{}", sim.message());
    sim.edit(|r| r.spec.traffic.gateway.as_mut().unwrap().hostnames = vec!["shop.corp".to_owned()]);
    sim.pass();
    assert_eq!((sim.weight(&revision), sim.route.clone().unwrap().spec.hostnames), (0, vec!["shop.corp".to_owned()]));
    sim.requests = 0;
    sim.settle();
    assert_eq!((sim.route_weights(), sim.status().candidate), (vec![(stable, 100)], None));
}

/// A full quota of Jobs holds the gates' runs, and nothing else.
#[test]
fn a_kind_that_is_refused_holds_only_itself() {
    let mut sim = Sim::serving(release(&[("quality", "BeforeTraffic")], &STEPS));
    sim.refused_kinds = vec![ChildKind::Job];
    sim.version_ready("v2");
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.stalled()), ("Refused", true));
    assert!(sim.message().contains("Job team/") && sim.message().contains("exceeded quota"), "{}", sim.message());
    let services = sim.services.len();
    sim.services.clear();
    sim.edit(|r| r.spec.traffic.gateway.as_mut().unwrap().hostnames = vec!["new.example.com".to_owned()]);
    sim.settle();
    assert_eq!((sim.services.len(), services), (2, 2));
    assert_eq!(sim.route.as_ref().unwrap().spec.hostnames, ["new.example.com"]);
    // What was refused for long and is taken begins its deadline anew.
    sim.advance(6 * 3600 - 60);
    sim.refused_kinds.clear();
    sim.pass();
    sim.pass();
    sim.advance(120);
    sim.requests = 1_000;
    sim.ticks(10);
    assert_eq!(sim.candidate().weight, 5, "{}", sim.message());
}

/// The Deployment is taken and its pods are not: waited for without turning, and the deadline counts.
#[test]
fn pods_that_are_refused_are_told_and_the_deadline_counts() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.version_ready("v2");
    sim.pass();
    let revision = sim.candidate().revision;
    sim.refused_pods = vec![revision.clone()];
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.stalled()), ("Refused", false));
    assert!(sim.message().contains(&format!("Deployment shop-{revision}")), "{}", sim.message());
    let writes = sim.status_writes;
    sim.ticks(5);
    assert_eq!(sim.status_writes, writes, "nothing changed");
    sim.advance(6 * 3600);
    sim.ticks(3);
    assert_eq!(sim.status().failed_revisions.last().unwrap().reason, "ProgressDeadlineExceeded");
}

#[test]
fn a_route_that_is_gone_and_has_no_place_serves_nobody() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.edit(|r| r.spec.traffic.gateway = None);
    sim.settle();
    assert_eq!(sim.condition(ConditionType::Serving), "True", "the route stands where it stood");
    sim.route = None;
    sim.settle();
    assert_eq!((sim.condition(ConditionType::Serving).as_str(), sim.reason().as_str()), ("False", "InvalidSpec"));
    assert!(!sim.status().traffic.unwrap().accepted);
}

#[test]
fn what_others_added_to_the_route_stays() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    let mut route = sim.route.clone().unwrap();
    route.metadata.annotations.as_mut().unwrap().insert("team".to_owned(), "x".to_owned());
    route.spec.rules[0].rest.insert("timeouts".to_owned(), serde_json::json!({"request": "9s"}));
    sim.put_route(route);
    assert!(sim.pass().actions.is_empty());
    sim.requests = 1_000;
    sim.version_ready("v2");
    sim.ticks(10);
    assert_eq!(sim.candidate().weight, 5);
    let route = sim.route.clone().unwrap();
    assert_eq!(route.spec.rules[0].rest["timeouts"]["request"], "9s");
    assert_eq!(route.metadata.annotations.unwrap()["team"], "x");
}

#[test]
fn a_candidate_without_weight_is_not_in_the_route() {
    let mut sim = Sim::serving(release(&[("quality", "BeforeTraffic")], &STEPS));
    sim.runs.insert("quality".to_owned(), super::sim::Run::Fail);
    let route = sim.route.clone();
    sim.version_ready("v2");
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.route == route), ("RolledBack", true));
}

/// A weight that may not go up is no reason to leave the rest of a route as somebody made it.
#[test]
fn a_route_is_mended_while_its_weight_may_not_go_up() {
    let mut sim = holding();
    let revision = sim.candidate().revision;
    sim.edit(|r| r.spec.rollback.on = vec![crate::api::release::RollbackCause::SloBreached]);
    sim.not_ready.push(revision.clone());
    let mut route = sim.route.clone().unwrap();
    route.spec.rules[0].backend_refs[0].weight = Some(98);
    route.spec.rules[0].backend_refs[1].weight = Some(2);
    route.spec.hostnames = vec!["else.example.com".to_owned()];
    sim.put_route(route);
    sim.ticks(2);
    assert_eq!((sim.weight(&revision), sim.candidate().weight), (2, 5), "{}", sim.message());
    assert_eq!(sim.route.as_ref().unwrap().spec.hostnames, ["shop.example.com"]);
    sim.ticks(20);
    assert_eq!((sim.weight(&revision), sim.candidate().weight), (2, 5), "and it takes no step");
    sim.not_ready.clear();
    sim.react();
    sim.pass();
    assert_eq!(sim.weight(&revision), 5);
}

#[test]
fn a_weight_that_was_persisted_but_never_written_waits_for_the_world() {
    let mut sim = Sim::moving(release(&[], &STEPS), |c| c.weight == 0);
    let revision = sim.candidate().revision;
    while sim.candidate().weight == 0 {
        sim.pass_until(super::sim::Cut::After(0));
        sim.react();
    }
    assert_eq!(sim.weight(&revision), 0);
    sim.in_view = false;
    sim.ticks(5);
    assert_eq!(sim.weight(&revision), 0, "nobody knows whether it has a pod");
    sim.in_view = true;
    sim.pass();
    assert_eq!(sim.weight(&revision), 5);
}
