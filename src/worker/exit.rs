//! How a worker ends: an exit code, a line for people, and in a Job a receipt.
//!
//! Invariant: with `RAG_JOB` set a failure always leaves a receipt of kind `error`.

use std::process::ExitCode;

use super::job::{JobInput, paths};
use super::receipt::{Body, EXIT_INVALID, EXIT_UNAVAILABLE, ErrorReport, Receipt, clip};
use crate::api::names;

/// A failure of a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Configuration or data are wrong: the same input fails again. Exit 42.
    #[error("{text}")]
    Invalid { reason: String, text: String },
    /// A source or service could not be reached: a new attempt may help. Exit 43.
    #[error("{text}")]
    Unavailable { reason: String, text: String },
}

impl Failure {
    pub fn invalid(reason: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into(), text: text.into() }
    }

    pub fn unavailable(reason: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), text: text.into() }
    }

    fn parts(&self) -> (i32, &str, &str) {
        match self {
            Self::Invalid { reason, text } => (EXIT_INVALID, reason, text),
            Self::Unavailable { reason, text } => (EXIT_UNAVAILABLE, reason, text),
        }
    }

    /// The exit code.
    pub fn code(&self) -> i32 {
        self.parts().0
    }
}

/// The input in the environment: `None` outside a Job.
pub fn job_input() -> Result<Option<JobInput>, Failure> {
    let Some(text) = std::env::var_os(names::ENV_JOB) else { return Ok(None) };
    let text = text.to_string_lossy();
    let input: JobInput = serde_json::from_str(&text).map_err(|e| {
        Failure::invalid("InvalidSpec", format!("{} is not a job input of this version: {e}", names::ENV_JOB))
    })?;
    if input.v != 1 {
        return Err(Failure::invalid(
            "InvalidSpec",
            format!("job input has version {}, this program reads 1", input.v),
        ));
    }
    Ok(Some(input))
}

/// Ends a Job: writes the receipt where the kubelet reads it, says on stderr what went wrong.
pub fn finish(run: &str, outcome: Result<Body, Failure>) -> ExitCode {
    let (code, body) = match outcome {
        Ok(body) => (0, body),
        Err(failure) => {
            let (code, reason, text) = failure.parts();
            eprintln!("error: {text}");
            let error = clip(text, 1024, 3600);
            (code, Body::Error(ErrorReport { reason: reason.to_owned(), error }))
        }
    };
    let receipt = Receipt { v: 1, run: run.to_owned(), body };
    let written = receipt
        .to_line()
        .map_err(|e| e.to_string())
        .and_then(|line| std::fs::write(paths::TERMINATION_LOG, line).map_err(|e| e.to_string()));
    match written {
        Ok(()) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: cannot write the receipt to {}: {error}", paths::TERMINATION_LOG);
            ExitCode::from(1)
        }
    }
}

/// Ends a command outside a Job.
pub fn report(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, _, text) = failure.parts();
            eprintln!("error: {text}");
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}
