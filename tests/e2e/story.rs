//! The five steps of the demo, asserted.

use anyhow::{Context as _, Result, ensure};

use crate::bench::{Bench, STORY};
use crate::demo::objects::remove_namespace;
use crate::demo::story::{STEPS, Story};

/// The story so far, taken out: a step that fails leaves none, and later steps say so.
async fn so_far(bench: &Bench) -> Result<Story<'static>> {
    bench.story.lock().await.take().context("an earlier step of the story failed or was not run")
}

pub async fn a_first_release(bench: &Bench) -> Result<()> {
    let cluster = bench.operator().await?;
    let mut story = Story::prepare(cluster, STORY).await?;
    let facts = story.first_release().await?;
    ensure!(facts.documents > 0 && facts.chunks >= facts.documents, "{} documents", facts.documents);
    ensure!(!facts.answer_title.is_empty(), "the first answer has neither title nor document");
    *bench.story.lock().await = Some(story);
    Ok(())
}

pub async fn b_good_change(bench: &Bench) -> Result<()> {
    let mut story = so_far(bench).await?;
    let facts = story.good_change().await?;
    ensure!(facts.steps.iter().map(|s| s.weight).eq(STEPS), "not every step was counted");
    ensure!(facts.counted.iter().all(|c| c.pods > 0), "a revision has answered nothing");
    *bench.story.lock().await = Some(story);
    Ok(())
}

pub async fn c_poor_change(bench: &Bench) -> Result<()> {
    let mut story = so_far(bench).await?;
    let facts = story.poor_change().await?;
    ensure!(facts.reached == 0 && facts.highest_weight == 0, "the poor index reached users");
    ensure!(facts.run.metrics.iter().any(|m| m.difference.is_some_and(|d| d < 0.0)), "no metric is worse");
    *bench.story.lock().await = Some(story);
    Ok(())
}

pub async fn d_change_that_turns_bad(bench: &Bench) -> Result<()> {
    let mut story = so_far(bench).await?;
    let facts = story.change_that_turns_bad().await?;
    ensure!(facts.errors() > 0, "users saw no error: the fault was never felt");
    ensure!(facts.requests > 0, "no request was made while the encoder failed");
    *bench.story.lock().await = Some(story);
    Ok(())
}

pub async fn e_operator_killed(bench: &Bench) -> Result<()> {
    let mut story = so_far(bench).await?;
    let facts = story.operator_killed().await?;
    ensure!(facts.weights == STEPS, "the weights were {:?}", facts.weights);
    *bench.story.lock().await = Some(story);
    Ok(())
}

pub async fn every_request_is_accounted_for(bench: &Bench) -> Result<()> {
    let cluster = bench.cluster().await?;
    let tally = so_far(bench).await?.end().await?;
    ensure!(
        tally.good_total() + tally.bad_total() == tally.requests,
        "{} requests ended in {} good and {} bad answers",
        tally.requests,
        tally.good_total(),
        tally.bad_total()
    );
    remove_namespace(&cluster.client, STORY).await
}
