//! The frame of a pass: what becomes of an error, of a conflict that stays, and of a panic.

use std::sync::Mutex;

use axum::http::StatusCode;

use super::*;
use crate::api::{RagRelease, RagReleaseStatus};
use crate::controller::apply::tests::{Answer, Server, release};
use crate::controller::plan::{Action, ChildKind, body};

/// A controller that always wants a Job, and tells in its status what is refused.
struct Wanting;

impl Controlled for Wanting {
    const WORD: &'static str = "wanting";
    type Object = RagRelease;
    type Status = RagReleaseStatus;
    type Observed = Option<Refusal>;

    async fn observe(ctx: &Context, object: Arc<RagRelease>) -> Result<Seen<Self>, Error> {
        Ok(Some((RagRelease::clone(&object), refusal::<Self>(ctx, "team", "shop"))))
    }

    fn plan(object: &RagRelease, observed: &Option<Refusal>) -> Plan<RagReleaseStatus> {
        let status = RagReleaseStatus { summary: observed.as_ref().map(Refusal::told), ..Default::default() };
        let job = serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}});
        let mut plan = Plan::of(object.status.clone().filter(|s| s.summary == status.summary).unwrap_or(status));
        plan.actions.push(Action::Create { kind: ChildKind::Job, name: "a".to_owned(), body: job });
        plan
    }
}

/// A controller that wants another status, or panics when its object says so.
struct Odd;

/// What it was told to let go of.
static FORGOTTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Controlled for Odd {
    const WORD: &'static str = "odd";
    type Object = RagRelease;
    type Status = RagReleaseStatus;
    type Observed = ();

    async fn observe(_ctx: &Context, object: Arc<RagRelease>) -> Result<Seen<Self>, Error> {
        Ok(Some((RagRelease::clone(&object), ())))
    }

    fn plan(object: &RagRelease, _observed: &()) -> Plan<RagReleaseStatus> {
        assert!(!object.spec.paused, "an odd object");
        Plan::of(RagReleaseStatus { observed_generation: 2, ..RagReleaseStatus::default() })
    }

    fn forget(_ctx: &Context, namespace: &str, name: &str) {
        FORGOTTEN.lock().unwrap().push(format!("{namespace}/{name}"));
    }
}

async fn passes(server: &Server, release: &RagRelease) -> Requeue {
    pass::<Odd>(Arc::new(DeserializeGuard(Ok(release.clone()))), server.ctx.clone()).await
}

fn conflict() -> Answer {
    Answer::Refused(StatusCode::CONFLICT, "Conflict")
}

#[tokio::test]
async fn a_conflict_is_silent_once_and_told_when_it_stays() {
    let mut server = Server::answering((0..7).map(|_| conflict())).await;
    let soon = Requeue::requeue(Duration::from_secs(1));
    for _ in 1..STUBBORN {
        assert_eq!(passes(&server, &release()).await, soon);
    }
    assert!(!server.ctx.metrics.text().contains("reconcile_errors_total{"), "a race is no error");
    let first = passes(&server, &release()).await;
    assert_ne!(first, soon, "a conflict that stays is met less often");
    let (reason, text) = server.event().await;
    assert_eq!(reason, "WriteConflict");
    assert!(text.starts_with("5 passes in a row") && text.contains("status of RagRelease team/shop"), "{text}");
    assert_ne!(passes(&server, &release()).await, first, "and less often again");
    assert!(server.ctx.metrics.text().contains(r#"reconcile_errors_total{controller="odd"} 2"#));
}

#[tokio::test]
async fn a_pass_that_works_ends_the_count_of_conflicts() {
    let works = || Answer::Here(body(&release()));
    let answers = (0..9).map(|i| if i == 4 { works() } else { conflict() });
    let server = Server::answering(answers).await;
    for i in 0..9 {
        let again = passes(&server, &release()).await;
        let wanted = if i == 4 { Requeue::await_change() } else { Requeue::requeue(Duration::from_secs(1)) };
        assert_eq!(again, wanted, "pass {i}");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_on_the_object() {
    let told =
        r#"ragreleases "shop" is forbidden: User "op" cannot update resource "ragreleases/status" in API group "#;
    let mut server = Server::answering([Answer::Told(StatusCode::FORBIDDEN, told)]).await;
    passes(&server, &release()).await;
    let (reason, text) = server.event().await;
    assert_eq!(reason, "Forbidden");
    assert!(text.contains("status of RagRelease team/shop") && text.contains("2-role.yaml"), "{text}");
    assert_eq!(server.calls().len(), 1, "conditions stay as they were");
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_status_and_forgotten_when_it_is_taken() {
    let again = Requeue::requeue(Duration::ZERO);
    let refusals = [
        (StatusCode::UNPROCESSABLE_ENTITY, r#"Job.batch "a" is invalid: cpu: must be less than the limit."#),
        (StatusCode::BAD_REQUEST, "admission webhook \"w\" denied the request: no. (request 1)"),
        (StatusCode::FORBIDDEN, r#"jobs.batch "a" is forbidden: exceeded quota: q, requested: 1"#),
    ];
    for (code, words) in refusals {
        let here = || Answer::Here(body(&release()));
        let other = words.replace('1', "2");
        let answers = [Answer::Told(code, words), here(), Answer::Told(code, other.leak()), here()];
        let server = Server::answering(answers).await;
        let mut object = release();
        let pass = async |object: &RagRelease| {
            super::pass::<Wanting>(Arc::new(DeserializeGuard(Ok(object.clone()))), server.ctx.clone()).await
        };
        assert_eq!(pass(&object).await, again, "news is told at once");
        let later = pass(&object).await;
        assert!(later != again && later != Requeue::await_change(), "{later:?}");
        let told = server.asked()[1].body["status"]["summary"].as_str().unwrap_or_default().to_owned();
        let begins = format!("The API server refuses to write Job team/a: {}.", words.trim_end_matches('.'));
        assert!(told.starts_with(&begins), "{told}");
        // The same write in words that differ in a number is no news.
        assert_eq!(refusal::<Wanting>(&server.ctx, "team", "shop").unwrap().told(), told);
        object.status = Some(RagReleaseStatus { summary: Some(told), ..Default::default() });
        assert_eq!(pass(&object).await, again, "it is taken: the status is told so");
        assert_eq!(refusal::<Wanting>(&server.ctx, "team", "shop"), None);
        assert!(!server.ctx.metrics.text().contains("panics_total{"));
    }
}

#[tokio::test]
async fn a_panic_stays_with_its_object_and_is_told() {
    let server = Server::answering([Answer::Here(body(&release())), Answer::Here(body(&release()))]).await;
    let mut odd = release();
    odd.spec.paused = true;
    assert_eq!(passes(&server, &odd).await, Requeue::requeue(Duration::from_secs(300)));
    let asked = server.asked();
    assert_eq!(asked[1].call, "PATCH /apis/ragops.dev/v1alpha1/namespaces/team/ragreleases/shop/status");
    let conditions = asked[1].body["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["type"] == "Stalled" && c["reason"] == "InternalError"), "{conditions:?}");
    assert!(server.ctx.metrics.text().contains(r#"reconcile_panics_total{controller="odd"} 1"#));
}

#[tokio::test]
async fn what_is_gone_leaves_nothing_in_memory() {
    let server = Server::answering([conflict(), conflict()]).await;
    passes(&server, &release()).await;
    passes(&server, &release()).await;
    forget::<Odd>(&server.ctx, "team", "shop");
    assert_eq!(server.ctx.failures.next("odd/team/shop").0, 1);
    assert_eq!(*FORGOTTEN.lock().unwrap(), ["team/shop"]);
}
