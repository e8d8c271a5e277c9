//! What a person says to a release in mid-canary, by `kubectl annotate`.

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use rag_operator::api::RagRelease;
use rag_operator::api::names::{COMMAND_ABORT, COMMAND_PROMOTE, COMMAND_RETRY};
use rag_operator::api::release::{HandledCommand, RagReleaseStatus};
use serde_json::{Value, json};

use crate::bench::{Bench, CASES, SOON, answers, api, remove_release, until_promoted, until_release};
use crate::canary::{MidCanary, event_about};
use crate::demo::cluster::Cluster;
use crate::demo::objects::{Look, poll};
use crate::demo::trace::{Mark, Trace, course};

/// Field manager of the person.
const PERSON: &str = "on-call";
/// Answers in a row: at 50 % one in a thousand such rows would be chance.
const IN_A_ROW: u32 = 10;

/// Commands that name another revision do nothing and say so. Promote goes one step, abort back to stable; retry begins
/// anew, gates included, although the abort still stands there; promote with `!` goes straight to 100 %.
pub async fn a_candidate_obeys_its_commands_and_no_others(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let steps = json!([{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}, {"weight": 100}]);
    let gates = json!([{"name": "answers-stay-good", "when": "BeforeTraffic"}]);
    let rollout = [("/rollout/steps", steps), ("/rollout/gates", gates)];
    let canary = MidCanary::with_rollout(cluster, "commanded", &rollout).await?;
    let trace = Trace::start(cluster, CASES, canary.name);
    let (stable, candidate) = (canary.stable.as_str(), canary.candidate.as_str());

    others_are_told_and_ignored(cluster, &canary).await?;

    say(cluster, canary.name, &[(COMMAND_PROMOTE, candidate)]).await?;
    until_release(cluster, canary.name, "promote to bring the next step", |status, _| {
        let now = status.candidate.as_ref()?;
        (now.revision == candidate && (now.step, now.weight) == (2, 50) && now.step_started_at.is_some()).then_some(())
    })
    .await?;
    told(cluster, canary.name, "promote", candidate, "on to the next step").await?;

    say(cluster, canary.name, &[(COMMAND_ABORT, candidate)]).await?;
    let (aborted, serving, message) =
        until_release(cluster, canary.name, "abort to withdraw the candidate", |status, seen| {
            let withdrawn = seen.word("Stalled") == ("True".to_owned(), "Aborted".to_owned());
            withdrawn.then(|| (status.clone(), seen.word("Serving").0, seen.message("Stalled")))
        })
        .await?;
    told(cluster, canary.name, "abort", candidate, &format!("revision {candidate} is withdrawn")).await?;
    is_withdrawn(&aborted, &canary)?;
    let says = message.contains(&format!("Revision {stable} serves 100 %"));
    ensure!(serving == "True" && says, "Serving {serving}: {message}");
    only_answers(cluster, canary.name, stable).await?;

    // What was ignored above is not shown again: it would do nothing.
    let shown = message.split_once("ragops.dev/retry=").and_then(|(_, rest)| rest.split_whitespace().next());
    let retry = shown.with_context(|| format!("no command is shown: {message}"))?;
    say(cluster, canary.name, &[(COMMAND_RETRY, retry)]).await?;
    told(cluster, canary.name, "retry", retry, &format!("revision {candidate} may start again")).await?;
    let status = until_release(cluster, canary.name, "retry to begin anew", |status, _| {
        let now = status.candidate.as_ref()?;
        let holds = now.revision == candidate && (now.step, now.weight) == (1, 10) && now.step_started_at.is_some();
        holds.then(|| status.clone())
    })
    .await?;
    ensure!(status.failed_revisions.is_empty(), "the failure is not forgotten: {:?}", status.failed_revisions);
    let measured = |status: &RagReleaseStatus| status.gates.first().and_then(|gate| gate.job.clone());
    let (first, again) = (measured(&aborted), measured(&status));
    ensure!(first.is_some() && again.is_some() && first != again, "the gate ran as {first:?} and then as {again:?}");

    say(cluster, canary.name, &[(COMMAND_PROMOTE, &format!("{candidate}!"))]).await?;
    let promoted = until_promoted(cluster, canary.name).await?;
    ensure!(promoted == candidate, "{promoted} was promoted, not {candidate}");
    told(cluster, canary.name, "promote", &format!("{candidate}!"), "straight to 100 %").await?;
    the_route_went(&trace, &canary.service(candidate), &[10, 50, 0, 10, 100]).await?;
    remove_release(cluster, canary.name).await
}

/// Commands that name another revision than they could be for: listed, told by an event, and nothing moves.
async fn others_are_told_and_ignored(cluster: &Cluster, canary: &MidCanary) -> Result<()> {
    let (release, candidate) = (canary.name, canary.candidate.as_str());
    let (stable, all) = (canary.stable.as_str(), format!("{}!", canary.stable));
    say(cluster, release, &[(COMMAND_ABORT, stable), (COMMAND_PROMOTE, &all), (COMMAND_RETRY, candidate)]).await?;
    let other = format!("ignored: the candidate is {candidate}");
    told(cluster, release, "abort", stable, &other).await?;
    told(cluster, release, "promote", &all, &other).await?;
    let never_failed = format!("ignored: revision {candidate} is not among the failed ones");
    told(cluster, release, "retry", candidate, &never_failed).await?;
    for said in [format!("abort={stable}"), format!("promote={all}"), format!("retry={candidate}")] {
        event_about(cluster, release, &format!("{said} did nothing")).await?;
    }
    canary.has_not_moved(cluster).await
}

/// The withdrawn candidate is gone with its weight and remembered as what its owner aborted.
fn is_withdrawn(status: &RagReleaseStatus, canary: &MidCanary) -> Result<()> {
    let serves = status.stable.as_ref().map(|s| (s.revision.as_str(), s.weight));
    ensure!(serves == Some((canary.stable.as_str(), 100)), "stable is {serves:?}");
    ensure!(status.candidate.is_none(), "the candidate is still there: {:?}", status.candidate);
    let failed: Vec<(&str, &str)> =
        status.failed_revisions.iter().map(|f| (f.revision.as_str(), f.reason.as_str())).collect();
    ensure!(failed == [(canary.candidate.as_str(), "Aborted")], "remembered as failed: {failed:?}");
    let last = status.history.last().map(|entry| (entry.revision.as_str(), entry.outcome.as_str()));
    ensure!(last == Some((canary.candidate.as_str(), "Aborted")), "the history ends with {last:?}");
    Ok(())
}

/// Waits until every answer is of one revision: the gateway is a moment behind what it says of the route.
async fn only_answers(cluster: &Cluster, release: &str, revision: &str) -> Result<()> {
    let mut in_a_row = 0;
    poll(&format!("only {revision} to answer"), SOON, async || {
        let found = answers(cluster, release).await?;
        in_a_row = if found == revision { in_a_row + 1 } else { 0 };
        Ok(if in_a_row == IN_A_ROW { Look::Done(()) } else { Look::NotYet(format!("{found}, {in_a_row} in a row")) })
    })
    .await
}

/// Weights that the route gave a Service, from the first one on.
async fn the_route_went(trace: &Trace, service: &str, wanted: &[i64]) -> Result<()> {
    poll(&format!("the record to show the weights {wanted:?}"), SOON, async || {
        let weights = course(&trace.routes_since(Mark::default()), service);
        let weights: Vec<i64> = weights.into_iter().take(wanted.len()).collect();
        Ok(if weights == wanted { Look::Done(()) } else { Look::NotYet(format!("{weights:?}")) })
    })
    .await
}

/// Says commands to a release, as `kubectl annotate --overwrite` does.
pub async fn say(cluster: &Cluster, release: &str, commands: &[(&str, &str)]) -> Result<()> {
    let annotations: serde_json::Map<String, Value> =
        commands.iter().map(|(command, value)| ((*command).to_owned(), json!(value))).collect();
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let person = PatchParams { field_manager: Some(PERSON.to_owned()), ..PatchParams::default() };
    api::<RagRelease>(&cluster.client).patch(release, &person, &patch).await?;
    Ok(())
}

/// Waits until the status lists a command, by whom it was said and what came of it.
pub async fn told(cluster: &Cluster, release: &str, command: &str, value: &str, outcome: &str) -> Result<()> {
    let what = format!("the status to list {command}={value}");
    let listed = until_release(cluster, release, &what, |status, _| {
        status.commands.iter().find(|c| c.command == command && c.value == value).cloned()
    })
    .await?;
    let HandledCommand { manager, outcome: found, .. } = listed;
    ensure!(manager == PERSON && found == outcome, "{command}={value} by {manager}: {found}");
    Ok(())
}
