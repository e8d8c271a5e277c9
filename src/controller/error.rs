//! What can go wrong between us and the cluster, and how each class is met.
//!
//! Why only IO: waiting, a user's mistake and a final failure are states with reasons, never errors.

use std::future::Future;
use std::time::Duration;

use super::text::shortened;

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
    /// The status of one of our own objects is refused.
    #[error("the API server refuses the {what}: {why}")]
    Unsaid { what: String, why: String },
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
    /// The API server takes an object of ours not as it is: said in the status of its owner, and tried again with
    /// growing delay.
    Refused,
    /// So is the status itself: a warning, and tried again with growing delay.
    Unsaid,
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

    /// A failed write of an object's own status: a refusal cannot be said where it belongs.
    pub fn write_status(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| match &source {
            kube::Error::Api(status) if refuses(status) && !lacks_right(status) => {
                Self::Unsaid { what, why: shortened(&status.message, WHY) }
            }
            _ => Self::write(what)(source),
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if namespace_ends(status) => Class::Ending,
                kube::Error::Api(status) if lacks_right(status) => Class::Forbidden,
                kube::Error::Api(status) if self.is_write() && refuses(status) => Class::Refused,
                kube::Error::Api(status) if status.is_forbidden() => Class::Forbidden,
                _ => Class::Transient,
            },
            Self::Timeout { .. } => Class::Transient,
            Self::Conflict { .. } => Class::Conflict,
            Self::NotOwned { .. } => Class::NotOwned,
            Self::Unsaid { .. } => Class::Unsaid,
            Self::Bug(_) => Class::Bug,
        }
    }

    fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// What the API server does not take, and why in its words.
    pub fn refusal(&self) -> Option<Refusal> {
        match (self, self.class()) {
            (Self::Write { what, source }, Class::Refused) => {
                let why = match source.as_ref() {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let why = shortened(why.trim_end_matches('.'), WHY);
                Some(Refusal { what: what.clone(), why })
            }
            _ => None,
        }
    }
}

/// Most characters of the API server's words: a webhook may list a hundred policies.
const WHY: usize = 1_000;

/// An object that the API server does not take as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub what: String,
    pub why: String,
}

impl Refusal {
    /// Whether both tell of the same write for the same cause.
    pub fn is_like(&self, other: &Self) -> bool {
        let words = |text: &str| {
            let plain = text.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
            plain.map(ToOwned::to_owned).collect::<Vec<String>>()
        };
        self.what == other.what && words(&self.why) == words(&other.why)
    }

    /// As users read it.
    pub fn told(&self) -> String {
        format!(
            "The API server refuses to write {}: {}. Correct the field that it names, or the policy, quota or webhook \
             that refuses it; it is tried again within 5 minutes.",
            self.what, self.why
        )
    }
}

/// What a rule of the object's kind, a quota, a policy or a webhook refuses: the same again meets the same answer. A
/// webhook that is down refuses too, and nobody but its owner can end that.
fn refuses(status: &kube::core::Status) -> bool {
    matches!(status.code, 400 | 403 | 413 | 422) || (status.code == 500 && status.message.contains("calling webhook"))
}

/// RBAC says 403 too, in words of its own: nothing else tells it from a policy that says no.
fn lacks_right(status: &kube::core::Status) -> bool {
    status.is_forbidden() && status.message.contains(" is forbidden: User \"")
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
