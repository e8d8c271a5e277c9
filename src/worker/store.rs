//! How an error of the store ends a worker: one mapping for the programs that write versions and those that serve them.

use super::exit::Failure;
use crate::api::reason::Reason;
use crate::store::StoreError;

/// What a version without its manifest means to who opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// It was said to be written: a part of it was lost.
    Lost,
    /// Its claim may not be mounted yet, or its build not ended: it may be there next time.
    NotYet,
}

/// Trouble with reading and writing may pass; what was read and is wrong stays wrong.
pub fn failure(error: StoreError, incomplete: Incomplete) -> Failure {
    let reason = match (&error, incomplete) {
        (StoreError::Sqlite { source, .. }, _) if is_damage(source) => Reason::CountMismatch,
        (StoreError::Io { .. } | StoreError::Sqlite { .. }, _) | (StoreError::Incomplete(_), Incomplete::NotYet) => {
            return Failure::unavailable(Reason::VectorStoreUnavailable.as_str(), error.to_string());
        }
        (StoreError::Incomplete(_), Incomplete::Lost)
        | (StoreError::Damaged { .. } | StoreError::NoChunk { .. }, _) => Reason::CountMismatch,
        (StoreError::Exists(_), _) => Reason::NotOwned,
        (StoreError::Vector { .. }, _) => Reason::DimensionMismatch,
        (StoreError::Format { .. } | StoreError::Name(_) | StoreError::TooMany { .. } | StoreError::NoKeyword, _) => {
            Reason::InvalidSpec
        }
    };
    Failure::invalid(reason.as_str(), error.to_string())
}

/// Whether SQLite read the file and found it to be wrong.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rusqlite::ffi;

    use super::*;

    #[test]
    fn trouble_with_a_file_passes_and_damage_does_not_whoever_meets_it() {
        let path = || PathBuf::from("/index/v1");
        let sqlite = |code| StoreError::Sqlite {
            path: path(),
            source: rusqlite::Error::SqliteFailure(ffi::Error::new(code), None),
        };
        for incomplete in [Incomplete::Lost, Incomplete::NotYet] {
            let told = |error| match failure(error, incomplete) {
                Failure::Invalid { reason, .. } => (42, reason),
                Failure::Unavailable { reason, .. } => (43, reason),
            };
            let passes = (43, "VectorStoreUnavailable".to_owned());
            assert_eq!(told(StoreError::Io { path: path(), source: std::io::ErrorKind::TimedOut.into() }), passes);
            assert_eq!(told(sqlite(ffi::SQLITE_IOERR)), passes);
            assert_eq!(told(sqlite(ffi::SQLITE_FULL)), passes);
            let stays = (42, "CountMismatch".to_owned());
            assert_eq!(told(StoreError::damaged(&path(), "its digest is another")), stays);
            assert_eq!(told(sqlite(ffi::SQLITE_CORRUPT)), stays);
            assert_eq!(told(sqlite(ffi::SQLITE_NOTADB)), stays);
            let expected = if incomplete == Incomplete::Lost { stays } else { passes };
            assert_eq!(told(StoreError::Incomplete(path())), expected);
        }
    }
}
