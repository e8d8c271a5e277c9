//! How a worker ends: an exit code, a line for people, and in a Job a receipt.
//!
//! Invariant: with `RAG_JOB` set a failure always leaves a receipt of kind `error`.

use std::io::{ErrorKind, Write as _};
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

/// A job input that cannot be read. It can only be finished: without a receipt the operator would learn nothing.
#[derive(Debug)]
pub struct Unread {
    /// As far as the input names it: with it the operator takes the receipt as that of its Job.
    run: String,
    failure: Failure,
}

impl Unread {
    /// Ends the Job.
    pub fn finish(self) -> ExitCode {
        finish(&self.run, Err(self.failure))
    }
}

/// The input in the environment: `None` outside a Job.
pub fn job_input() -> Result<Option<JobInput>, Unread> {
    std::env::var_os(names::ENV_JOB).map(|text| read(&text.to_string_lossy())).transpose()
}

fn read(text: &str) -> Result<JobInput, Unread> {
    let unread = |why: String| {
        // Whatever version wrote it: only the run is looked for.
        let whole: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let run = whole.as_ref().and_then(|whole| whole.get("run")?.as_str()).unwrap_or_default();
        // One that we wrote is of 72 plain characters at most; of another nothing can be made.
        Unread { run: clip(run, 72, 72), failure: Failure::invalid("InvalidSpec", why) }
    };
    let input: JobInput = serde_json::from_str(text)
        .map_err(|e| unread(format!("{} is not a job input of this version: {e}", names::ENV_JOB)))?;
    if input.v != 1 {
        return Err(unread(format!("job input has version {}, this program reads 1", input.v)));
    }
    Ok(input)
}

/// Ends a Job: writes the receipt where the kubelet reads it, says on stderr what went wrong.
pub fn finish(run: &str, outcome: Result<Body, Failure>) -> ExitCode {
    let code = outcome.as_ref().map_or_else(Failure::code, |_| 0);
    if let Err(failure) = &outcome {
        eprintln!("error: {failure}");
    }
    let receipt = receipt(run, outcome);
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

fn receipt(run: &str, outcome: Result<Body, Failure>) -> Receipt {
    let body = outcome.unwrap_or_else(|failure| {
        let (_, reason, text) = failure.parts();
        Body::Error(ErrorReport { reason: reason.to_owned(), error: clip(text, 1024, 3600) })
    });
    Receipt { v: 1, run: run.to_owned(), body }
}

/// Ends a command outside a Job.
pub fn report(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, _, text) = failure.parts();
            tell(&format!("error: {text}"));
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// Prints a result. A reader that has seen enough, such as `head`, closes the pipe: no error, the outcome stays.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// The same, for a command whose result is all that it leaves.
pub fn print_result(text: &str) -> Result<(), Failure> {
    print(text).map_err(|error| Failure::unavailable("InternalError", unprinted(&error)))
}

/// Why a result is not on standard output.
pub fn unprinted(error: &std::io::Error) -> String {
    format!("standard output: cannot be written: {error}")
}

/// Says something beside the result. Who closed standard error does not want to hear it.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line that the kubelet would get.
    fn line(text: &str) -> String {
        let Unread { run, failure } = read(text).unwrap_err();
        assert_eq!(failure.code(), EXIT_INVALID);
        receipt(&run, Err(failure)).to_line().unwrap()
    }

    #[test]
    fn an_input_of_another_version_leaves_a_receipt_of_its_run() {
        for (input, words) in [
            (r#"{"v":1,"run":"r1","task":{"prune":{"ownerUid":"u","physical":[]}},"new":1}"#, "unknown field `new`"),
            (r#"{"v":1,"run":"r1","task":{"dance":{}}}"#, "dance"),
            (r#"{"v":2,"run":"r1","task":{"prune":{"ownerUid":"u","physical":[]}}}"#, "version 2"),
            (r#"{"v":"next","run":"r1"}"#, "invalid type"),
        ] {
            let found = Receipt::parse(&line(input), "r1").unwrap_or_else(|refused| panic!("{input}: {refused}"));
            let Body::Error(ErrorReport { reason, error }) = found.body else { panic!("{input}: no error") };
            assert!(reason == "InvalidSpec" && error.contains(words), "{input}: {error}");
        }
    }

    #[test]
    fn an_input_that_names_no_run_leaves_a_receipt_for_people() {
        for input in ["", "{", "[]", "7", r#"{"run": 7}"#, r#"{"v": 1, "run": "r1""#] {
            assert!(Receipt::parse(&line(input), "").is_ok(), "{input}");
        }
        // However long what stands there is, and however little of it is a run.
        let long = format!(r#"{{"run": "{}"}}"#, r"\u0001".repeat(9_000));
        assert!(line(&long).contains("not a job input"));
    }
}
