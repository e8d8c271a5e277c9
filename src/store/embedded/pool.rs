//! Several read-only connections to one file, so that searches run side by side.
//!
//! Invariant: a connection is used by one thread at a time and always comes back.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

pub struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

impl Pool {
    pub fn open(path: &Path, size: usize) -> Result<Self, StoreError> {
        let idle = (0..size.max(1))
            .map(|_| open_immutable(path))
            .collect::<Result<_, _>>()
            .map_err(StoreError::sqlite(path))?;
        Ok(Self { path: path.to_owned(), idle: Mutex::new(idle), returned: Condvar::new() })
    }

    /// Runs a read on a connection; waits while all are in use.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut idle = self.lock();
        let connection = loop {
            match idle.pop() {
                Some(connection) => break connection,
                None => idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        let lent = Lent { pool: self, connection: Some(connection) };
        match &lent.connection {
            Some(connection) => read(connection).map_err(StoreError::sqlite(&self.path)),
            None => Err(StoreError::damaged(&self.path, "a connection was lent twice")),
        }
    }

    // A panic inside a read leaves the list itself whole.
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the connection back, also when the read panics.
struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.lock().push(connection);
            self.pool.returned.notify_one();
        }
    }
}

/// Opens a finished file: no locks, no journal, no write.
pub fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let uri = format!("file:{}?mode=ro&immutable=1", percent_encoded(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    // Memory a connection: 1 MiB of pages; the system caches the file anyway.
    connection.pragma_update(None, "cache_size", -1024)?;
    Ok(connection)
}

fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
        out
    })
}
