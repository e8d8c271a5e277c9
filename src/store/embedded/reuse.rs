//! Vectors of the version before, by the text that they were made from.
//!
//! Why: an encoder costs more than everything else of a build, and most chunks of a corpus do not change.
//!
//! Invariant: only vectors of the same fingerprint, dimension and distance are given out.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::build::text_hash;
use super::pool::open_immutable;
use super::read::read_vector_at;
use super::{SQLITE, VECTORS, read_manifest};
use crate::store::{Distance, StoreError};

/// The vectors of a complete version.
pub struct PreviousVectors {
    path: PathBuf,
    file: File,
    dimensions: usize,
    by_text: HashMap<[u8; 16], u32>,
}

impl PreviousVectors {
    /// Opens a version; `None` when its vectors are another encoder's.
    pub fn open(
        dir: &Path,
        fingerprint: &str,
        dimensions: usize,
        distance: Distance,
    ) -> Result<Option<Self>, StoreError> {
        let manifest = read_manifest(dir)?;
        if manifest.fingerprint != fingerprint || manifest.dimensions != dimensions || manifest.distance != distance {
            return Ok(None);
        }
        let sqlite = dir.join(SQLITE);
        let by_text = read_hashes(&sqlite).map_err(StoreError::sqlite(&sqlite))?;
        let path = dir.join(VECTORS);
        let file = File::open(&path).map_err(StoreError::io(&path))?;
        Ok(Some(Self { path, file, dimensions, by_text }))
    }

    /// The vector that was made from this text.
    pub fn vector(&self, embedded: &str) -> Result<Option<Vec<f32>>, StoreError> {
        match self.by_text.get(&text_hash(embedded)) {
            None => Ok(None),
            Some(ordinal) => {
                read_vector_at(&self.file, self.dimensions, *ordinal).map(Some).map_err(StoreError::io(&self.path))
            }
        }
    }
}

fn read_hashes(path: &Path) -> rusqlite::Result<HashMap<[u8; 16], u32>> {
    let connection = open_immutable(path)?;
    let mut statement = connection.prepare("SELECT hash, ordinal FROM chunk ORDER BY ordinal DESC")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
