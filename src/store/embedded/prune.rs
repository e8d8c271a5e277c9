//! Deleting versions.
//!
//! Invariants: only a plain name below the root is ever deleted, only with the owner's marker; the rename
//! comes first, so a half-deleted version is never taken for a whole one; what is gone counts as done.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::MANIFEST;
use super::build::with_suffix;
use crate::store::StoreError;

/// What became of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pruned {
    Deleted,
    /// There was none.
    Missing,
    /// It carries no marker or another owner's, and was left alone.
    Foreign,
}

/// Deletes the version `name` below `root`, with what an interrupted build or deletion of it left.
pub fn prune(root: &Path, name: &str, owner_uid: &str) -> Result<Pruned, StoreError> {
    let dir = root.join(plain_name(name)?);
    let deleting = with_suffix(&dir, ".deleting");
    let mut outcome = Pruned::Missing;
    for left in [with_suffix(&dir, ".building"), deleting.clone()] {
        if remove(&left)? {
            outcome = Pruned::Deleted;
        }
    }
    if fs::symlink_metadata(&dir).is_err_and(|e| e.kind() == ErrorKind::NotFound) {
        return Ok(outcome);
    }
    if marker(&dir)?.as_deref() != Some(owner_uid) {
        return Ok(Pruned::Foreign);
    }
    fs::rename(&dir, &deleting).map_err(StoreError::io(&dir))?;
    remove(&deleting)?;
    Ok(Pruned::Deleted)
}

/// A name of one directory, and of none that is hidden.
pub fn plain_name(name: &str) -> Result<&str, StoreError> {
    let plain = !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if plain { Ok(name) } else { Err(StoreError::Name(name.to_owned())) }
}

/// The owner that a version names, in whatever format the rest of its manifest is.
fn marker(dir: &Path) -> Result<Option<String>, StoreError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        owner_uid: String,
    }
    let path = dir.join(MANIFEST);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().map(|marker: Marker| marker.owner_uid)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(StoreError::io(&path)(error)),
    }
}

fn remove(dir: &Path) -> Result<bool, StoreError> {
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(dir)(error)),
    }
}
