//! The route of a release: how it is rendered, and when its weights are in effect.
//!
//! Why the whole route is ours: `rules` and `backendRefs` are atomic lists, so one weight cannot be co-owned.
//! Invariants: weights are explicit and sum to 100; `backendRefs[0]` is stable and `[1]` the candidate; fields
//! that we do not know are kept.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::api::names;
use crate::api::release::GatewayTraffic;
use crate::controller::route::{BackendRef, HTTPRoute, HTTPRouteSpec, ParentStatus, RouteParent, RouteRule};

/// A percentage of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u8);

impl Weight {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(100);

    /// 0 to 100; anything else is no weight.
    pub fn new(percent: i32) -> Option<Self> {
        u8::try_from(percent).ok().filter(|p| *p <= 100).map(Self)
    }

    pub fn percent(self) -> u8 {
        self.0
    }

    /// What the other arm gets.
    pub fn complement(self) -> Self {
        Self(100_u8.saturating_sub(self.0))
    }
}

/// What the route is to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted<'a> {
    pub release: &'a str,
    pub namespace: &'a str,
    pub labels: BTreeMap<String, String>,
    pub owner: k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
    /// Where it stands; `None`: nobody says, and the live route stays where it is.
    pub gateway: Option<&'a GatewayTraffic>,
    pub stable: &'a str,
    /// Candidate and its weight.
    pub candidate: Option<(&'a str, Weight)>,
    pub step: i32,
}

/// The route as it should be: `live` with our parts put in, so that the rest survives.
pub fn render(live: Option<&HTTPRoute>, wanted: &Wanted<'_>) -> HTTPRoute {
    let mut route = live.cloned().unwrap_or_else(|| HTTPRoute {
        metadata: ObjectMeta {
            name: Some(wanted.release.to_owned()),
            namespace: Some(wanted.namespace.to_owned()),
            ..ObjectMeta::default()
        },
        spec: HTTPRouteSpec::default(),
        status: None,
    });
    route.status = None;
    route.metadata.managed_fields = None;
    route.metadata.owner_references = Some(vec![wanted.owner.clone()]);
    route.labels_mut().extend(wanted.labels.clone());
    let annotations = route.annotations_mut();
    annotations.insert(names::ANNOTATION_STABLE.to_owned(), wanted.stable.to_owned());
    annotations.insert(names::ANNOTATION_STEP.to_owned(), wanted.step.to_string());
    match wanted.candidate {
        Some((candidate, _)) => annotations.insert(names::ANNOTATION_CANDIDATE.to_owned(), candidate.to_owned()),
        None => annotations.remove(names::ANNOTATION_CANDIDATE),
    };
    let old = std::mem::take(&mut route.spec);
    let rules = vec![rule(old.rules.first(), wanted)];
    route.spec = match wanted.gateway {
        Some(gateway) => HTTPRouteSpec {
            parent_refs: gateway.parent_refs.iter().map(|p| parent(&old.parent_refs, p)).collect(),
            hostnames: gateway.hostnames.clone(),
            rules,
            rest: old.rest,
        },
        None => HTTPRouteSpec { rules, ..old },
    };
    route
}

fn parent(old: &[RouteParent], wanted: &crate::api::release::ParentRef) -> RouteParent {
    let known = old
        .iter()
        .find(|p| p.name == wanted.name && p.namespace == wanted.namespace && p.section_name == wanted.section_name);
    let mut rest = known.map(|p| p.rest.clone()).unwrap_or_default();
    rest.insert("group".to_owned(), json!("gateway.networking.k8s.io"));
    rest.insert("kind".to_owned(), json!("Gateway"));
    RouteParent {
        name: wanted.name.clone(),
        namespace: wanted.namespace.clone(),
        section_name: wanted.section_name.clone(),
        rest,
    }
}

fn rule(old: Option<&RouteRule>, wanted: &Wanted<'_>) -> RouteRule {
    let rest = old.map(|r| r.rest.clone()).unwrap_or_default();
    let backends = old.map(|r| r.backend_refs.as_slice()).unwrap_or_default();
    let backend = |revision: &str, weight: Weight| {
        let name = service_name(wanted.release, revision);
        let mut rest: Map<String, Value> =
            backends.iter().find(|b| b.name == name).map(|b| b.rest.clone()).unwrap_or_default();
        rest.insert("group".to_owned(), json!(""));
        rest.insert("kind".to_owned(), json!("Service"));
        BackendRef { name, port: Some(i64::from(names::PORT_TRAFFIC)), weight: Some(i64::from(weight.percent())), rest }
    };
    let candidate_weight = wanted.candidate.map_or(Weight::NONE, |(_, weight)| weight);
    let mut backend_refs = vec![backend(wanted.stable, candidate_weight.complement())];
    backend_refs.extend(wanted.candidate.map(|(revision, weight)| backend(revision, weight)));
    let matches = match wanted.gateway {
        Some(gateway) => Some(json!([{"path": {"type": "PathPrefix", "value": gateway.path_prefix}}])),
        None => old.and_then(|r| r.matches.clone()),
    };
    RouteRule { matches, backend_refs, rest }
}

/// Name of a revision's Deployment and Service.
pub fn service_name(release: &str, revision: &str) -> String {
    format!("{release}-{revision}")
}

/// Whether two routes say the same in all that we write.
pub fn same(live: &HTTPRoute, wanted: &HTTPRoute) -> bool {
    let parts = |route: &HTTPRoute| {
        (
            route.spec.clone(),
            route.metadata.annotations.clone().unwrap_or_default(),
            route.metadata.labels.clone().unwrap_or_default(),
            route.metadata.owner_references.clone().unwrap_or_default(),
        )
    };
    parts(live) == parts(wanted)
}

/// Weight that the route declares for a revision; `None` when it names no such backend.
pub fn written(route: &HTTPRoute, release: &str, revision: &str) -> Option<i32> {
    let name = service_name(release, revision);
    let backends = &route.spec.rules.first()?.backend_refs;
    let weight = backends.iter().find(|b| b.name == name)?.weight.unwrap_or(1);
    i32::try_from(weight).ok()
}

/// What the gateways say of the route as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    Accepted,
    /// Not yet, or not at this generation.
    Pending,
    /// A gateway refuses it, in its words.
    Refused(String),
}

/// Whether every parent reports Accepted and ResolvedRefs for the present generation.
pub fn acceptance(route: &HTTPRoute) -> Acceptance {
    let generation = route.metadata.generation.unwrap_or(0);
    let reported = route.status.as_ref().map(|s| s.parents.as_slice()).unwrap_or_default();
    let namespace = route.namespace();
    let mut pending = route.spec.parent_refs.is_empty();
    for parent in &route.spec.parent_refs {
        let Some(found) = reported.iter().find(|r| is_about(r, parent, namespace.as_deref())) else {
            pending = true;
            continue;
        };
        for type_ in ["Accepted", "ResolvedRefs"] {
            match found.conditions.iter().find(|c| c.type_ == type_ && c.observed_generation >= generation) {
                Some(c) if c.status == "True" => {}
                Some(c) if c.status == "False" => {
                    return Acceptance::Refused(format!(
                        "Gateway {} says {type_} is False: {} ({})",
                        parent.name, c.message, c.reason
                    ));
                }
                Some(_) | None => pending = true,
            }
        }
    }
    if pending { Acceptance::Pending } else { Acceptance::Accepted }
}

fn is_about(reported: &ParentStatus, parent: &RouteParent, own_namespace: Option<&str>) -> bool {
    let namespace = |p: &RouteParent| p.namespace.clone().or_else(|| own_namespace.map(ToOwned::to_owned));
    reported.parent_ref.name == parent.name
        && namespace(&reported.parent_ref) == namespace(parent)
        && (parent.section_name.is_none() || reported.parent_ref.section_name == parent.section_name)
}

/// Who wrote to the route last beside us and the gateways' status.
pub fn last_editor(route: &HTTPRoute) -> String {
    let entries = route.metadata.managed_fields.iter().flatten();
    entries
        .filter(|e| e.manager.as_deref() != Some(names::MANAGER) && e.subresource.as_deref().unwrap_or("").is_empty())
        .max_by_key(|e| e.time.as_ref().map(|t| t.0))
        .and_then(|e| e.manager.clone())
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::release::ParentRef;

    fn gateway() -> GatewayTraffic {
        GatewayTraffic {
            parent_refs: vec![ParentRef {
                name: "public".to_owned(),
                namespace: Some("default".to_owned()),
                section_name: None,
            }],
            hostnames: vec!["search.example.com".to_owned()],
            path_prefix: "/handbook".to_owned(),
        }
    }

    fn wanted<'a>(gateway: &'a GatewayTraffic, candidate: Option<(&'a str, Weight)>) -> Wanted<'a> {
        Wanted {
            release: "shop",
            namespace: "team",
            labels: BTreeMap::from([(names::LABEL_OWNER.to_owned(), "shop".to_owned())]),
            owner: Default::default(),
            gateway: Some(gateway),
            stable: "aaaaaaaaaa",
            candidate,
            step: 1,
        }
    }

    proptest! {
        #[test]
        fn weights_are_explicit_and_sum_to_100(percent in 0..=100_i32) {
            let gateway = gateway();
            let weight = Weight::new(percent).unwrap();
            let route = render(None, &wanted(&gateway, Some(("bbbbbbbbbb", weight))));
            let backends = &route.spec.rules[0].backend_refs;
            let sum: i64 = backends.iter().map(|b| b.weight.unwrap()).sum();
            prop_assert_eq!(sum, 100);
            prop_assert_eq!(backends[1].weight, Some(i64::from(percent)));
            prop_assert_eq!(written(&route, "shop", "bbbbbbbbbb"), Some(percent));
        }

        #[test]
        fn other_numbers_are_no_weights(percent in prop_oneof![i32::MIN..0, 101..i32::MAX]) {
            prop_assert_eq!(Weight::new(percent), None);
        }
    }

    #[test]
    fn a_second_rendering_changes_nothing_and_keeps_foreign_fields() {
        let gateway = gateway();
        let first = render(None, &wanted(&gateway, None));
        let mut live = first.clone();
        live.spec.rules[0].rest.insert("timeouts".to_owned(), json!({"request": "10s"}));
        live.spec.rest.insert("useDefaultGateways".to_owned(), json!("None"));
        let second = render(Some(&live), &wanted(&gateway, None));
        assert!(same(&live, &second));
        let moved = render(Some(&live), &wanted(&gateway, Some(("bbbbbbbbbb", Weight::new(10).unwrap()))));
        assert!(!same(&live, &moved));
        assert_eq!(moved.spec.rules[0].rest.get("timeouts"), Some(&json!({"request": "10s"})));
    }

    #[test]
    fn without_a_gateway_a_route_stays_where_it_is_and_only_its_weights_move() {
        let gateway = gateway();
        let live = render(None, &wanted(&gateway, Some(("bbbbbbbbbb", Weight::new(50).unwrap()))));
        let back = Wanted { gateway: None, ..wanted(&gateway, Some(("bbbbbbbbbb", Weight::NONE))) };
        let route = render(Some(&live), &back);
        assert_eq!(written(&route, "shop", "bbbbbbbbbb"), Some(0));
        let place =
            |r: &HTTPRoute| (r.spec.parent_refs.clone(), r.spec.hostnames.clone(), r.spec.rules[0].matches.clone());
        assert_eq!(place(&route), place(&live));
    }

    fn reported(generation: i64, accepted: &str, observed: i64) -> HTTPRoute {
        let gateway = gateway();
        let mut route = render(None, &wanted(&gateway, None));
        route.metadata.generation = Some(generation);
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "observedGeneration": observed, "message": "m", "reason": "r"});
        route.status = serde_json::from_value(json!({"parents": [{
            "parentRef": {"name": "public", "namespace": "default", "group": "gateway.networking.k8s.io", "kind": "Gateway"},
            "controllerName": "x",
            "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")]
        }]}))
        .unwrap();
        route
    }

    #[test]
    fn a_weight_counts_only_when_every_parent_accepts_its_generation() {
        assert_eq!(acceptance(&reported(3, "True", 3)), Acceptance::Accepted);
        assert_eq!(acceptance(&reported(4, "True", 3)), Acceptance::Pending);
        assert!(matches!(acceptance(&reported(3, "False", 3)), Acceptance::Refused(_)));
        let mut silent = reported(3, "True", 3);
        silent.status = None;
        assert_eq!(acceptance(&silent), Acceptance::Pending);
    }
}
