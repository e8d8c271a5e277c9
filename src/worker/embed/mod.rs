//! rag embed

/// Flags of `rag embed`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag embed`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
