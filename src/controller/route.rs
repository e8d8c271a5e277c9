//! HTTPRoute of the Gateway API: the parts that we read and write; everything else passes through unchanged.
//!
//! Why our own: published crates sit on another kube, and a partial type without the rest would drop users'
//! fields. Invariant: reading and writing back loses nothing.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Spec of an HTTPRoute.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    plural = "httproutes",
    namespaced,
    schema = "disabled",
    status = "RouteStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HTTPRouteSpec {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<RouteParent>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RouteRule>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A parent that the route attaches to, or that reports about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteParent {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A Service with its weight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendRef {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Absent means 1 to the gateway; we always write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What the gateways say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    #[serde(default)]
    pub parents: Vec<ParentStatus>,
}

/// What one gateway says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    pub parent_ref: RouteParent,
    #[serde(default)]
    pub conditions: Vec<ParentCondition>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A condition of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentCondition {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub observed_generation: i64,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "useDefaultGateways": "All",
                "parentRefs": [{"name": "public", "group": "gateway.networking.k8s.io", "kind": "Gateway", "port": 80}],
                "rules": [{
                    "name": "r", "timeouts": {"request": "10s"},
                    "filters": [{"type": "RequestHeaderModifier"}],
                    "matches": [{"path": {"type": "PathPrefix", "value": "/x"}}],
                    "backendRefs": [{"name": "s", "port": 80, "weight": 1, "kind": "Service", "filters": []}]
                }]
            }
        });
        let parsed: HTTPRoute = serde_json::from_value(route.clone()).unwrap();
        assert_eq!(serde_json::to_value(&parsed).unwrap(), route);
    }
}
