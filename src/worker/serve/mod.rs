//! rag serve

/// Flags of `rag serve`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs `rag serve`.
pub fn run(_args: Args) -> std::process::ExitCode {
    std::process::ExitCode::from(64)
}

/// A flag with a Go-style duration.
pub fn duration_flag(text: &str) -> Result<std::time::Duration, String> {
    super::encoder::duration("this", text).map_err(|failure| failure.to_string())
}
