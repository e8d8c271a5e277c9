//! `rag`: parses, starts telemetry, dispatches, maps to an exit code.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::disallowed_methods))]

use std::process::ExitCode;

use clap::Parser;
use rag_operator::args::{Cli, Command};
use rag_operator::{controller, telemetry, worker};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    telemetry::start();
    // One TLS provider for every client of the process; a second installation is impossible here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.command {
        Command::Index(args) => worker::index::run(args),
        Command::Evaluate(args) => worker::evaluate::run(args),
        Command::Serve(args) => worker::serve::run(args),
        Command::Embed(args) => worker::embed::run(args),
        Command::Probe(args) => worker::probe::run(args),
        Command::Receive(args) => worker::receive::run(args),
        Command::Crds => controller::crds::print(),
        Command::Operator(args) => controller::run(args),
    }
}
