//! What can go wrong between us and the cluster, and how each class is met.
//!
//! Why only IO: waiting, a user's mistake and a final failure are states with reasons, never errors.

use std::future::Future;
use std::time::Duration;

/// A failed read or write.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {what}: {source}")]
    Read { what: String, source: Box<kube::Error> },
    #[error("cannot write {what}: {source}")]
    Write { what: String, source: Box<kube::Error> },
    #[error("no answer from the API server within {limit_seconds} s: {what}")]
    Timeout { what: String, limit_seconds: u64 },
    /// Somebody else wrote first; the pass ends and the next one reads again.
    #[error("changed meanwhile: {what}")]
    Conflict { what: String },
    /// A name that we need is taken: nothing of that object is written.
    #[error("{what} is not ours: delete or rename it")]
    NotOwned { what: String },
    #[error("broken invariant: {0}")]
    Bug(String),
}

/// How an error is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Tried again with growing delay.
    Transient,
    /// Tried again at once, silently.
    Conflict,
    /// The namespace is being deleted: nothing can be made in it any more, and nothing needs to be.
    Ending,
    /// Somebody must free a name: a warning, and tried again with growing delay.
    NotOwned,
    /// Our role lacks a right: a warning, and tried again with growing delay.
    Forbidden,
    /// Ours to mend: an error log, a counter, and tried again in five minutes.
    Bug,
}

impl Error {
    pub fn read(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Read { what, source: Box::new(source) }
    }

    pub fn write(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| match &source {
            kube::Error::Api(status) if status.is_conflict() => Self::Conflict { what },
            _ => Self::Write { what, source: Box::new(source) },
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if namespace_ends(status) => Class::Ending,
                kube::Error::Api(status) if status.is_forbidden() => Class::Forbidden,
                _ => Class::Transient,
            },
            Self::Timeout { .. } => Class::Transient,
            Self::Conflict { .. } => Class::Conflict,
            Self::NotOwned { .. } => Class::NotOwned,
            Self::Bug(_) => Class::Bug,
        }
    }
}

fn namespace_ends(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Time limit of a call that names one object.
pub const OBJECT_LIMIT: Duration = Duration::from_secs(5);
/// Time limit of a list.
pub const LIST_LIMIT: Duration = Duration::from_secs(10);

/// A call with a time limit: kube sets none on reads.
pub async fn within<T>(limit: Duration, what: &str, call: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(limit, call)
        .await
        .map_err(|_| Error::Timeout { what: what.to_owned(), limit_seconds: limit.as_secs() })
}
