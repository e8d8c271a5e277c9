//! `rag probe`: what an encoder does, measured: its dimension, whether it repeats itself, how long its vectors
//! are, and a sketch of where it puts 64 fixed texts.
//!
//! Why: a declared identity can lie; the operator compares sketches before pods use a changed endpoint.
//!
//! Invariant: numbers only; the operator judges them. The one thing refused here is another dimension than
//! declared, since nothing else could then be compared.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::encoder::{self, Mounts};
use super::exit::{Failure, finish, job_input, print_result, report};
use super::http;
use super::job::{ProbeTask, Task};
use super::receipt::{Body, ProbeReport};
use crate::embedding::openai::{Client, Endpoint, Patience};
use crate::embedding::probe::{Sketch, cosines, texts_of};
use crate::embedding::{Settings, Side, norm};

/// Flags of `rag probe`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Base address of the encoder with its /v1, such as http://127.0.0.1:8080/v1.
    #[arg(long)]
    pub url: Option<String>,
    /// Name sent as `model`.
    #[arg(long, default_value = "default")]
    pub model: String,
    /// Length that the vectors must have; without it any length is reported.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8192))]
    pub dimensions: Option<u32>,
    /// Put before every query.
    #[arg(long, default_value = "")]
    pub query_prefix: String,
    /// Put before every passage.
    #[arg(long, default_value = "")]
    pub passage_prefix: String,
    /// File with a bearer token.
    #[arg(long)]
    pub api_key_file: Option<PathBuf>,
    /// PEM certificates to trust beside the built-in roots.
    #[arg(long)]
    pub ca_bundle: Option<PathBuf>,
    /// Time limit of one try; all tries of a request get 180 s, or twice this where that is longer.
    #[arg(long, default_value = "30s", value_parser = super::serve::duration_flag)]
    pub timeout: Duration,
    /// Sketch of an earlier probe, to compare with.
    #[arg(long)]
    pub sketch: Option<String>,
}

/// Runs `rag probe`.
pub fn run(args: Args) -> ExitCode {
    let input = match job_input() {
        Ok(input) => input,
        Err(unread) => return unread.finish(),
    };
    let Some(input) = input else {
        let Some(url) = args.url.clone() else {
            eprintln!("error: --url http://host:port/v1 is needed: the encoder to measure");
            return ExitCode::from(64);
        };
        return report(http::runtime().and_then(|runtime| runtime.block_on(from_flags(args, url))));
    };
    let Task::Probe(task) = input.task else {
        let failure = Failure::invalid("InvalidSpec", "`rag probe` was given the input of another program");
        return finish(&input.run, Err(failure));
    };
    finish(&input.run, http::runtime().and_then(|runtime| runtime.block_on(from_task(&task))).map(Body::Probe))
}

async fn from_task(task: &ProbeTask) -> Result<ProbeReport, Failure> {
    let settings = encoder::settings(&task.encoder)?;
    let client = encoder::client(&task.encoder, Patience::BUILD, &Mounts::default())?;
    probe(&client, Some(settings.dimensions), task.sketch.as_deref()).await
}

async fn from_flags(args: Args, url: String) -> Result<(), Failure> {
    let (dimensions, sketch) = (args.dimensions.map(|dimensions| dimensions as usize), args.sketch.clone());
    let found = probe(&of_flags(args, url)?, dimensions, sketch.as_deref()).await?;
    let text = serde_json::to_string_pretty(&found)
        .map_err(|error| Failure::invalid("InternalError", format!("the report cannot be written: {error}")))?;
    print_result(&format!("{text}\n"))
}

/// The client, as patient as that of a Job: what passes here passes there.
fn of_flags(args: Args, url: String) -> Result<Client, Failure> {
    let endpoint = Endpoint {
        timeout: args.timeout,
        api_key: args.api_key_file,
        ca_bundle: args.ca_bundle,
        patience: Patience::BUILD,
        ..Endpoint::new(url)
    };
    let settings = Settings {
        model: args.model,
        // Only vectors as they come are looked at.
        dimensions: args.dimensions.map_or(0, |dimensions| dimensions as usize),
        normalize: false,
        query_prefix: args.query_prefix,
        passage_prefix: args.passage_prefix,
        max_input_tokens: crate::embedding::local::DEFAULT_MAX_INPUT_TOKENS,
    };
    Client::new(endpoint, settings).map_err(encoder::failure)
}

/// Embeds the probe texts twice and measures.
pub async fn probe(client: &Client, declared: Option<usize>, sketch: Option<&str>) -> Result<ProbeReport, Failure> {
    let earlier =
        sketch.map(Sketch::parse).transpose().map_err(|error| Failure::invalid("InvalidSpec", error.to_string()))?;
    let first = pass(client).await?;
    let second = pass(client).await?;
    let dimensions = dimensions(&first, &second, declared)?;
    let norms = || first.iter().chain(&second).map(|vector| norm(vector));
    let now = Sketch::of(&first);
    Ok(ProbeReport {
        dimensions: dimensions as i64,
        self_noise: cosines(&first, &second).min,
        norm_min: norms().fold(f64::INFINITY, f64::min),
        norm_max: norms().fold(0.0, f64::max),
        sketch: now.to_text(),
        cosine_mean: earlier.map(|earlier| now.cosines(&earlier).mean),
    })
}

async fn pass(client: &Client) -> Result<Vec<Vec<f32>>, Failure> {
    let mut vectors = client.raw(&texts_of(Side::Query), Side::Query).await.map_err(encoder::failure)?;
    vectors.extend(client.raw(&texts_of(Side::Passage), Side::Passage).await.map_err(encoder::failure)?);
    Ok(vectors)
}

/// The one length of all vectors.
fn dimensions(first: &[Vec<f32>], second: &[Vec<f32>], declared: Option<usize>) -> Result<usize, Failure> {
    let expected = declared.or_else(|| first.first().map(Vec::len)).unwrap_or_default();
    for (text, vector) in [first, second].into_iter().flat_map(|pass| pass.iter().enumerate()) {
        if vector.len() != expected || expected == 0 {
            return Err(Failure::invalid(
                "DimensionMismatch",
                format!(
                    "the encoder returned {} dimensions for probe text {}, {expected} are declared; declare \
                     dimensions: {} in a new EmbeddingModel, or correct the endpoint",
                    vector.len(),
                    text,
                    vector.len()
                ),
            ));
        }
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(Failure::invalid(
                "NoisyEndpoint",
                format!("the encoder returned a value that is not a finite number for probe text {text}"),
            ));
        }
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_long_time_limit_is_waited_for() {
        for (flags, seconds) in [(&["probe"][..], 180), (&["probe", "--timeout", "5m"][..], 600)] {
            let client = of_flags(Line::parse_from(flags).args, "http://e:8080/v1".to_owned()).unwrap();
            assert_eq!(client.total().as_secs(), seconds);
        }
    }
}
