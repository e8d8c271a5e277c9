//! rag index

/// Flags of `rag index`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag index`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}
