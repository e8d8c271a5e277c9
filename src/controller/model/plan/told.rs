//! What people are told of a model: what, why, what serves, what happens next, what to do.

use super::super::declared;
use super::super::judge::{LEAST_COSINE, LEAST_SELF_NOISE, Verdict};
use super::{LATER, Pass};
use crate::api::{ConditionType, Reason};
use crate::controller::attempt::waits_for_volumes;
use crate::controller::condition::{self, State};

impl Pass<'_> {
    /// A probe under way; after one that could not measure, its words stay until there are better ones.
    pub(super) fn probing(&self) -> State {
        let generation = self.model.metadata.generation.unwrap_or(0);
        let before = condition::find(&self.plan.status.conditions, ConditionType::Ready)
            .filter(|c| c.observed_generation == generation && c.status == "False")
            .and_then(|c| {
                let kept = [Reason::EndpointUnavailable, Reason::JobFailed, Reason::SourceUnavailable];
                Some((kept.into_iter().find(|reason| reason.as_str() == c.reason)?, c.message.clone()))
            });
        if let Some((reason, message)) = before {
            return State::waiting(reason, message);
        }
        let text = format!(
            "The endpoint is being measured: dimensions, repeatability, likeness to the encoder accepted before. {}",
            self.unused()
        );
        State::waiting(Reason::Probing, text)
    }

    /// Why a probe's pod does not start, when only its Secret or ConfigMap can be the cause.
    pub(super) fn waits_for_files(&self) -> Option<State> {
        let asked = self.model.spec.endpoint.open_ai.as_ref()?;
        let named: Vec<String> = [
            asked.api_key.as_ref().map(|key| format!("Secret `{}` with key `{}`", key.name, key.key)),
            asked.ca_bundle.as_ref().map(|key| format!("ConfigMap `{}` with key `{}`", key.name, key.key)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let waits = self.observed.probe.pods.iter().any(|pod| waits_for_volumes(pod, self.observed.now));
        if named.is_empty() || !waits {
            return None;
        }
        let text = format!(
            "The probe's pod cannot start: it waits for {}. {} Create what is missing in this namespace; it starts by itself \
             then.",
            named.join(" and "),
            self.unused()
        );
        Some(State::waiting(Reason::PodConfigError, text))
    }

    /// A bad verdict in words; `None` for a good one.
    pub(super) fn refused(&self, verdict: Verdict) -> Option<State> {
        let declared = self.model.spec.dimensions;
        let subject = self.subject();
        let (found, advice) = match verdict {
            Verdict::Same => return None,
            Verdict::DimensionMismatch { found } => (
                format!("{subject} returns vectors with {found} dimensions; `spec.dimensions` declares {declared}."),
                "Correct the endpoint; if the declaration is wrong, create a new EmbeddingModel with the right number.",
            ),
            Verdict::Noisy { cosine } => (
                format!(
                    "{subject} does not repeat itself: two encodings of one text have cosine {cosine:.5}, at least \
                     {LEAST_SELF_NOISE} is needed to tell a changed encoder from noise."
                ),
                "Use one server version, one precision and a fixed batch order behind the address.",
            ),
            Verdict::Drifted { cosine } => (
                format!(
                    "{subject} gives other vectors than the encoder that was accepted: mean cosine {cosine:.4}, at least \
                     {LEAST_COSINE} is needed; indexes that it did not build would return wrong results."
                ),
                "Put the old endpoint back, or declare the other encoder as a new EmbeddingModel and name it in the index.",
            ),
        };
        let text = format!("{found} {} {advice} {}", self.unused(), self.again());
        Some(State::stalled(verdict.reason()?, text))
    }

    /// The declared endpoint in words.
    fn subject(&self) -> String {
        let endpoint = &self.model.spec.endpoint;
        match (&endpoint.open_ai, &endpoint.managed) {
            (Some(asked), _) => asked.url.clone(),
            (None, Some(managed)) => {
                format!("The model directory `{}` on claim `{}`", managed.model.path, managed.model.claim_name)
            }
            (None, None) => "The endpoint".to_owned(),
        }
    }

    /// What serves while the declared endpoint has not passed.
    pub(super) fn unused(&self) -> String {
        let status = &self.plan.status;
        let accepted = status.endpoint.as_ref().map(|e| declared::measured(&self.model.spec, e));
        match (&status.url, accepted) {
            (Some(_), Some(accepted)) if accepted == self.digest => "Pods use this endpoint already.".to_owned(),
            (Some(_), Some(_)) if self.trial().is_some() => {
                "Pods keep using the server with the model directory before.".to_owned()
            }
            (Some(url), _) => format!("Pods keep using {url}."),
            (None, _) => "No pod uses this encoder yet.".to_owned(),
        }
    }

    pub(super) fn untouched(&self) -> &'static str {
        match self.plan.status.url {
            Some(_) => "Nothing was touched: pods keep using the endpoint that was accepted.",
            None => "Nothing was created.",
        }
    }

    pub(super) fn again(&self) -> String {
        format!("To measure again at once, delete Job {}.", self.probe_name)
    }

    pub(super) fn not_owned(&self, kind: &str, name: &str) -> State {
        let text = format!(
            "{kind} `{name}` exists in this namespace and does not belong to this EmbeddingModel; nothing was written. \
             Delete or rename it, or create the EmbeddingModel under another name."
        );
        State::stalled(Reason::NotOwned, text)
    }

    pub(super) fn in_use(&mut self) -> State {
        self.plan.look_again(LATER);
        let users = &self.observed.users;
        let named = users.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = users.len().saturating_sub(5);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!(
            "Deletion waits: {named}{rest} still use this encoder, which goes on as it is. Delete them, or let them name \
             another model; it is removed by itself then."
        );
        State::waiting(Reason::InUse, text)
    }
}
