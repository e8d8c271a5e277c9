//! The rollback window: what was promoted is watched on, and goes back by itself.

use anyhow::{Context as _, Result, ensure};
use rag_operator::api::EvalGate;
use serde_json::json;

use crate::bench::{
    Bench, LATER, SOON, answers, api, apply_text, release, remove_release, until_promoted, until_ready, until_release,
};
use crate::demo::cluster::Cluster;
use crate::demo::load::{self, Load};
use crate::demo::objects::{Look, apply, delete, poll};

const NAME: &str = "windowed";
/// Searches a second.
const RATE: u32 = 50;
/// Answers in a row that show that users are served again.
const WELL: usize = 30;
/// No document has a word of it: a search by vector finds the nearest all the same, one by keywords nothing.
const WORDS_OF_NOBODY: &str = "zzyzx qwertz";

/// A promoted revision finds nothing for what users ask: its objective is breached in the window, all traffic goes back
/// to the revision before, and users get results again.
pub async fn a_promoted_revision_that_turns_bad_goes_back(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply_text(
        cluster,
        "{apiVersion: ragops.dev/v1alpha1, kind: EvalGate, metadata: {name: finds}, spec: {online: {objectives: [{name: \
         finds-something, signal: EmptyRate, max: 0.05}], interval: 1s}}}",
    )
    .await?;
    until_ready::<EvalGate>(cluster, "finds", LATER).await?;
    let at_once = [
        ("/rollout/gates", json!([{"name": "finds", "when": "DuringTraffic"}])),
        ("/rollout/steps", json!([{"weight": 100}])),
    ];
    apply(&cluster.client, &release(NAME, &at_once)?).await?;
    let before = until_promoted(cluster, NAME).await?;
    let by_words = at_once.into_iter().chain([("/retrieval/mode", json!("Keyword"))]).collect::<Vec<_>>();
    apply(&cluster.client, &release(NAME, &by_words)?).await?;
    let promoted = until_promoted(cluster, NAME).await?;
    ensure!(promoted != before && answers(cluster, NAME).await? == promoted, "the change serves nobody");

    let load = Load::start(&format!("{}/e2e-{NAME}", cluster.gateway), vec![WORDS_OF_NOBODY.to_owned()], RATE)?;
    let outcome = goes_back(cluster, &load, &before, &promoted).await;
    let tally = load.stop().await;
    outcome.with_context(|| format!("users got {:?}, and beside it {}", tally.good, load::in_words(&tally.bad)))?;
    let other = tally.bad.keys().any(|words| words != "200 without results");
    ensure!(!other, "more than empty answers: {}", load::in_words(&tally.bad));
    remove_release(cluster, NAME).await?;
    delete(&api::<EvalGate>(&cluster.client), "finds").await
}

async fn goes_back(cluster: &Cluster, load: &Load, before: &str, promoted: &str) -> Result<()> {
    let (status, serving, message) =
        until_release(cluster, NAME, "the promoted revision to go back", |status, seen| {
            let back = seen.word("Stalled") == ("True".to_owned(), "RolledBack".to_owned());
            back.then(|| (status.clone(), seen.word("Serving").0, seen.message("Stalled")))
        })
        .await?;
    let serves = status.stable.as_ref().map(|s| (s.revision.as_str(), s.weight));
    ensure!(serves == Some((before, 100)) && status.candidate.is_none(), "{serves:?} serves, {:?}", status.candidate);
    ensure!(status.previous.is_none(), "there is still a way back: {:?}", status.previous);
    let failed: Vec<(&str, &str)> =
        status.failed_revisions.iter().map(|f| (f.revision.as_str(), f.reason.as_str())).collect();
    ensure!(failed == [(promoted, "SloBreached")], "remembered as failed: {failed:?}");
    let last = status.history.last().map(|entry| (entry.revision.as_str(), entry.outcome.as_str()));
    ensure!(last == Some((promoted, "RolledBack")), "the history ends with {last:?}");
    let breached = format!("Objective finds-something of gate finds is breached by revision {promoted}");
    for part in [breached, format!("Revision {before} serves 100 %"), format!("ragops.dev/retry={promoted}")] {
        ensure!(message.contains(&part), "{part:?} is not said: {message}");
    }
    ensure!(serving == "True", "Serving is {serving}");
    poll("users to get results of the revision before", SOON, async || {
        let last = load.last(WELL);
        let well = last.answered_by(before) == WELL;
        Ok(if well { Look::Done(()) } else { Look::NotYet(format!("{:?}, {:?}", last.good, last.bad)) })
    })
    .await
}
