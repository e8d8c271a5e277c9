//! A run file that stands in for an arm, and what it was measured on.
//!
//! Why: answers of the main branch may be kept and compared with later, but only over the same queries and judgments; over
//! edited ones they would be numbers of another question. A run file has no room to say so, so that a file beside it does.
//!
//! Invariant: a run file without such a file is taken as it is, since every other program writes it so.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::measure::Identity;
use super::stopped::{Cause, Stopped};
use crate::worker::job::EVALUATOR_VERSION;

/// What a run was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measured {
    dataset: String,
    revision: String,
    content_digest: String,
    fingerprint: String,
    evaluator: String,
}

impl Measured {
    /// `dataset`: digest of queries and judgments.
    pub fn new(dataset: &str, identity: &Identity) -> Self {
        let Identity { revision, content_digest, fingerprint } = identity.clone();
        let evaluator = EVALUATOR_VERSION.to_owned();
        Self { dataset: dataset.to_owned(), revision, content_digest, fingerprint, evaluator }
    }

    /// Writes it beside a run file.
    pub fn write(&self, run: &Path) -> Result<(), String> {
        let file = beside(run);
        let text = serde_json::to_string_pretty(self).map_err(|e| e.to_string());
        text.and_then(|text| std::fs::write(&file, text + "\n").map_err(|e| e.to_string()))
            .map_err(|e| format!("{}: cannot be written: {e}", file.display()))
    }
}

/// Holds a run file to what stands beside it.
pub fn check(run: &Path, dataset: &str) -> Result<(), Stopped> {
    let file = beside(run);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => {
            return Err(Stopped::new(Cause::SourceUnavailable, format!("{}: cannot be read: {e}", file.display())));
        }
    };
    let measured: Measured = serde_json::from_str(&text).map_err(|e| {
        let text = format!("{}: does not say what the run was measured on: {e}; measure it again", file.display());
        Stopped::new(Cause::DatasetInvalid, text)
    })?;
    let parts = [
        ("queries and judgments of digest", measured.dataset.as_str(), dataset),
        ("numbers of version", &measured.evaluator, EVALUATOR_VERSION),
    ];
    match parts.into_iter().find(|(_, then, now)| then != now) {
        None => Ok(()),
        Some((what, then, now)) => Err(Stopped::new(
            Cause::InputsChanged,
            format!(
                "{}: the run was measured over {what} {}, these are {}: measure it again with --write-run. {} says so.",
                run.display(),
                then.chars().take(12).collect::<String>(),
                now.chars().take(12).collect::<String>(),
                file.display()
            ),
        )),
    }
}

fn beside(run: &Path) -> PathBuf {
    let mut name = run.to_owned().into_os_string();
    name.push(".inputs.json");
    PathBuf::from(name)
}
