//! The demo: one release from YAML to traffic and back, on a real cluster, in plain words with numbers.
//!
//! Exit 0 only if all of it came true. The cluster stays up. `DATASET=DIR` searches another collection,
//! `CLUSTER=current` uses the kubeconfig's context.

#[path = "mod.rs"]
mod demo;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;

use demo::cluster::{Cluster, Programs};
use demo::install;
use demo::load::{Tally, in_words};
use demo::story::change::Promotion;
use demo::story::first::FirstRelease;
use demo::story::reject::Rejection;
use demo::story::restart::Restart;
use demo::story::rollback::Rollback;
use demo::story::{RATE, STEPS, Story};
use rag_operator::api::gate::GateRun;

/// Namespace of the demo, as in examples/handbook.
const NAMESPACE: &str = "handbook";

#[tokio::main]
async fn main() -> ExitCode {
    match tell().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe story did not come true: {error:#}");
            ExitCode::from(1)
        }
    }
}

async fn tell() -> Result<()> {
    let rag =
        std::env::current_exe()?.ancestors().nth(2).context("the demo has no build directory around it")?.join("rag");
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(["step", "what came true", "took"]);
    println!("Connecting to the cluster, loading the images …");
    let cluster = Cluster::connect(&Programs::beside(rag)).await?;
    println!("Installing the CRDs and the operator …");
    install::install(&cluster).await?;
    println!("Filling the claims with documents, queries and encoders …");
    let mut story = Story::prepare(&cluster, NAMESPACE).await?;
    println!("Searching {}.", story.dataset.describe());

    headline("a", "Models, index, gates and release are applied");
    let first = story.first_release().await?;
    table.add_row(say_first(&first, &story.address));

    headline("b", "mode: Hybrid");
    let promotion = story.good_change().await?;
    table.add_row(say_promotion(&promotion));

    headline("c", "indexRef names an index with a poor encoder");
    let rejection = story.poor_change().await?;
    table.add_row(say_rejection(&rejection));

    headline("d", "indexRef names an index whose encoder will fail at 10 %");
    let rollback = story.change_that_turns_bad().await?;
    table.add_row(say_rollback(&rollback));

    headline("e", "Another good change, and the operator is killed in the middle of a step");
    let restart = story.operator_killed().await?;
    table.add_row(say_restart(&restart));

    let tally = story.end().await?;
    println!("\n{table}\n");
    say_load(&tally, &rollback);
    println!("\nThe cluster stays up. Look around:");
    for line in cluster.how_to_look(NAMESPACE) {
        println!("  {line}");
    }
    println!("Remove it:\n  {}", cluster.how_to_remove(NAMESPACE));
    Ok(())
}

fn headline(step: &str, words: &str) {
    println!("\n{step}. {words}");
}

fn say_first(first: &FirstRelease, address: &str) -> [String; 3] {
    println!(
        "   index {}: {} documents in {} chunks, built and read back",
        first.version, first.documents, first.chunks
    );
    say_run(&first.run, "nothing serves yet, so floors decide");
    println!("   revision {} serves at {address}", first.revision);
    println!("   asked: {:?}", first.question);
    println!("   answered by {}: {:?}", first.answer_revision, first.answer_title);
    println!("   from now on {RATE} requests a second go through the gateway");
    ["a".to_owned(), format!("first release {} held its floors and serves 100 %", first.revision), seconds(first.took)]
}

fn say_promotion(promotion: &Promotion) -> [String; 3] {
    println!("   new revision {}, compared with {}", promotion.to, promotion.from);
    say_run(&promotion.run, "both revisions answered the same queries");
    for step in &promotion.steps {
        println!(
            "   at weight {:>3}: {} of {} requests went to {}",
            step.weight, step.to_candidate, step.requests, promotion.to
        );
    }
    for counted in &promotion.counted {
        println!(
            "   {}: {} answers counted in its pods, {} to {} at the client at that time",
            counted.revision, counted.pods, counted.client.0, counted.client.1
        );
    }
    println!("   {} requests meanwhile, every one answered", promotion.requests);
    ["b".to_owned(), format!("{} passed and went {STEPS:?} %; 0 bad answers", promotion.to), seconds(promotion.took)]
}

fn say_rejection(rejection: &Rejection) -> [String; 3] {
    println!("   new revision {}, compared with {}", rejection.revision, rejection.stable);
    say_run(&rejection.run, "so it gets no traffic");
    println!(
        "   {} user requests meanwhile; reached the refused revision: {}; highest weight it had: {}",
        rejection.requests, rejection.reached, rejection.highest_weight
    );
    [
        "c".to_owned(),
        format!("{} failed its gate; user requests that reached it: {}", rejection.revision, rejection.reached),
        seconds(rejection.took),
    ]
}

fn say_rollback(rollback: &Rollback) -> [String; 3] {
    println!("   new revision {} passed its gate and got {} %", rollback.revision, STEPS[0]);
    say_run(&rollback.run, "the encoder still worked");
    println!("   then its encoder began to answer 500");
    println!("   {}: {}", rollback.reason, rollback.message);
    println!(
        "   scrape complete → write of the route sent (the operator's own time): {}",
        milliseconds(rollback.own_time)
    );
    if let Some(received) = rollback.route_received {
        println!(
            "   the apiserver had the route's change at {}",
            Timestamp::try_from(received).map_or_else(|e| e.to_string(), |t| t.to_string())
        );
    }
    match rollback.data_plane {
        Some(time) => println!("   route request received → last bad answer (data plane): {}", milliseconds(time)),
        None => println!("   the data plane's own time needs the apiserver's audit log, which cannot be read here"),
    }
    println!(
        "   fault switched on → route changed: {}; → last bad answer: {}",
        milliseconds(rollback.until_route),
        milliseconds(rollback.until_last_bad)
    );
    println!(
        "   users saw {} errors in {} requests: {}",
        rollback.errors(),
        rollback.requests,
        in_words(&rollback.bad)
    );
    println!("   {} serves 100 % again", rollback.stable);
    [
        "d".to_owned(),
        format!(
            "{} turned bad at {} %, all traffic back on {}; own time {}, {} errors seen",
            rollback.revision,
            STEPS[0],
            rollback.stable,
            milliseconds(rollback.own_time),
            rollback.errors()
        ),
        seconds(rollback.until_last_bad),
    ]
}

fn say_restart(restart: &Restart) -> [String; 3] {
    println!("   {} → {}", restart.from, restart.to);
    say_run(&restart.run, "measured once");
    println!("   operator killed at weight {}, started again {} time(s)", restart.killed_at, restart.restarts);
    println!(
        "   weights of the route: {:?}; {} requests meanwhile, every one answered",
        restart.weights, restart.requests
    );
    [
        "e".to_owned(),
        format!("killed at {} %, went on: {:?} %, no step twice, none left out", restart.killed_at, restart.weights),
        seconds(restart.took),
    ]
}

fn say_run(run: &GateRun, remark: &str) {
    println!("   gate {:?} ({}) on {} queries: {remark}", run.verdict, run.reason, run.n);
    for metric in &run.metrics {
        let paired = match (metric.baseline, metric.difference, metric.lower, metric.upper) {
            (Some(baseline), Some(difference), Some(lower), Some(upper)) => {
                format!(", stable {baseline:.4}, difference {difference:+.4} within [{lower:+.4}, {upper:+.4}]")
            }
            _ => String::new(),
        };
        println!(
            "     {:<10} candidate {:.4}{paired}; required {} → {:?}",
            metric.name, metric.candidate, metric.required, metric.verdict
        );
    }
}

fn say_load(tally: &Tally, rollback: &Rollback) {
    println!(
        "{} requests in all: {} answered, {} not ({}); median {}, 99 % within {}.",
        tally.requests,
        tally.good_total(),
        tally.bad_total(),
        in_words(&tally.bad),
        milliseconds(tally.latency(0.5)),
        milliseconds(tally.latency(0.99)),
    );
    println!("All {} bad answers fell into step d, where the encoder was made to fail.", rollback.errors());
    for (revision, answers) in &tally.good {
        println!("  {revision}: {answers} answers");
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
