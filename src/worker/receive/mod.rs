//! rag receive

/// Flags of `rag receive`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag receive`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
