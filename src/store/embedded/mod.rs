//! The embedded store: a version is an immutable directory.
//!
//! ```text
//! <version>/
//!   index.sqlite    chunks, metadata fields, keyword side (FTS5)
//!   vectors.f32     one vector a chunk in chunk order, little-endian, no header
//!   ref.f32         vectors of the probe texts by the encoder that built the version
//!   manifest.json   written last
//! ```
//!
//! Why files: no server to run, nothing to keep in step, and a version is copied or deleted as a whole.
//!
//! Invariants: a directory without `manifest.json` is incomplete and never read; a version is built as
//! `<version>.building` and renamed when everything is on disk; it is opened read-only and immutable;
//! searches are exact.

mod build;
mod keyword;
mod pool;
mod prune;
mod read;
mod reuse;
mod scan;

#[cfg(test)]
mod tests;

pub use build::{Builder, NewChunk, Stamp, verify_files};
pub use prune::{Pruned, plain_name, prune};
pub use read::EmbeddedIndex;
pub use reuse::PreviousVectors;
pub use scan::{ScanError, exact_score};

use std::path::Path;

use super::{Manifest, StoreError};

/// Version of the directory's form.
pub const FORMAT: u32 = 1;
/// The name of the manifest.
pub const MANIFEST: &str = "manifest.json";
const SQLITE: &str = "index.sqlite";
const VECTORS: &str = "vectors.f32";
const REFERENCES: &str = "ref.f32";
/// Most chunks of a version: ordinals are u32.
const MAX_CHUNKS: u64 = u32::MAX as u64;
/// Most bytes of a manifest.
const MAX_MANIFEST: u64 = 1 << 20;

/// Reads the manifest of a version; a missing one means that the version is incomplete.
pub fn read_manifest(dir: &Path) -> Result<Manifest, StoreError> {
    let path = dir.join(MANIFEST);
    let length = match std::fs::metadata(&path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Incomplete(dir.to_owned()));
        }
        Err(error) => return Err(StoreError::io(&path)(error)),
    };
    if length > MAX_MANIFEST {
        return Err(StoreError::damaged(&path, format!("{length} bytes are more than a manifest has")));
    }
    let bytes = std::fs::read(&path).map_err(StoreError::io(&path))?;
    let found: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| StoreError::damaged(&path, e.to_string()))?;
    // The form's number comes first: a manifest of another form need not parse as this one.
    let format = found.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if format != u64::from(FORMAT) {
        let found = u32::try_from(format).unwrap_or(u32::MAX);
        return Err(StoreError::Format { path, found, expected: FORMAT });
    }
    serde_json::from_value(found).map_err(|e| StoreError::damaged(&path, e.to_string()))
}
