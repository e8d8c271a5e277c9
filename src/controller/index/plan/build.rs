//! From wanted inputs to a Ready or Failed version.
//!
//! Invariants: a version is begun when its inputs differ from those of the last begun build, and only with
//! every reference in place; the build's own counts are not believed, Ready needs the verify Job; a Job that met
//! a passing trouble is made again; a version that failed is not tried again, a new one needs new inputs.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::inputs::{self, Wanted};
use super::spec::{LISTED, Spec};
use super::{Draft, SOON, WAIT, WATCH_JOB, tell};
use crate::api::index::{BuildStatus, IndexVersion, VersionCause, VersionState};
use crate::api::{EmbeddingModel, Reason};
use crate::controller::attempt::{self, Fault, Outcome};
use crate::controller::condition::{State, parse_time};
use crate::controller::index::newest_ready;
use crate::controller::index::render::{self, Coder};
use crate::controller::model;
use crate::controller::plan::{Action, ChildKind};
use crate::controller::read::Referred;
use crate::worker::job::Encoder;
use crate::worker::receipt::{BuildReport, ErrorReport, VerifyReport};

/// Rest of a Job that met a passing trouble: a minute at first, never more than an hour.
const SHORTEST_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// Brings the build one step further, or begins one.
pub(super) fn advance(draft: &mut Draft<'_>, spec: &Spec<'_>) -> State {
    let wanted = Wanted::of(draft, spec);
    if let Some(wanted) = &wanted {
        supersede(draft, wanted);
    }
    match (under_way(draft), wanted) {
        (Some((place, Stage::Building)), _) => building(draft, spec, place),
        (Some((place, Stage::Verifying)), _) => verifying(draft, spec, place),
        (None, Some(wanted)) if is_due(draft, &wanted) => begin(draft, spec, &wanted),
        (None, Some(_)) => settled(draft, spec),
        (None, None) => {
            draft.look_again(WAIT);
            encoder(draft).map_or_else(|state| state, |_| settled(draft, spec))
        }
    }
}

enum Stage {
    Building,
    Verifying,
}

/// The version under way; a build of a version that is not listed is forgotten, so that it begins anew.
fn under_way(draft: &mut Draft<'_>) -> Option<(usize, Stage)> {
    let name = draft.status.build.as_ref()?.version.clone();
    let found = draft.status.versions.iter().enumerate().find(|(_, v)| v.name == name);
    let stage = found.and_then(|(place, v)| match v.state {
        VersionState::Building => Some((place, Stage::Building)),
        VersionState::Verifying => Some((place, Stage::Verifying)),
        VersionState::Ready | VersionState::Failed | VersionState::Retiring => None,
    });
    if stage.is_none() {
        draft.status.build = None;
        draft.status.built_for = None;
    }
    stage
}

/// A build whose inputs are no longer wanted ends; its Job is swept away.
fn supersede(draft: &mut Draft<'_>, wanted: &Wanted) {
    if draft.status.build.is_none() || draft.status.built_for.as_deref() == Some(&wanted.digest) {
        return;
    }
    if let Some((place, _)) = under_way(draft) {
        let by = match (&wanted.token, wanted.cause) {
            (Some(token), VersionCause::Rebuild) => format!("superseded by rebuild `{token}`"),
            (Some(_) | None, VersionCause::Spec) | (None, VersionCause::Rebuild) => {
                "superseded by a newer spec or encoder".to_owned()
            }
        };
        end(draft, place, Reason::Superseded, &by);
    }
    draft.status.build = None;
    draft.status.built_for = None;
}

fn is_due(draft: &Draft<'_>, wanted: &Wanted) -> bool {
    let unknown = newest_ready(&draft.status).is_none() && tell::failure(&draft.status).is_none();
    unknown || draft.status.built_for.as_deref() != Some(&wanted.digest)
}

fn begin(draft: &mut Draft<'_>, spec: &Spec<'_>, wanted: &Wanted) -> State {
    let (model, encoder) = match parts(draft) {
        Ok(parts) => parts,
        Err(state) => {
            draft.look_again(WAIT);
            return state;
        }
    };
    if draft.status.versions.len() >= LISTED {
        draft.look_again(WAIT);
        return tell::too_many(&draft.status);
    }
    let number = last_number(draft).saturating_add(1);
    let name = format!("v{number}");
    let now = draft.now();
    draft.status.last_number = number;
    draft.status.built_for = Some(wanted.digest.clone());
    draft.status.build = Some(BuildStatus { version: name.clone() });
    if let Some(token) = &wanted.token {
        inputs::record(draft, token, &name);
    }
    let begun = IndexVersion {
        name,
        state: VersionState::Building,
        cause: wanted.cause,
        physical: render::physical(draft.index, number),
        claim: spec.claim.to_owned(),
        content_digest: None,
        source_digest: None,
        fingerprint: wanted.fingerprint.clone(),
        model: model.name_any(),
        documents: None,
        chunks: None,
        quarantined: None,
        reused_chunks: None,
        size_bytes: None,
        keyword: spec.keyword,
        created_at: now,
        ready_at: None,
        reason: None,
    };
    let coder = Coder { model, encoder: &encoder };
    let previous = newest_ready(&draft.status);
    draft.actions.push(render::build(draft.base(), spec, coder, &begun, previous));
    draft.look_again(WATCH_JOB);
    let state = tell::building(&draft.status, &begun);
    draft.status.versions.push(begun);
    state
}

/// The highest number that was given out. Releases remember it too, should status be lost.
fn last_number(draft: &Draft<'_>) -> i64 {
    let named = draft.seen.uses.iter().filter_map(|u| u.version.strip_prefix('v')?.parse().ok());
    named.fold(draft.status.last_number, i64::max)
}

fn building(draft: &mut Draft<'_>, spec: &Spec<'_>, place: usize) -> State {
    let Some(now) = draft.status.versions.get(place).cloned() else { return settled(draft, spec) };
    let job = render::job_name(draft.index, render::BUILD, &now.name);
    match draft.outcome(&job).of::<BuildReport>(&job) {
        Outcome::Absent => {
            let (model, encoder) = match launch(draft, &job, parts) {
                Ok(parts) => parts,
                Err(state) => return state,
            };
            let coder = Coder { model, encoder: &encoder };
            let previous = newest_ready(&draft.status);
            draft.actions.push(render::build(draft.base(), spec, coder, &now, previous));
            tell::building(&draft.status, &now)
        }
        Outcome::Running => runs(draft, &job, tell::building(&draft.status, &now)),
        Outcome::Done { report, .. } => built(draft, spec, place, &report),
        Outcome::Foreign => foreign(draft, &job),
        Outcome::Stuck { reason, message } => stuck(draft, reason, &message),
        Outcome::Failed { error, fault: Fault::Passing, finished_at } => again(draft, &now, &job, &error, finished_at),
        Outcome::Failed { error, fault: Fault::Invalid | Fault::Other, .. } => fail(draft, spec, place, &error),
    }
}

fn verifying(draft: &mut Draft<'_>, spec: &Spec<'_>, place: usize) -> State {
    let Some(now) = draft.status.versions.get(place).cloned() else { return settled(draft, spec) };
    let job = render::job_name(draft.index, render::VERIFY, &now.name);
    match draft.outcome(&job).of::<VerifyReport>(&job) {
        Outcome::Absent => {
            let (model, encoder) = match launch(draft, &job, encoder) {
                Ok(parts) => parts,
                Err(state) => return state,
            };
            match render::verify(draft.base(), spec, Coder { model, encoder: &encoder }, &now) {
                Some(action) => draft.actions.push(action),
                None => return fail(draft, spec, place, &lost("status lost what the build had reported")),
            }
            tell::verifying(&draft.status, &now)
        }
        Outcome::Running => runs(draft, &job, tell::verifying(&draft.status, &now)),
        Outcome::Done { report, .. } => verified(draft, spec, place, &now, &report),
        Outcome::Foreign => foreign(draft, &job),
        Outcome::Stuck { reason, message } => stuck(draft, reason, &message),
        Outcome::Failed { error, fault: Fault::Passing, finished_at } => again(draft, &now, &job, &error, finished_at),
        Outcome::Failed { error, fault: Fault::Invalid | Fault::Other, .. } => fail(draft, spec, place, &error),
    }
}

/// While a Job runs: a pod that waits for volumes is the one way to hang that its status does not name.
fn runs(draft: &mut Draft<'_>, job: &str, state: State) -> State {
    draft.look_again(WATCH_JOB);
    if draft.seen.waits_for_volumes(job) { tell::waits_for_volumes(&draft.status, job, draft.index) } else { state }
}

/// A Job that met a passing trouble rests for as long again as its version has been under way, and goes; the pass
/// after that makes it anew.
fn again(
    draft: &mut Draft<'_>,
    version: &IndexVersion,
    job: &str,
    error: &ErrorReport,
    finished_at: Option<Timestamp>,
) -> State {
    let ended = finished_at.unwrap_or(draft.seen.now);
    let under_way = parse_time(&version.created_at).map(|begun| ended.duration_since(begun));
    let pause = under_way.and_then(|time| Duration::try_from(time).ok()).unwrap_or(SHORTEST_REST);
    let rest = attempt::rest(finished_at, draft.seen.now, pause.clamp(SHORTEST_REST, LONGEST_REST));
    if rest.is_zero() {
        let jobs = draft.seen.jobs.iter().filter(|found| found.metadata.name.as_deref() == Some(job));
        draft.actions.extend(jobs.filter_map(|found| Action::delete(ChildKind::Job, &found.metadata)));
    }
    draft.look_again(rest.max(SOON));
    tell::tried_again(&draft.status, version, error)
}

/// What a Job needs before it is created: no pod of an earlier Job of this name, and its references.
fn launch<'a>(
    draft: &mut Draft<'a>,
    job: &str,
    parts: fn(&Draft<'a>) -> Result<(&'a EmbeddingModel, Encoder), State>,
) -> Result<(&'a EmbeddingModel, Encoder), State> {
    draft.look_again(WATCH_JOB);
    if draft.seen.writes(job) {
        return Err(tell::old_pod(&draft.status, job));
    }
    parts(draft)
}

fn foreign(draft: &mut Draft<'_>, job: &str) -> State {
    draft.look_again(WAIT);
    tell::not_owned(&draft.status, job)
}

fn stuck(draft: &mut Draft<'_>, reason: Reason, message: &str) -> State {
    draft.look_again(WATCH_JOB);
    State::waiting(reason, format!("{message} {}", tell::serves(&draft.status)))
}

fn lost(text: &str) -> ErrorReport {
    ErrorReport { reason: Reason::JobFailed.as_str().to_owned(), error: text.to_owned() }
}

fn built(draft: &mut Draft<'_>, spec: &Spec<'_>, place: usize, report: &BuildReport) -> State {
    let accounted = report.documents.saturating_add(report.quarantined).saturating_add(report.skipped);
    if accounted != report.source {
        let text = format!(
            "the source holds {} documents, but the build accounts for {accounted} ({} indexed, {} set aside, {} \
             skipped)",
            report.source, report.documents, report.quarantined, report.skipped
        );
        return fail(draft, spec, place, &mismatch(text));
    }
    let newest = newest_ready(&draft.status).cloned();
    let Some(now) = draft.status.versions.get_mut(place) else { return settled(draft, spec) };
    now.content_digest = Some(report.content_digest.clone());
    now.source_digest = Some(report.source_digest.clone());
    now.documents = Some(report.documents);
    now.chunks = Some(report.chunks);
    now.quarantined = Some(report.quarantined);
    now.reused_chunks = Some(report.reused_chunks);
    now.size_bytes = Some(report.size_bytes);
    let same = newest
        .filter(|n| n.content_digest == now.content_digest && n.fingerprint == now.fingerprint && n.claim == now.claim);
    if let Some(same) = same {
        now.state = VersionState::Retiring;
        now.reason = Some(format!("unchanged: the same content as {}", same.name));
        draft.status.build = None;
        return settled(draft, spec);
    }
    now.state = VersionState::Verifying;
    verifying(draft, spec, place)
}

fn verified(
    draft: &mut Draft<'_>,
    spec: &Spec<'_>,
    place: usize,
    built: &IndexVersion,
    report: &VerifyReport,
) -> State {
    if let Some(error) = refuted(draft, spec, built, report) {
        return fail(draft, spec, place, &error);
    }
    let at = draft.now();
    if let Some(now) = draft.status.versions.get_mut(place) {
        now.state = VersionState::Ready;
        now.ready_at = Some(at);
    }
    draft.status.build = None;
    settled(draft, spec)
}

/// What of the build's report the verification did not find.
fn refuted(draft: &Draft<'_>, spec: &Spec<'_>, built: &IndexVersion, report: &VerifyReport) -> Option<ErrorReport> {
    if built.content_digest.as_deref() != Some(&report.content_digest) {
        return Some(mismatch("the content that was read back has another digest than what was built".to_owned()));
    }
    let counts = [("documents", built.documents, report.documents), ("chunks", built.chunks, report.chunks)];
    let off = counts.into_iter().find(|(_, built, read)| *built != Some(*read));
    if let Some((what, built, read)) = off {
        return Some(mismatch(format!("{read} {what} were read back, {} were built", built.unwrap_or(0))));
    }
    if let Referred::Here(model) = &draft.seen.model
        && i64::from(model.spec.dimensions) != report.dimensions
    {
        return Some(mismatch(format!(
            "its vectors have {} dimensions, EmbeddingModel `{}` declares {}",
            report.dimensions,
            model.name_any(),
            model.spec.dimensions
        )));
    }
    let least = spec.data_quality.self_retrieval_min;
    // Written so that NaN fails.
    if report.self_retrieval >= least {
        return None;
    }
    Some(ErrorReport {
        reason: Reason::SelfRetrievalLow.as_str().to_owned(),
        error: format!(
            "{:.4} of {} sampled chunks find themselves first, at least {least} must \
             (`spec.dataQuality.selfRetrievalMin`)",
            report.self_retrieval, report.sampled
        ),
    })
}

fn mismatch(error: String) -> ErrorReport {
    ErrorReport { reason: Reason::CountMismatch.as_str().to_owned(), error }
}

fn fail(draft: &mut Draft<'_>, spec: &Spec<'_>, place: usize, error: &ErrorReport) -> State {
    end(draft, place, tell::reason_of(error), &error.error);
    settled(draft, spec)
}

/// Ends the version under way as Failed.
pub(super) fn end(draft: &mut Draft<'_>, place: usize, reason: Reason, text: &str) {
    draft.status.build = None;
    if let Some(now) = draft.status.versions.get_mut(place) {
        now.state = VersionState::Failed;
        now.reason = Some(tell::failed_reason(reason, text));
        if reason == Reason::NotOwned {
            // What stands in its place is not this version's to delete.
            now.size_bytes = Some(0);
        }
    }
}

/// Ends the build under way, if there is one, since nobody wants it any more.
pub(super) fn cancel(draft: &mut Draft<'_>, reason: Reason, text: &str) {
    if let Some((place, _)) = under_way(draft) {
        end(draft, place, reason, text);
    }
}

/// Nothing is under way and nothing is due.
fn settled(draft: &Draft<'_>, spec: &Spec<'_>) -> State {
    match (tell::failure(&draft.status), newest_ready(&draft.status)) {
        (Some(failed), _) => tell::failed(&draft.status, failed, draft.index),
        (None, Some(newest)) => tell::ready(&draft.status, newest, spec.exact_below),
        (None, None) => State::waiting(Reason::Progressing, tell::serves(&draft.status)),
    }
}

/// Everything that a build needs.
fn parts<'a>(draft: &Draft<'a>) -> Result<(&'a EmbeddingModel, Encoder), State> {
    let found = encoder(draft)?;
    match draft.seen.missing.as_slice() {
        [] => Ok(found),
        missing => Err(tell::missing(&draft.status, missing)),
    }
}

/// The encoder, when its model is ready.
fn encoder<'a>(draft: &Draft<'a>) -> Result<(&'a EmbeddingModel, Encoder), State> {
    let name = &draft.index.spec.embedding_model_ref.name;
    match &draft.seen.model {
        Referred::Absent => Err(tell::no_model(&draft.status, name)),
        Referred::Unreadable(why) => Err(tell::unreadable_model(&draft.status, name, why)),
        Referred::Here(model) if !tell::is_ready(model) => Err(tell::model_not_ready(&draft.status, model)),
        Referred::Here(model) => match model::encoder(model) {
            Some(encoder) => Ok((model, encoder)),
            None => Err(tell::model_not_ready(&draft.status, model)),
        },
    }
}
