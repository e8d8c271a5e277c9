//! The command line of `rag`: one subcommand a program.

use clap::{Parser, Subcommand};

use crate::worker;

/// A change of a RAG index is a release.
#[derive(Parser, Debug)]
#[command(name = "rag", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The programs.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Build, verify or delete index versions.
    Index(worker::index::Args),
    /// Measure one or two arms on a labelled query set and judge.
    Evaluate(worker::evaluate::Args),
    /// Answer retrieval requests over one index version.
    Serve(worker::serve::Args),
    /// Serve a small local model over an OpenAI-compatible call.
    Embed(worker::embed::Args),
    /// Measure an encoder: dimension, self-noise, sketch.
    Probe(worker::probe::Args),
    /// Unpack a tar from standard input into a directory.
    Receive(worker::receive::Args),
    /// Print the CRD YAML.
    Crds,
    /// Run the four controllers.
    Operator(crate::controller::Args),
}
