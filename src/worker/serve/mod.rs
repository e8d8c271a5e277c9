//! rag serve

/// Flags of `rag serve`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag serve`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
