//! The writer against an API server of a few lines: what is asked in which order, and how each answer is met.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use kube::Config as ClientConfig;
use tokio::sync::mpsc;

use super::*;
use crate::api::{RagRelease, RagReleaseStatus, Reason};
use crate::controller::config::Config;
use crate::controller::context::{Events, Failures, Refusals};
use crate::controller::event::Note;
use crate::controller::metrics::Metrics;
use crate::controller::plan::body;
use crate::controller::signals::Signals;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub call: String,
    pub query: String,
    pub content_type: String,
    pub body: Value,
}

/// What the server answers.
pub enum Answer {
    Here(Value),
    Refused(StatusCode, &'static str),
    /// Refused in these words.
    Told(StatusCode, &'static str),
    Silence,
}

/// An API server that answers what it was told, in order; to events it always says yes.
pub struct Server {
    pub ctx: Arc<Context>,
    asked: Arc<Mutex<Vec<Asked>>>,
    events: mpsc::UnboundedReceiver<Value>,
}

#[derive(Clone)]
struct Desk {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    events: mpsc::UnboundedSender<Value>,
}

async fn answer(State(desk): State<Desk>, method: Method, uri: Uri, headers: HeaderMap, bytes: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if uri.path().starts_with("/apis/events.k8s.io/") {
        let _ = desk.events.send(body.clone());
        return Json(body).into_response();
    }
    let content_type = headers.get("content-type").and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    let call = format!("{method} {}", uri.path());
    let query = uri.query().unwrap_or_default().to_owned();
    desk.asked.lock().unwrap().push(Asked { call: call.clone(), query, content_type, body });
    let next = desk.answers.lock().unwrap().pop_front();
    match next {
        Some(Answer::Here(object)) => Json(object).into_response(),
        Some(Answer::Refused(code, reason)) => failure(code, reason, &format!("{call}: {reason}")),
        Some(Answer::Told(code, message)) => failure(code, code.canonical_reason().unwrap_or_default(), message),
        Some(Answer::Silence) => std::future::pending().await,
        None => panic!("nobody expected {call}"),
    }
}

fn failure(code: StatusCode, reason: &str, message: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": message});
    (code, Json(status)).into_response()
}

impl Server {
    pub async fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let (events, received) = mpsc::unbounded_channel();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        let desk = Desk { asked: asked.clone(), answers, events };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(desk);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::try_from(ClientConfig::new(format!("http://{address}").parse().unwrap())).unwrap();
        let ctx = Arc::new(Context {
            events: Events::start(client.clone()),
            signals: Signals::new(mpsc::channel(1).0).unwrap(),
            client,
            config: Config::plain(),
            metrics: Metrics::default(),
            failures: Failures::default(),
            refusals: Refusals::default(),
        });
        Self { ctx, asked, events: received }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn calls(&self) -> Vec<String> {
        self.asked().into_iter().map(|a| a.call).collect()
    }

    /// Reason and text of the next event; one that never comes is a failure.
    pub async fn event(&mut self) -> (String, String) {
        let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await;
        let event = event.expect("an event within 10 s").expect("an event");
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("note"))
    }

    async fn carry_out(&self, release: &RagRelease, plan: Plan<RagReleaseStatus>) -> Result<(), Error> {
        carry_out(&self.ctx, "release/team/shop", release, plan, Instant::now()).await
    }
}

const RELEASES: &str = "/apis/ragops.dev/v1alpha1/namespaces/team/ragreleases/shop";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/team/deployments";
const JOBS: &str = "/apis/batch/v1/namespaces/team/jobs";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/team/httproutes";

pub fn release() -> RagRelease {
    serde_json::from_value(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease",
        "metadata": {"name": "shop", "namespace": "team", "uid": "shop-1", "resourceVersion": "7"},
        "spec": {"indexRef": {"name": "docs"}, "traffic": {"gateway": {"parentRefs": [{"name": "public"}]}}},
        "status": {"observedGeneration": 1}
    }))
    .unwrap()
}

fn object(kind: &str, api: &str, owner: &str) -> Value {
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": "a", "namespace": "team", "ownerReferences": [
        {"apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "name": "shop", "uid": owner, "controller": true}]}})
}

/// A plan that keeps the status.
fn only(actions: Vec<Action>) -> Plan<RagReleaseStatus> {
    Plan { actions, ..Plan::of(release().status.unwrap()) }
}

/// A plan that changes it.
fn deciding(actions: Vec<Action>) -> Plan<RagReleaseStatus> {
    let status = RagReleaseStatus { observed_generation: 2, ..RagReleaseStatus::default() };
    Plan { actions, ..Plan::of(status) }
}

fn create(kind: ChildKind, body: Value) -> Action {
    Action::Create { kind, name: "a".to_owned(), body }
}

fn job() -> Action {
    create(ChildKind::Job, object("Job", "batch/v1", "shop-1"))
}

fn deployment() -> Action {
    create(ChildKind::Deployment, object("Deployment", "apps/v1", "shop-1"))
}

fn route() -> Action {
    let mut body = object("HTTPRoute", "gateway.networking.k8s.io/v1", "shop-1");
    body["metadata"]["resourceVersion"] = json!("9");
    Action::Replace { kind: ChildKind::HttpRoute, name: "a".to_owned(), body, otherwise: None }
}

#[tokio::test]
async fn the_status_goes_first_as_it_was_read_and_the_rest_follows() {
    let mut written = body(&release());
    written["metadata"]["resourceVersion"] = json!("8");
    let answers =
        [Answer::Here(written.clone()), Answer::Here(object("HTTPRoute", "x/v1", "y")), Answer::Here(written)];
    let server = Server::answering(answers).await;
    let plan = deciding(vec![route(), Action::Finalizer { present: true }]);
    server.carry_out(&release(), plan).await.unwrap();
    let asked = server.asked();
    assert_eq!(
        server.calls(),
        [format!("PUT {RELEASES}/status"), format!("PUT {ROUTES}/a"), format!("PATCH {RELEASES}")]
    );
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "7");
    assert_eq!(asked[0].body["status"]["observedGeneration"], 2);
    assert_eq!(asked[1].body["metadata"]["resourceVersion"], "9", "the route is fenced by its own");
    assert_eq!(asked[2].body["metadata"]["resourceVersion"], "8", "the object by the one that the status write gave");
    assert_eq!(asked[2].body["metadata"]["finalizers"], json!([names::FINALIZER]));
}

#[tokio::test]
async fn a_conflict_ends_the_pass_before_anything_else_is_written_or_told() {
    let mut server = Server::answering([Answer::Refused(StatusCode::CONFLICT, "Conflict")]).await;
    let plan = Plan { events: vec![Note::warning(Reason::RouteDrift, "x")], ..deciding(vec![route(), job()]) };
    let error = server.carry_out(&release(), plan).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(server.calls(), [format!("PUT {RELEASES}/status")]);
    server.ctx.events.send(release().object_ref(&()), Note::normal(Reason::Promoted, "later"));
    assert_eq!(server.event().await.0, "Promoted", "nothing was told before");
}

#[tokio::test]
async fn an_unchanged_status_is_not_written() {
    let server = Server::answering([]).await;
    server.carry_out(&release(), only(vec![])).await.unwrap();
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_name_that_is_taken_is_ours_or_told() {
    let exists = || Answer::Refused(StatusCode::CONFLICT, "AlreadyExists");
    let seen = [
        Answer::Here(object("Job", "batch/v1", "shop-1")),
        Answer::Here(object("Job", "batch/v1", "other")),
        Answer::Refused(StatusCode::NOT_FOUND, "NotFound"),
    ];
    let mut told = Vec::new();
    for found in seen {
        let server = Server::answering([exists(), found]).await;
        told.push(server.carry_out(&release(), only(vec![job()])).await);
        assert_eq!(server.calls(), [format!("POST {JOBS}"), format!("GET {JOBS}/a")]);
    }
    assert!(matches!(told.as_slice(), [Ok(()), Err(Error::NotOwned { .. }), Err(Error::Conflict { .. })]), "{told:?}");
}

#[tokio::test]
async fn a_deployment_is_ours_by_apply_from_its_first_write_on() {
    let answers =
        [Answer::Refused(StatusCode::NOT_FOUND, "NotFound"), Answer::Here(object("Deployment", "apps/v1", "shop-1"))];
    let server = Server::answering(answers).await;
    server.carry_out(&release(), only(vec![deployment()])).await.unwrap();
    assert_eq!(server.calls(), [format!("GET {DEPLOYMENTS}/a"), format!("PATCH {DEPLOYMENTS}/a")]);
    let asked = server.asked();
    assert_eq!(asked[1].content_type, "application/apply-patch+yaml");
    assert!(asked[1].query.contains("fieldManager=rag-operator") && asked[1].query.contains("force=true"));
}

#[tokio::test]
async fn a_deployment_of_somebody_else_is_never_written() {
    let labelled_only = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    for found in [object("Deployment", "apps/v1", "other"), labelled_only] {
        let server = Server::answering([Answer::Here(found)]).await;
        let error = server.carry_out(&release(), only(vec![deployment()])).await.unwrap_err();
        assert_eq!(error.to_string(), "Deployment team/a is not ours: delete or rename it");
        assert_eq!(server.calls(), [format!("GET {DEPLOYMENTS}/a")]);
    }
}

#[tokio::test]
async fn what_is_gone_already_counts_as_deleted_and_another_of_the_same_name_is_safe() {
    let delete = || Action::Delete {
        kind: ChildKind::Deployment,
        name: "a".to_owned(),
        uid: "d-1".to_owned(),
        resource_version: None,
    };
    let gone = Server::answering([Answer::Refused(StatusCode::NOT_FOUND, "NotFound")]).await;
    gone.carry_out(&release(), only(vec![delete()])).await.unwrap();
    assert_eq!(gone.asked()[0].body["preconditions"], json!({"uid": "d-1"}));
    let other = Server::answering([Answer::Refused(StatusCode::CONFLICT, "Conflict")]).await;
    let error = other.carry_out(&release(), only(vec![delete()])).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn an_expiry_of_a_job_that_is_gone_is_done() {
    let server = Server::answering([Answer::Refused(StatusCode::NOT_FOUND, "NotFound")]).await;
    let action = Action::ExpireJob { name: "a".to_owned(), seconds: 60 };
    server.carry_out(&release(), only(vec![action])).await.unwrap();
    assert_eq!(server.asked()[0].body, json!({"spec": {"ttlSecondsAfterFinished": 60}}));
}

#[tokio::test]
async fn a_rollback_is_counted_and_told_though_the_write_of_the_route_fails() {
    let answers = [Answer::Here(body(&release())), Answer::Refused(StatusCode::CONFLICT, "Conflict")];
    let mut server = Server::answering(answers).await;
    let rollback = Some(Rollback { reason: Reason::SloBreached, since: None });
    let events = vec![Note::warning(Reason::RollingBack, "errors 8 %")];
    let plan = Plan { rollback, events, ..deciding(vec![route(), job()]) };
    let error = server.carry_out(&release(), plan).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(server.event().await, ("RollingBack".to_owned(), "errors 8 %".to_owned()));
    let metrics = server.ctx.metrics.text();
    assert!(metrics.contains(r#"rag_rollback_total{reason="SloBreached"} 1"#), "{metrics}");
    assert!(metrics.contains("rag_rollback_duration_seconds_count 1"), "{metrics}");
    assert_eq!(server.calls().len(), 2, "nothing follows a failed write");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_after_its_time() {
    let server = Server::answering([Answer::Silence]).await;
    let error = server.carry_out(&release(), only(vec![job()])).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer from the API server within 5 s: Job team/a");
}

const NO: &str = "admission webhook \"w\" denied the request: no";

fn no() -> Answer {
    Answer::Told(StatusCode::UNPROCESSABLE_ENTITY, NO)
}

#[tokio::test]
async fn a_refusal_ends_its_action_and_no_other_and_is_told_at_the_end() {
    let here = |kind: &str| Answer::Here(object(kind, "x/v1", "shop-1"));
    let absent = Answer::Refused(StatusCode::NOT_FOUND, "NotFound");
    let server = Server::answering([no(), absent, here("Deployment"), no(), here("HTTPRoute")]).await;
    let plan = only(vec![job(), deployment(), job(), route(), Action::Finalizer { present: false }]);
    let error = server.carry_out(&release(), plan).await.unwrap_err();
    let told = error.refusal().unwrap();
    assert_eq!((told.what.as_str(), told.why.as_str()), ("Job team/a", NO));
    let calls = server.calls();
    let route = format!("PUT {ROUTES}/a");
    assert_eq!((calls.len(), calls.last()), (5, Some(&route)), "an object does not go before what it owns: {calls:?}");
}

#[tokio::test]
async fn where_the_route_may_not_stay_it_is_written_elsewhere() {
    let both = || {
        let Action::Replace { kind, name, body, .. } = route() else { panic!("a route") };
        let mut otherwise = body.clone();
        otherwise["spec"] = json!({"hostnames": ["moved"]});
        Action::Replace { kind, name, body, otherwise: Some(otherwise) }
    };
    let here = || Answer::Here(object("HTTPRoute", "x/v1", "shop-1"));
    let server = Server::answering([no(), here()]).await;
    server.carry_out(&release(), only(vec![both()])).await.unwrap();
    assert_eq!(server.asked()[1].body["spec"]["hostnames"], json!(["moved"]));
    let server = Server::answering([here()]).await;
    server.carry_out(&release(), only(vec![both()])).await.unwrap();
    assert_eq!(server.asked()[0].body["spec"], json!(null), "only where it is refused");
    let server = Server::answering([Answer::Refused(StatusCode::CONFLICT, "Conflict")]).await;
    let error = server.carry_out(&release(), only(vec![both()])).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "a conflict is no refusal: {error}");
}

#[tokio::test]
async fn each_refusal_is_met_in_its_own_way_and_its_words_are_bounded() {
    let server = Server::answering([no()]).await;
    let error = server.carry_out(&release(), deciding(vec![job()])).await.unwrap_err();
    assert!(error.class() == Class::Unsaid && error.refusal().is_none(), "{error}");
    assert!(error.to_string().contains("status of RagRelease team/shop: admission webhook"), "{error}");
    assert_eq!(server.calls().len(), 1, "nothing is done that is not decided");
    let long: &str = "no ".repeat(2_000).leak();
    let server = Server::answering([Answer::Told(StatusCode::BAD_REQUEST, long)]).await;
    let error = server.carry_out(&release(), only(vec![job()])).await.unwrap_err();
    assert!(error.refusal().unwrap().told().chars().count() < 1_300);
    let down = "Internal error occurred: failed calling webhook \"w\": connection refused";
    let rights = "jobs is forbidden: User \"op\" cannot create resource \"jobs\"";
    let policy = "denied: a container cannot be made without a resource limit";
    let table = [
        (StatusCode::INTERNAL_SERVER_ERROR, down, Class::Refused),
        (StatusCode::INTERNAL_SERVER_ERROR, "etcd is slow", Class::Transient),
        (StatusCode::FORBIDDEN, rights, Class::Forbidden),
        (StatusCode::FORBIDDEN, policy, Class::Refused),
    ];
    for (code, words, class) in table {
        let server = Server::answering([Answer::Told(code, words)]).await;
        let error = server.carry_out(&release(), only(vec![job()])).await.unwrap_err();
        assert_eq!(error.class(), class, "{words}");
    }
}
