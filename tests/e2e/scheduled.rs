//! Runs of a gate on stable by its schedule.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use rag_operator::api::gate::VerdictWord;
use rag_operator::api::names::COMMAND_PROMOTE;
use rag_operator::api::{EvalGate, RagRelease};
use serde_json::json;

use crate::bench::{Bench, answers, api, remove_release, until_promoted, until_release};
use crate::canary::event_about;
use crate::commands::{say, told};
use crate::demo::objects::{apply, delete};
use crate::gates::{ASKED, LABELLED, asked, judge, labelled, until_gate};

/// Judgments of which three in four name documents that no index has.
fn misjudged(lines: Vec<String>) -> Vec<String> {
    let gone = |line: &String| line.replacen('\t', "\tgone-", 1);
    lines.iter().enumerate().map(|(i, line)| if i % 4 == 0 { line.clone() } else { gone(line) }).collect()
}

/// A scheduled run that fails warns and bars candidates at no cost to stable; `promote` lets one take a step, and a run
/// that passes lets it go on.
pub async fn a_run_that_fails_bars_candidates_until_one_passes(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    bench.edited().await?;
    let stable = until_promoted(cluster, ASKED).await?;
    judge(cluster, misjudged).await?;
    // A minute that passed since the promotion is made up for at once.
    labelled(cluster, ", schedule: \"* * * * *\", timeZone: Europe/Berlin").await?;
    let failed = until_release(cluster, ASKED, "a scheduled run to fail", |status, _| {
        let run = status.scheduled.first()?;
        (run.run.verdict == Some(VerdictWord::Fail)).then(|| run.clone())
    })
    .await?;
    let says = failed.failed.clone().unwrap_or_default();
    ensure!(failed.run.revision == stable && says.contains("must be at least 0.4"), "it says {says}");
    event_about(cluster, ASKED, "nothing is rolled back").await?;
    until_release(cluster, ASKED, "Ready to warn", |_, seen| {
        let warned = seen.message("Ready").contains("The scheduled run of gate labelled failed");
        (warned && seen.word("Ready").0 == "True").then_some(())
    })
    .await?;

    // No minute of the schedule comes while the candidate is looked at.
    judge(cluster, |lines| lines).await?;
    labelled(cluster, ", schedule: \"0 0 29 2 *\"").await?;
    let half = ("/rollout/steps", json!([{"weight": 50}, {"weight": 100}]));
    apply(&cluster.client, &asked(&[("/retrieval/topK", json!(12)), half])?).await?;
    let candidate = until_release(cluster, ASKED, "the candidate to be barred", |status, seen| {
        let barred = seen.word("Ready").1 == "GateFailed" && seen.message("Ready").contains("takes no step");
        let passed = status.gates.first().is_some_and(|gate| gate.verdict == Some(VerdictWord::Pass));
        status.candidate.clone().filter(|_| barred && passed)
    })
    .await?;
    let status = api::<RagRelease>(&cluster.client).get(ASKED).await?.status.unwrap_or_default();
    let serves = status.stable.as_ref().map(|s| (s.revision.clone(), s.weight));
    ensure!(candidate.weight == 0 && serves == Some((stable.clone(), 100)), "traffic moved: {serves:?}, {candidate:?}");
    ensure!(status.failed_revisions.is_empty() && status.history.len() == 1, "something was rolled back: {status:?}");
    ensure!(answers(cluster, ASKED).await? == stable, "another revision than stable answers");

    say(cluster, ASKED, &[(COMMAND_PROMOTE, &candidate.revision)]).await?;
    until_release(cluster, ASKED, "the candidate to be let to its first step, and barred there", |status, seen| {
        let now = status.candidate.as_ref().filter(|c| c.revision == candidate.revision)?;
        let barred = seen.word("Ready").1 == "GateFailed" && seen.message("Ready").contains("takes no step");
        (barred && (now.step, now.weight) == (1, 50)).then_some(())
    })
    .await?;
    told(cluster, ASKED, "promote", &candidate.revision, "on to the next step").await?;

    labelled(cluster, ", schedule: \"* * * * *\"").await?;
    let promoted = until_promoted(cluster, ASKED).await?;
    ensure!(promoted == candidate.revision, "{promoted} was promoted, not {}", candidate.revision);
    let listed = until_gate(cluster, LABELLED, "to list a scheduled run that passed", |gate| {
        let of_stable = gate.last_runs.iter().filter(|run| run.scheduled && run.revision == stable);
        let verdicts: Vec<VerdictWord> = of_stable.map(|run| run.verdict).collect();
        (verdicts.first() == Some(&VerdictWord::Pass) && verdicts.contains(&VerdictWord::Fail)).then(|| gate.clone())
    })
    .await?;
    let jobs: BTreeSet<&str> = listed.last_runs.iter().map(|run| run.job.as_str()).collect();
    ensure!(jobs.len() == listed.last_runs.len() && jobs.len() <= 20, "a run is listed twice: {jobs:?}");
    let scheduled = api::<RagRelease>(&cluster.client).get(ASKED).await?.status.unwrap_or_default().scheduled;
    ensure!(scheduled.iter().all(|run| run.run.revision == promoted), "a run of the revision before: {scheduled:?}");
    remove_release(cluster, ASKED).await?;
    delete(&api::<EvalGate>(&cluster.client), LABELLED).await
}
