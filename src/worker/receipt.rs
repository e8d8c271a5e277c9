//! What a Job reports: one line of ASCII JSON of at most 4,096 bytes in its termination message.
//!
//! Why a termination message: exit codes carry no numbers, logs need broad rights, workers have no token.
//!
//! Invariants: numbers count only from a pod that exited 0; a receipt with another nonce, another `v`,
//! duplicate keys or a cut line is refused; no verdict travels, the operator judges.

mod evaluate;

use serde::{Deserialize, Serialize};

pub use evaluate::{Counts, EvaluateReport, MetricRow};

/// Most bytes that the kubelet keeps of one container's message.
pub const MAX_BYTES: usize = 4096;
/// Exit code: configuration or data invalid; the receipt says what.
pub const EXIT_INVALID: i32 = 42;
/// Exit code: a source or service could not be reached; a new attempt may help.
pub const EXIT_UNAVAILABLE: i32 = 43;

/// A receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this form: 1.
    pub v: u32,
    /// Nonce of the input.
    pub run: String,
    #[serde(flatten)]
    pub body: Body,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Body {
    Build(BuildReport),
    Verify(VerifyReport),
    Prune(PruneReport),
    Check(CheckReport),
    Evaluate(Box<EvaluateReport>),
    Probe(ProbeReport),
    Error(ErrorReport),
}

/// A result that is asked for by its type.
pub trait Report: Sized {
    /// `None`: a receipt of another kind.
    fn of(body: Body) -> Option<Self>;
}

macro_rules! reports {
    ($($kind:ident: $report:ty),+) => { $(impl Report for $report {
        fn of(body: Body) -> Option<Self> {
            if let Body::$kind(report) = body { Some(report) } else { None }
        }
    })+ };
}
reports!(
    Build: BuildReport,
    Verify: VerifyReport,
    Prune: PruneReport,
    Check: CheckReport,
    Evaluate: Box<EvaluateReport>,
    Probe: ProbeReport
);

/// Result of a build: source = indexed + quarantined + skipped, exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildReport {
    pub content_digest: String,
    pub source_digest: String,
    pub source: i64,
    pub documents: i64,
    pub quarantined: i64,
    pub skipped: i64,
    pub chunks: i64,
    pub reused_chunks: i64,
    pub size_bytes: i64,
    /// Chunks longer than the encoder reads: their ends cannot be found by vector.
    pub cut_chunks: i64,
    /// The first documents set aside, each as "source/file:line: why", at most 5 of at most 160 characters.
    pub examples: Vec<String>,
}

/// Result of a verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    pub content_digest: String,
    pub documents: i64,
    pub chunks: i64,
    pub dimensions: i64,
    /// Chunks asked for themselves.
    pub sampled: i64,
    /// Share of them that came first.
    pub self_retrieval: f64,
}

/// Result of a prune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    pub deleted: i64,
    pub missing: i64,
    /// Directories that carry another owner's marker and were left alone.
    pub foreign: Vec<String>,
}

/// Result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    pub digest: String,
    /// Queries with judgments.
    pub queries: i64,
    pub judgments: i64,
    /// Clusters that the queries form, where the gate groups them.
    pub clusters: Option<i64>,
    /// Slices by name with their judged queries, the largest first, at most [`MAX_SLICES`].
    pub slices: Vec<(String, i64)>,
    /// Fewest queries (with clusters those) in the paired test of a required metric with a margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<i64>,
    /// What the set is too small for, for people; at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Most slices that a check lists; a receipt has room for no more.
pub const MAX_SLICES: usize = 40;

/// Whether the files of a run were kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kept {
    /// `pvc://<claim>/<path of the page on it>`, and the page's SHA-256 in hex.
    Written { uri: String, sha256: String },
    /// Why they were not.
    Lost { problem: String },
}

impl Kept {
    /// A problem, shortened so that it takes no more of the receipt than what was written would.
    pub fn lost(problem: &str) -> Self {
        Self::Lost { problem: clip(problem, 255, 320) }
    }
}

/// Result of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    pub dimensions: i64,
    /// Lowest cosine between the two passes.
    pub self_noise: f64,
    /// Lowest and highest length of a vector as the encoder returned it.
    pub norm_min: f64,
    pub norm_max: f64,
    /// 64 x 12 seeded random-sign projections, int8, base64.
    pub sketch: String,
    /// Mean cosine with the sketch given in the input.
    pub cosine_mean: Option<f64>,
}

/// What went wrong, for people: shown as text, never read as a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReport {
    /// A word of the reasons' list, such as `ShrinkGuard`, `DatasetInvalid`, `InputsChanged`, `LowCoverage`.
    pub reason: String,
    /// What, where (file, line), found, write instead; at most 1,024 characters.
    pub error: String,
}

/// Why a message is not a receipt of this run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the pod left no receipt")]
    Missing,
    #[error("the receipt has {0} bytes, more than the {MAX_BYTES} that the kubelet keeps, or was cut")]
    TooLong(usize),
    #[error("the receipt is not one line of JSON: {0}")]
    Malformed(String),
    #[error("the receipt has version {0}, this operator reads 1")]
    Version(u32),
    #[error("the receipt belongs to run {found}, expected {expected}")]
    Foreign { found: String, expected: String },
}

impl Receipt {
    /// The line to write. Text beyond ASCII is escaped, so bytes equal characters.
    pub fn to_line(&self) -> Result<String, Refused> {
        let json = serde_json::to_string(self).map_err(|e| Refused::Malformed(e.to_string()))?;
        let line = escape_non_ascii(&json);
        if line.len() > MAX_BYTES {
            return Err(Refused::TooLong(line.len()));
        }
        Ok(line)
    }

    /// Reads a termination message that must belong to `run`.
    pub fn parse(message: &str, run: &str) -> Result<Self, Refused> {
        let line = message.trim();
        if line.is_empty() {
            return Err(Refused::Missing);
        }
        if line.len() > MAX_BYTES {
            return Err(Refused::TooLong(line.len()));
        }
        if line.contains('\n') {
            return Err(Refused::Malformed("more than one line".to_owned()));
        }
        let receipt: Self = serde_json::from_str(line).map_err(|e| Refused::Malformed(e.to_string()))?;
        if receipt.v != 1 {
            return Err(Refused::Version(receipt.v));
        }
        if receipt.run != run {
            return Err(Refused::Foreign { found: receipt.run, expected: run.to_owned() });
        }
        Ok(receipt)
    }
}

/// A count as receipts and statuses hold it; what does not fit is shown as the largest that does.
pub fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// The beginning of a text that has at most so many characters and takes at most so many bytes of a receipt,
/// where characters beyond ASCII are escaped.
pub fn clip(text: &str, characters: usize, bytes: usize) -> String {
    let mut left = bytes;
    let cost = |c: char| match c {
        '"' | '\\' => 2,
        c if c.is_ascii_control() => 6,
        c if c.is_ascii() => 1,
        c => c.len_utf16().saturating_mul(6),
    };
    let fits = |c: &char| {
        let after = left.checked_sub(cost(*c));
        left = after.unwrap_or(0);
        after.is_some()
    };
    text.chars().take(characters).take_while(fits).collect()
}

fn escape_non_ascii(json: &str) -> String {
    use std::fmt::Write as _;
    json.chars().fold(String::with_capacity(json.len()), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_do_not_fit_are_the_largest() {
        assert_eq!((whole(7_usize), whole(u64::MAX)), (7, i64::MAX));
    }

    #[test]
    fn clipped_texts_fit_whatever_they_hold() {
        for c in ['a', '"', '\u{1}', 'é', '語', '🌍'] {
            let text: String = std::iter::repeat_n(c, 5000).collect();
            let error = clip(&text, 1024, 3600);
            let body = Body::Error(ErrorReport { reason: "PodUnschedulable".into(), error });
            Receipt { v: 1, run: "r".repeat(72), body }.to_line().unwrap();
            let example = clip(&text, 160, 600);
            let report = BuildReport {
                content_digest: "c".repeat(64),
                source_digest: "s".repeat(64),
                source: i64::MAX,
                documents: i64::MAX,
                quarantined: i64::MAX,
                skipped: i64::MAX,
                chunks: i64::MAX,
                reused_chunks: i64::MAX,
                size_bytes: i64::MAX,
                cut_chunks: i64::MAX,
                examples: vec![example; 5],
            };
            let line = Receipt { v: 1, run: "r".repeat(72), body: Body::Build(report.clone()) }.to_line().unwrap();
            assert_eq!(Receipt::parse(&line, &"r".repeat(72)).unwrap().body, Body::Build(report));
        }
        assert_eq!(clip("abc", 2, 99), "ab");
        assert_eq!(clip("a语b", 9, 7), "a语");
    }
}
