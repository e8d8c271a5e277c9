//! rag probe

/// Flags of `rag probe`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag probe`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
