//! Where the versions of an index are kept, and how they are searched.
//!
//! Why a room of its own: `rag index` writes versions, `rag serve` searches them; both see these types and
//! nothing of how a driver keeps them. [`embedded`] keeps a version as a directory of files.
//!
//! Invariants: a complete version never changes; scores are oriented "higher is better"; the order of
//! results is total: score descending, then id ascending by bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::metadata::Metadata;

pub mod embedded;
mod filter;

pub use filter::{Filter, FilterError};

/// How vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distance {
    /// Score = cosine of the angle.
    Cosine,
    /// Score = dot product.
    Dot,
    /// Score = distance times -1.
    Euclidean,
}

/// What a version says of itself; written last, so its presence says that the version is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Version of this form, see [`embedded::FORMAT`].
    pub format: u32,
    /// UID of the VectorIndex that owns the version; empty outside a cluster.
    pub owner_uid: String,
    /// Name of the version, such as `v3`.
    pub version: String,
    /// Id of the encoder that made the vectors.
    pub fingerprint: String,
    /// SHA-256 of what the version was made of.
    pub content_digest: String,
    /// SHA-256 of the source manifest.
    pub source_digest: String,
    pub dimensions: usize,
    pub distance: Distance,
    /// Whether every vector has length 1.
    pub normalized: bool,
    pub documents: u64,
    pub chunks: u64,
    /// Whether there is a keyword side.
    pub keyword: bool,
    /// How documents were cut, for people.
    pub chunking: serde_json::Value,
    /// How the build went.
    pub build: BuildCounts,
    /// Every other file of the version.
    pub files: BTreeMap<String, FileEntry>,
}

/// How a build went: `source` = indexed documents + quarantined + skipped, exactly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildCounts {
    pub source: u64,
    pub quarantined: u64,
    pub skipped: u64,
    pub reused_chunks: u64,
    pub cut_chunks: u64,
    /// SHA-256 of the documents that were read, indexed or not.
    #[serde(default)]
    pub read_digest: String,
    /// The first documents set aside, each as "source/file:line: why".
    pub examples: Vec<String>,
}

/// A file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    pub bytes: u64,
    pub sha256: String,
}

impl Manifest {
    /// Bytes of all files together.
    pub fn size_bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }
}

/// A hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Position of the chunk in the version.
    pub ordinal: u32,
    /// Id of the chunk: `<document>#<n>`.
    pub id: String,
    /// Higher is better.
    pub score: f64,
}

impl Scored {
    /// The document that the chunk belongs to.
    pub fn document(&self) -> &str {
        document_of(&self.id)
    }
}

/// The document that a chunk belongs to, by the chunk's id.
fn document_of(id: &str) -> &str {
    id.rsplit_once('#').map_or(id, |(document, _)| document)
}

/// A chunk as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredChunk {
    pub ordinal: u32,
    /// `<document>#<n>`.
    pub id: String,
    pub document: String,
    pub title: String,
    pub text: String,
    pub metadata: Metadata,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is not a complete index version: it has no manifest.json (a build was interrupted, or this is another directory)", .0.display())]
    Incomplete(PathBuf),
    #[error("{} is damaged: {detail}; build the version again", .path.display())]
    Damaged { path: PathBuf, detail: String },
    #[error("{} has format {found}, this program reads {expected}; build the version again", .path.display())]
    Format { path: PathBuf, found: u32, expected: u32 },
    #[error("{} exists already and will not be overwritten; choose another directory", .0.display())]
    Exists(PathBuf),
    #[error(
        "{0:?} is no name of a version directory: expected letters, digits, `-`, `_` and `.`, not beginning with `.`"
    )]
    Name(String),
    #[error("the vector of {what} {detail}")]
    Vector { what: String, detail: String },
    #[error("the version has {found} {unit}, this program keeps at most {most}")]
    TooMany { unit: &'static str, found: u64, most: u64 },
    #[error("the version has no keyword side; build it with keyword enabled")]
    NoKeyword,
    #[error("chunk {ordinal} does not exist, the version has {chunks}")]
    NoChunk { ordinal: u32, chunks: u64 },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", .path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
}

impl StoreError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn sqlite(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self + '_ {
        move |source| Self::Sqlite { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_names_its_document() {
        let document = |id: &str| Scored { ordinal: 0, id: id.to_owned(), score: 0.0 }.document().to_owned();
        assert_eq!((document("a#b#12"), document("plain")), ("a#b".to_owned(), "plain".to_owned()));
    }
}
