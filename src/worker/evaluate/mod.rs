//! rag evaluate

/// Flags of `rag evaluate`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag evaluate`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
