//! Why a run ended before it measured: in a Job a receipt of kind `error`, on the command line verdict Error.

use crate::evaluation::dataset::DatasetError;
use crate::evaluation::mixed::CorpusError;
use crate::evaluation::reach::Nothing;
use crate::evaluation::run::RunError;
use crate::evaluation::slice::GroupError;
use crate::evaluation::verdict::{self, GateJudged, Reason};
use crate::worker::exit::Failure;

/// What kept a run from measuring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    DatasetInvalid,
    /// The data set or an arm is not the planned one.
    InputsChanged,
    SourceUnavailable,
    EndpointUnavailable,
    LowCoverage,
}

/// A run that could not measure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Stopped {
    pub cause: Cause,
    pub text: String,
}

impl Stopped {
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self { cause, text: text.into() }
    }

    fn reason(&self) -> Reason {
        match self.cause {
            Cause::DatasetInvalid => Reason::DatasetInvalid,
            Cause::InputsChanged => Reason::InputsChanged,
            Cause::SourceUnavailable => Reason::SourceUnavailable,
            Cause::EndpointUnavailable => Reason::EndpointUnavailable,
            Cause::LowCoverage => Reason::LowCoverage,
        }
    }

    /// The verdict Error.
    pub fn judged(&self) -> GateJudged {
        verdict::error(self.reason(), self.text.clone())
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        let reason = stopped.reason().as_str();
        match stopped.cause {
            Cause::DatasetInvalid | Cause::InputsChanged => Self::invalid(reason, stopped.text),
            Cause::SourceUnavailable | Cause::EndpointUnavailable | Cause::LowCoverage => {
                Self::unavailable(reason, stopped.text)
            }
        }
    }
}

impl From<DatasetError> for Stopped {
    fn from(error: DatasetError) -> Self {
        let cause = if error.is_transient() { Cause::SourceUnavailable } else { Cause::DatasetInvalid };
        Self::new(cause, error.to_string())
    }
}

impl From<CorpusError> for Stopped {
    fn from(error: CorpusError) -> Self {
        let cause = match &error {
            CorpusError::Read(read) if read.is_transient() => Cause::SourceUnavailable,
            CorpusError::Read(_) | CorpusError::Line { .. } => Cause::DatasetInvalid,
        };
        Self::new(cause, error.to_string())
    }
}

impl From<GroupError> for Stopped {
    fn from(error: GroupError) -> Self {
        Self::new(Cause::DatasetInvalid, error.to_string())
    }
}

impl From<Nothing> for Stopped {
    fn from(error: Nothing) -> Self {
        Self::new(Cause::DatasetInvalid, error.to_string())
    }
}

impl From<RunError> for Stopped {
    fn from(error: RunError) -> Self {
        let cause = match &error {
            RunError::Read(read) if read.is_transient() => Cause::SourceUnavailable,
            RunError::Read(_) | RunError::Line { .. } | RunError::Empty { .. } => Cause::DatasetInvalid,
        };
        Self::new(cause, error.to_string())
    }
}
