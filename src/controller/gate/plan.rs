//! What to do for an EvalGate: pure and total.
//!
//! Invariants: a check is made when the spec is new, or when a candidate waits for a younger one; its result is in
//! status before its Job may go; runs are collected from releases and never judged here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::declared::{self, Declared, Online, Retrieval};
use super::observe::Observed;
use super::render;
use crate::api::gate::{DatasetStatus, EvalGateStatus, Signal, SliceStatus};
use crate::api::reason::VerdictReason;
use crate::api::release::Stage;
use crate::api::{ConditionType, EvalGate, RagRelease, Reason};
use crate::controller::attempt::{self, Fault, Outcome, has_ended, reason_of, waits_for_volumes};
use crate::controller::condition::{self, Meanwhile, State, parse_time, time_text};
use crate::controller::plan::{Action, ChildKind, Plan, body};
use crate::controller::spec::words;
use crate::evaluation::paired::certifiable_margin;
use crate::worker::receipt::CheckReport;

mod runs;

/// While a Job runs: stuck pods become a reason within 30 s.
const SOON: Duration = Duration::from_secs(10);
/// Waiting for somebody else's object.
const LATER: Duration = Duration::from_secs(60);
/// How long a check that could not read rests before the next.
const RETRY: Duration = Duration::from_secs(60);
/// A candidate wants a check that is at most this much older than itself. The release that freezes it asks for the
/// same: with another number there a gate could be Ready and never be used.
pub const CHECK_AGE: SignedDuration = SignedDuration::from_hours(1);
/// Longest advice in a status.
const MAX_ADVICE: usize = 512;
/// How long ended Jobs stay for people, in seconds.
const KEEP_DONE: i64 = 3_600;
const KEEP_FAILED: i64 = 86_400;

/// Decides for one gate.
pub fn plan(gate: &EvalGate, observed: &Observed) -> Plan<EvalGateStatus> {
    let status = gate.status.clone().unwrap_or_default();
    if gate.metadata.deletion_timestamp.is_some() {
        return Plan::of(status);
    }
    let digest = crate::worker::job::spec_digest(&gate.spec);
    let mut pass = Pass { gate, observed, digest, check_name: render::check_name(gate), plan: Plan::of(status) };
    pass.plan.status.last_runs = runs::collect(gate, &observed.releases);
    let state = match declared::parse(gate) {
        Ok(Declared::Retrieval(retrieval)) => pass.retrieval(&retrieval),
        Ok(Declared::Online(online)) => pass.online(&online),
        Err(invalid) => {
            let text = format!("{invalid}. Releases that name this gate wait; what serves is untouched.");
            State::stalled(Reason::InvalidSpec, text)
        }
    };
    pass.finish(&state)
}

struct Pass<'a> {
    gate: &'a EvalGate,
    observed: &'a Observed,
    digest: String,
    check_name: String,
    plan: Plan<EvalGateStatus>,
}

impl Pass<'_> {
    fn online(&mut self, online: &Online<'_>) -> State {
        let status = &mut self.plan.status;
        status.kind = Some("online".to_owned());
        (status.dataset, status.certifiable_margin, status.advice) = (None, None, None);
        self.drop_others();
        let objectives = online.objectives.iter().map(|o| {
            let slower = o.threshold.as_ref().map(|t| format!(" above {t}")).unwrap_or_default();
            let signal = match o.signal {
                Signal::ErrorRate => "ErrorRate",
                Signal::EmptyRate => "EmptyRate",
                Signal::SlowRate => "SlowRate",
            };
            format!("{} ({signal}{slower} at most {})", o.name, o.max)
        });
        let text = format!(
            "Watches {} every {}; a reading older than {} counts as missing.",
            objectives.collect::<Vec<_>>().join(", "),
            words(online.interval),
            words(online.interval.saturating_add(online.window))
        );
        State::ready(Reason::Succeeded, text)
    }

    fn retrieval(&mut self, retrieval: &Retrieval<'_>) -> State {
        self.plan.status.kind = Some("retrieval".to_owned());
        self.drop_others();
        let outcome = self.observed.check.unless_going(&self.gate.uid().unwrap_or_default(), &self.check_name);
        if outcome == Outcome::Foreign {
            return self.not_owned();
        }
        let state = self.checked(retrieval, outcome);
        self.forget_advice();
        state.unwrap_or_else(|| self.ready(retrieval))
    }

    /// Where the check stands; `None`: it counts.
    fn checked(&mut self, retrieval: &Retrieval<'_>, outcome: Outcome<CheckReport>) -> Option<State> {
        let observed = self.observed;
        match outcome {
            Outcome::Foreign => Some(self.not_owned()),
            Outcome::Done { report, .. } => {
                self.take(report, retrieval);
                observed.check.job.iter().for_each(|job| self.plan.expire(job, KEEP_DONE));
                None
            }
            Outcome::Absent if !self.wanted() => None,
            Outcome::Absent if !observed.data => {
                self.plan.look_again(LATER);
                Some(self.missing(retrieval))
            }
            Outcome::Absent => {
                let (gate, name) = (self.gate, self.check_name.clone());
                let job = render::check(gate, &observed.config, &name, retrieval);
                self.plan.actions.push(Action::Create { kind: ChildKind::Job, name, body: body(&job) });
                self.plan.look_again(SOON);
                Some(self.reading_on())
            }
            Outcome::Running => {
                self.plan.look_again(SOON);
                let waits = observed.check.pods.iter().any(|pod| waits_for_volumes(pod, observed.now));
                Some(if waits { self.unmounted(retrieval) } else { self.reading_on() })
            }
            Outcome::Stuck { reason, message } => {
                self.plan.look_again(SOON);
                Some(State::waiting(reason, format!("The data set cannot be read yet. {message} {WAIT}")))
            }
            Outcome::Failed { error, fault: Fault::Invalid, .. } => {
                observed.check.job.iter().for_each(|job| self.plan.expire(job, KEEP_FAILED));
                let text = format!(
                    "{} {WAIT} A gate that is corrected is checked anew by itself; after a corrected file delete Job {}.",
                    attempt::told(&error),
                    self.check_name
                );
                Some(State::stalled(reason_of(&error).unwrap_or(Reason::DatasetInvalid), text))
            }
            Outcome::Failed { error, fault: Fault::Passing | Fault::Other, finished_at } => {
                let rest = attempt::rest(finished_at, observed.now, RETRY);
                if rest.is_zero() {
                    observed.check.job.iter().for_each(|job| self.plan.delete_job(job));
                }
                self.plan.look_again(rest.max(Duration::from_secs(1)));
                let text = format!("{} {WAIT} It is read again every minute.", attempt::told(&error));
                Some(State::waiting(reason_of(&error).unwrap_or(Reason::SourceUnavailable), text))
            }
        }
    }

    fn not_owned(&self) -> State {
        let text = format!(
            "Job `{}` exists in this namespace and does not belong to this EvalGate; nothing was written. Delete or \
             rename it.",
            self.check_name
        );
        State::stalled(Reason::NotOwned, text)
    }

    /// Once for each check: the next one has another name. Its time is this clock's, as that of everything it is
    /// compared with; the Job's own is another machine's.
    fn take(&mut self, report: CheckReport, retrieval: &Retrieval<'_>) {
        let alpha = retrieval.judging.statistics.alpha;
        let units = report.tested.or(report.clusters).unwrap_or(report.queries);
        let at_best = certifiable_margin(u64::try_from(units).unwrap_or(0), alpha, None);
        // Rounded up, so that what is shown can be certified.
        self.plan.status.certifiable_margin = Some((at_best * 1e4).ceil() / 1e4);
        self.plan.status.advice = report.advice.map(|advice| advice.chars().take(MAX_ADVICE).collect());
        self.plan.status.dataset = Some(DatasetStatus {
            digest: report.digest,
            queries: report.queries,
            judgments: report.judgments,
            clusters: report.clusters,
            slices: report.slices.into_iter().map(|(name, queries)| SliceStatus { name, queries }).collect(),
            spec_digest: self.digest.clone(),
            checked_at: time_text(self.observed.now),
        });
    }

    /// The check that counts for the present spec.
    fn dataset(&self) -> Option<&DatasetStatus> {
        self.plan.status.dataset.as_ref().filter(|dataset| dataset.spec_digest == self.digest)
    }

    /// Whether a check is to be made.
    fn wanted(&self) -> bool {
        let Some(checked) = self.dataset().and_then(|dataset| parse_time(&dataset.checked_at)) else { return true };
        let name = self.gate.name_any();
        let releases = &self.observed.releases;
        // A run that found another dataset than was checked waits for what is there now.
        let outdated = releases.iter().flat_map(|release| found_other_inputs(release, &name)).any(|at| at > checked);
        outdated
            || releases
                .iter()
                .filter_map(|release| candidate_since(release, &name))
                .any(|since| since.duration_since(checked) > CHECK_AGE)
    }

    /// Checks of a spec that is no more, or whose result is in status.
    fn drop_others(&mut self) {
        for job in &self.observed.others {
            if has_ended(job) {
                self.plan.expire(job, KEEP_DONE);
            } else {
                self.plan.delete_job(job);
            }
        }
    }

    /// What was said of the data set for another spec says nothing.
    fn forget_advice(&mut self) {
        if self.dataset().is_none() {
            (self.plan.status.certifiable_margin, self.plan.status.advice) = (None, None);
        }
    }

    fn ready(&self, retrieval: &Retrieval<'_>) -> State {
        let (queries, judgments) = self.dataset().map_or((0, 0), |dataset| (dataset.queries, dataset.judgments));
        let rules: Vec<String> =
            retrieval.judging.rules.iter().map(|rule| format!("{} {}", rule.metric(), rule.in_words())).collect();
        let against = if retrieval.compared { "the stable revision" } else { "no baseline" };
        let advice = self.plan.status.advice.as_ref().map(|advice| format!(" {advice}.")).unwrap_or_default();
        let text = format!(
            "{queries} queries with {judgments} judgments. Must hold, against {against}: {}.{advice}",
            rules.join("; ")
        );
        State::ready(Reason::Succeeded, text)
    }

    /// A check under way. One that follows a failure keeps its words until there are better ones; one that only
    /// confirms leaves the gate usable.
    fn reading_on(&self) -> State {
        let generation = self.gate.metadata.generation.unwrap_or(0);
        let kept = [Reason::SourceUnavailable, Reason::JobFailed];
        let before = condition::find(&self.plan.status.conditions, ConditionType::Ready)
            .filter(|c| c.observed_generation == generation && c.status == "False")
            .and_then(|c| Some((kept.into_iter().find(|reason| reason.as_str() == c.reason)?, c.message.clone())));
        if let Some((reason, message)) = before {
            return State::waiting(reason, message);
        }
        match self.dataset() {
            Some(_) => State::Reconciling {
                ready: Meanwhile::True,
                reason: Reason::Progressing,
                message: "The data set is read again for a candidate that waits for this gate.".to_owned(),
            },
            None => State::waiting(Reason::Progressing, format!("The data set is being read in full. {WAIT}")),
        }
    }

    fn missing(&self, retrieval: &Retrieval<'_>) -> State {
        let (kind, name, field) = source(retrieval);
        let text = format!(
            "{kind} `{name}`, which `spec.retrieval.dataset.from.{field}` names, does not exist in this namespace. {WAIT} \
             Create it, or correct the name."
        );
        State::waiting(Reason::RefNotFound, text)
    }

    fn unmounted(&self, retrieval: &Retrieval<'_>) -> State {
        let (kind, name, _) = source(retrieval);
        let text = format!(
            "The check's pod cannot start: it waits for {kind} `{name}` to be mounted. {WAIT} See the events of its pod."
        );
        State::waiting(Reason::PodConfigError, text)
    }

    fn finish(mut self, state: &State) -> Plan<EvalGateStatus> {
        let generation = self.gate.metadata.generation.unwrap_or(0);
        let status = &mut self.plan.status;
        status.observed_generation = generation;
        let state = state.clone().unless_refused(self.observed.refusal.as_ref());
        status.conditions = condition::derive(&status.conditions, &state, &[], generation, self.observed.now);
        self.plan
    }
}

/// What a gate that is not usable means.
const WAIT: &str = "Releases that name this gate wait; what serves is untouched.";

fn source<'a>(retrieval: &Retrieval<'a>) -> (&'static str, &'a str, &'static str) {
    let from = &retrieval.dataset.from;
    match (&from.config_map, &from.volume) {
        (Some(map), _) => ("ConfigMap", &map.name, "configMap.name"),
        (None, Some(volume)) => ("PersistentVolumeClaim", &volume.claim_name, "volume.claimName"),
        (None, None) => ("Source", "", "configMap"),
    }
}

/// When runs of this gate ended without a number, because they saw other inputs than were planned.
fn found_other_inputs<'a>(release: &'a RagRelease, gate: &'a str) -> impl Iterator<Item = Timestamp> + 'a {
    let status = release.status.iter();
    let runs = status.flat_map(|s| s.gates.iter().chain(s.scheduled.iter().map(|scheduled| &scheduled.run)));
    let changed = VerdictReason::InputsChanged.as_str();
    let waiting = runs.filter(move |run| run.name == gate && run.reason.as_deref() == Some(changed));
    waiting.filter(|run| run.verdict.is_some()).filter_map(|run| parse_time(run.finished_at.as_deref()?))
}

/// Since when a release has a candidate for which this gate has measured nothing yet.
fn candidate_since(release: &RagRelease, gate: &str) -> Option<Timestamp> {
    let status = release.status.as_ref()?;
    let candidate = status.candidate.as_ref()?;
    let before_traffic = match candidate.stage {
        Stage::Preparing | Stage::Verifying => true,
        Stage::Stepping | Stage::RollingBack => false,
    };
    // What was frozen for this candidate counts; before that, what the spec names.
    let waits = match status.plan.as_ref().filter(|plan| plan.revision == candidate.revision) {
        Some(plan) => plan.gates.iter().any(|g| g.name == gate && g.dataset_digest.is_none()),
        None => release.spec.rollout.gates.iter().any(|g| g.name == gate),
    };
    let run = status.gates.iter().any(|g| g.name == gate && g.revision == candidate.revision && g.verdict.is_some());
    if before_traffic && waits && !run { parse_time(&candidate.since) } else { None }
}

#[cfg(test)]
mod tests;
