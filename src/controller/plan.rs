//! What a pass decided: plain data, carried out by `apply.rs` and by nothing else.
//!
//! Why: planners stay pure and total, so that hundreds of situations are tables in a test. Invariant: status
//! is written before any action; every action carries its precondition.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value};

use super::event::Note;
use super::spec::{about, quantity};
use crate::api::{Reason, names};
use crate::worker::job::digest;

/// The outcome of a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    pub status: S,
    pub actions: Vec<Action>,
    pub events: Vec<Note>,
    /// When to look again without a change; `None` waits for a change.
    pub requeue: Option<Duration>,
    /// Set in the pass that takes traffic away from a revision: its own time is measured.
    pub rollback: Option<Rollback>,
}

/// Why traffic is taken away, and when the signals that show it were complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    pub reason: Reason,
    pub since: Option<Instant>,
}

impl<S> Plan<S> {
    /// A status and nothing to do.
    pub fn of(status: S) -> Self {
        Self { status, actions: Vec::new(), events: Vec::new(), requeue: None, rollback: None }
    }

    /// Looks again after `delay`, or earlier if that was already asked for.
    pub fn look_again(&mut self, delay: Duration) {
        self.requeue = Some(self.requeue.map_or(delay, |before| before.min(delay)));
    }
}

impl<S> Plan<S> {
    /// Lets an ended Job go after this many seconds; once.
    pub fn expire(&mut self, job: &Job, seconds: i64) {
        let unset = job.spec.as_ref().is_some_and(|spec| spec.ttl_seconds_after_finished.is_none());
        if let (true, Some(name)) = (unset, job.metadata.name.clone()) {
            self.actions.push(Action::ExpireJob { name, seconds });
        }
    }

    /// Deletes this very Job, unless it is going already.
    pub fn delete_job(&mut self, job: &Job) {
        self.actions.extend(Action::delete(ChildKind::Job, &job.metadata));
    }
}

/// An object of the cluster as the body of an action; those are always JSON.
pub fn body<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Kinds of objects that we make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    Job,
    Deployment,
    Service,
    ControllerRevision,
    HttpRoute,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create what is absent. An object of that name that is ours counts as done; another's is left alone.
    Create { kind: ChildKind, name: String, body: Value },
    /// Server-side apply of the complete intent; the planner saw that the object is ours. `why`: where the live object
    /// differs.
    Apply { kind: ChildKind, name: String, body: Value, why: String },
    /// Write the whole object; `body` carries the resourceVersion that was read. `otherwise` is written where the API
    /// server refuses `body`.
    Replace { kind: ChildKind, name: String, body: Value, otherwise: Option<Value> },
    /// Delete the object with this UID, and no other of the same name; with a resourceVersion only as it was read.
    Delete { kind: ChildKind, name: String, uid: String, resource_version: Option<String> },
    /// Let a finished Job go after this time; its result is in status by then.
    ExpireJob { name: String, seconds: i64 },
    /// Put our finalizer on the object itself, or take it off.
    Finalizer { present: bool },
}

impl Action {
    /// Deletes the object that was read, unless it is going already. Traffic hangs on a route: somebody's write since
    /// then is looked at first.
    pub fn delete(kind: ChildKind, read: &ObjectMeta) -> Option<Self> {
        let resource_version = match kind {
            ChildKind::HttpRoute => Some(read.resource_version.clone()?),
            ChildKind::Job | ChildKind::Deployment | ChildKind::Service | ChildKind::ControllerRevision => None,
        };
        let (name, uid) = (read.name.clone()?, read.uid.clone()?);
        read.deletion_timestamp.is_none().then_some(Self::Delete { kind, name, uid, resource_version })
    }

    /// Whether traffic changes with it.
    pub fn writes_route(&self) -> bool {
        match self {
            Self::Create { kind, .. } | Self::Apply { kind, .. } | Self::Replace { kind, .. } => {
                *kind == ChildKind::HttpRoute
            }
            Self::Delete { .. } | Self::ExpireJob { .. } | Self::Finalizer { .. } => false,
        }
    }
}

/// The write that makes a Deployment or Service what `wanted` says; `None`: it is.
///
/// Why a mark beside the comparison: what `wanted` says no more leaves no difference to see, and yet it must go.
pub fn put(kind: ChildKind, name: &str, live: Option<&Value>, mut wanted: Value) -> Option<Action> {
    let name = name.to_owned();
    let mark = digest(&wanted).chars().take(16).collect::<String>();
    let why = live.map(|live| difference(live, &wanted));
    let stale = live.and_then(rendered) != Some(&mark);
    let metadata = wanted.get_mut("metadata").and_then(Value::as_object_mut);
    let annotations = metadata.map(|m| m.entry("annotations").or_insert_with(|| Value::Object(Map::new())));
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(names::ANNOTATION_RENDERED.to_owned(), Value::String(mark));
    }
    match why {
        None => Some(Action::Create { kind, name, body: wanted }),
        Some(Some(why)) => Some(Action::Apply { kind, name, body: wanted, why }),
        Some(None) if stale => {
            let why = "it was rendered from an earlier intent, which may have said more".to_owned();
            Some(Action::Apply { kind, name, body: wanted, why })
        }
        Some(None) => None,
    }
}

/// The mark of what an object was last written from.
fn rendered(live: &Value) -> Option<&str> {
    live.get("metadata")?.get("annotations")?.get(names::ANNOTATION_RENDERED)?.as_str()
}

/// Where `live` lacks something that `wanted` says, in words; `None`: it holds all of it. What the server or somebody
/// else added does not matter, be it a field or an entry of a list whose entries have names: another field manager's
/// entries are not ours to remove.
///
/// Why not a digest: an edit by hand must be seen too, and whoever reads the log must see which.
fn difference(live: &Value, wanted: &Value) -> Option<String> {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().find_map(|(key, value)| match live.get(key) {
            Some(found) => difference(found, value).map(|inside| format!(".{key}{inside}")),
            None => (!is_empty(value)).then(|| format!(".{key} is absent, wanted {}", shown(value))),
        }),
        (Value::Array(live), Value::Array(wanted)) => match key(wanted) {
            Some(key) => wanted.iter().find_map(|entry| {
                let id = entry.get(key);
                let place = format!("[{}]", id.and_then(Value::as_str).unwrap_or_default());
                match live.iter().find(|found| found.get(key) == id) {
                    Some(found) => difference(found, entry).map(|inside| format!("{place}{inside}")),
                    None => Some(format!("{place} is absent, wanted {}", shown(entry))),
                }
            }),
            None if live.len() == wanted.len() => {
                let mut pairs = live.iter().zip(wanted).enumerate();
                pairs.find_map(|(i, (live, wanted))| difference(live, wanted).map(|inside| format!("[{i}]{inside}")))
            }
            None => Some(format!(" has {} entries, wanted {}", live.len(), wanted.len())),
        },
        (Value::String(live), Value::String(wanted)) if same_quantity(live, wanted) => None,
        (live, wanted) => (live != wanted).then(|| format!(" is {}, wanted {}", shown(live), shown(wanted))),
    }
}

/// The field by which the server tells the entries of a list apart, of the lists that we render: mounts by their path,
/// owners by their UID, containers, variables, volumes and ports by their name. Any other list is one value.
fn key(wanted: &[Value]) -> Option<&'static str> {
    let has = |key: &&str| wanted.iter().all(|entry| entry.get(key).is_some_and(Value::is_string));
    ["mountPath", "uid", "name"].into_iter().find(has).filter(|_| !wanted.is_empty())
}

/// The beginning of a value: a whole template has no place in a log line.
fn shown(value: &Value) -> String {
    const MOST: usize = 200;
    let text = value.to_string();
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain("...".chars()).collect() }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The server writes quantities in a form of its own: `0.5` comes back as `500m`.
fn same_quantity(a: &str, b: &str) -> bool {
    matches!((quantity(a), quantity(b)), (Some(a), Some(b)) if about(a, b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_delete_names_the_object_that_was_read_and_a_route_also_as_it_was() {
        let read = json!({"name": "a", "uid": "u", "resourceVersion": "7"});
        let read: ObjectMeta = serde_json::from_value(read).unwrap();
        let version = |kind| match Action::delete(kind, &read) {
            Some(Action::Delete { name, uid, resource_version, .. }) if (&*name, &*uid) == ("a", "u") => {
                resource_version
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(version(ChildKind::HttpRoute).as_deref(), Some("7"));
        assert_eq!(version(ChildKind::Job), None);
        let unknown = ObjectMeta { resource_version: None, ..read.clone() };
        assert_eq!(Action::delete(ChildKind::HttpRoute, &unknown), None);
        let going = json!({"name": "a", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(Action::delete(ChildKind::Job, &serde_json::from_value(going).unwrap()), None);
    }

    #[test]
    fn additions_of_the_server_do_not_matter_but_edits_do() {
        let wanted = json!({"spec": {"replicas": 2, "list": [{"name": "a"}], "empty": {}, "cpu": "0.5"}});
        let live = json!({"spec": {"replicas": 2, "list": [{"name": "a", "x": 1}], "cpu": "500m"}, "status": {}});
        assert_eq!(difference(&live, &wanted), None);
        let differs = |live| difference(&live, &wanted).unwrap();
        let scaled = json!({"spec": {"replicas": 0, "list": [{"name": "a"}], "cpu": "500m"}});
        assert_eq!(differs(scaled), ".spec.replicas is 0, wanted 2");
        let other = json!({"spec": {"replicas": 2, "list": [{"name": "b"}], "cpu": "500m"}});
        assert_eq!(differs(other), r#".spec.list[a] is absent, wanted {"name":"a"}"#);
        assert_eq!(
            differs(json!({"spec": {"replicas": 2, "cpu": "500m"}})),
            r#".spec.list is absent, wanted [{"name":"a"}]"#
        );
    }

    #[test]
    fn entries_that_somebody_added_to_a_named_list_are_theirs() {
        let wanted = json!({"env": [{"name": "A", "value": "1"}], "mounts": [
            {"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}], "args": ["serve"]});
        let live = json!({"env": [{"name": "PROXY", "value": "p"}, {"name": "A", "value": "1"}], "mounts": [
            {"name": "x", "mountPath": "/x"}, {"name": "v", "mountPath": "/b"}, {"name": "v", "mountPath": "/a"}],
            "args": ["serve"]});
        assert_eq!(difference(&live, &wanted), None);
        let differs = |path: &str, value: Value| {
            let mut live = live.clone();
            *live.pointer_mut(path).unwrap() = value;
            difference(&live, &wanted).unwrap()
        };
        assert_eq!(differs("/env/1/value", json!("2")), r#".env[A].value is "2", wanted "1""#);
        assert_eq!(
            differs("/mounts/2/mountPath", json!("/c")),
            r#".mounts[/a] is absent, wanted {"mountPath":"/a","name":"v"}"#
        );
        assert_eq!(differs("/args", json!(["serve", "--x"])), ".args has 2 entries, wanted 1");
    }

    #[test]
    fn what_the_intent_says_no_more_is_taken_off_once() {
        let body = |limits: Value| json!({"metadata": {"name": "a"}, "spec": {"limits": limits}});
        let made = match put(ChildKind::Deployment, "a", None, body(json!({"cpu": "500m", "memory": "1Gi"}))) {
            Some(Action::Create { body, .. }) => body,
            other => panic!("{other:?}"),
        };
        assert_eq!(put(ChildKind::Deployment, "a", Some(&made), body(json!({"cpu": "500m", "memory": "1Gi"}))), None);
        let fewer = body(json!({"memory": "1Gi"}));
        let applied = match put(ChildKind::Deployment, "a", Some(&made), fewer.clone()) {
            Some(Action::Apply { body, .. }) => body,
            other => panic!("{other:?}"),
        };
        assert_eq!(applied.pointer("/spec/limits"), fewer.pointer("/spec/limits"));
        // The server takes the limit off, and somebody else's annotation stays.
        let mut live = applied;
        live["metadata"]["annotations"]["theirs"] = json!("x");
        assert_eq!(put(ChildKind::Deployment, "a", Some(&live), fewer), None);
    }
}
