//! What must hold while traffic moves: objectives on the counters of the pods.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Online gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnlineGate {
    /// What must hold while traffic moves, 1 to 8 objectives with unique names.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(m, self.exists_one(o, o.name == m.name))")
        .message("spec.online.objectives must have unique names"))]
    pub objectives: Vec<Objective>,
    /// How often the operator reads the counters of the pods, 1s to 5m, default `5s`. Of several online gates of
    /// a release the shortest interval counts.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub interval: String,
    /// How late a reading may be beyond the interval, 1s to 5m, default `5s`. A pod whose last reading is older
    /// than interval plus window (and than twice the interval) gives no data: then no step is taken, and nothing
    /// is rolled back for it.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub window: String,
}

/// One online objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.signal == 'SlowRate') == has(self.threshold)")
    .message("threshold must be set for signal SlowRate and only for it"))]
pub struct Objective {
    /// Name, a DNS label of at most 40 characters; status and events use it.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// ErrorRate: share of answers 5xx. EmptyRate: share of answers 200 without a result. SlowRate: share of
    /// answers slower than threshold.
    pub signal: Signal,
    /// SlowRate only: one of 5ms 10ms 25ms 50ms 100ms 150ms 200ms 250ms 300ms 400ms 500ms 750ms 1s 2s 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self in ['5ms','10ms','25ms','50ms','100ms','150ms','200ms','250ms','300ms','400ms','500ms','750ms','1s','2s','5s']")
        .message("threshold must be one of 5ms 10ms 25ms 50ms 100ms 150ms 200ms 250ms 300ms 400ms 500ms 750ms 1s 2s 5s: the pods count answers in these buckets"))]
    pub threshold: Option<String>,
    /// Largest share that is acceptable, 0 to below 1. A breach is called only when the data prove it at error
    /// rate 0.05 for the whole release, however often they are looked at.
    #[schemars(range(min = 0.0, max = 0.999))]
    pub max: f64,
}

/// What is counted in the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Signal {
    ErrorRate,
    EmptyRate,
    SlowRate,
}

fn default_interval() -> String {
    "5s".to_owned()
}
