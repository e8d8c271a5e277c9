//! The apiserver's audit log: who asked what, when, and what came of it.
//!
//! Only the own cluster has one that can be read; elsewhere what it shows is left out and said to be.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::install::{NAMESPACE, OPERATOR};

/// One finished request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub stage: String,
    pub verb: String,
    #[serde(rename = "requestURI")]
    pub uri: String,
    pub user: User,
    #[serde(default)]
    pub object_ref: Option<ObjectRef>,
    #[serde(default)]
    pub response_status: Option<ResponseStatus>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    request_received_timestamp: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct User {
    #[serde(default)]
    pub username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectRef {
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub api_group: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct ResponseStatus {
    #[serde(default)]
    pub code: i32,
}

impl Entry {
    /// When the apiserver had the request.
    pub fn received(&self) -> Result<SystemTime> {
        let at: jiff::Timestamp = self.request_received_timestamp.parse().context("an odd time in the audit log")?;
        Ok(SystemTime::from(at))
    }

    pub fn code(&self) -> i32 {
        self.response_status.as_ref().map_or(0, |s| s.code)
    }

    /// Whether authorization refused it. A 403 alone also means a namespace that comes to its end.
    pub fn forbidden(&self) -> bool {
        self.annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "forbid")
    }

    /// Whether the operator asked.
    pub fn by_operator(&self) -> bool {
        self.user.username == format!("system:serviceaccount:{NAMESPACE}:{OPERATOR}")
    }

    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

/// The length of the log: what comes later is new.
pub fn mark(log: &Path) -> Result<u64> {
    Ok(std::fs::metadata(log).with_context(|| format!("cannot read {}", log.display()))?.len())
}

/// What was logged since a mark, in order. A log that has been rotated in between is read from its beginning.
pub fn since(log: &Path, mark: u64) -> Result<Vec<Entry>> {
    let mut file = std::fs::File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    let from = if file.metadata()?.len() < mark { 0 } else { mark };
    file.seek(SeekFrom::Start(from))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // The last line may be in the making.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
