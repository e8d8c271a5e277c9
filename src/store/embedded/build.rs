//! Writing one version.
//!
//! Invariants: everything is written to `<dir>.building`; every file is on disk before the manifest, the
//! manifest before the rename, and the rename before `finish` returns; the same chunks in the same order
//! give the same bytes of vectors.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use super::keyword::Columns;
use super::read::sql_value;
use super::scan::{ScanError, length};
use super::{FORMAT, MANIFEST, MAX_CHUNKS, REFERENCES, SQLITE, VECTORS};
use crate::hex::hex;
use crate::metadata::{Metadata, Scalar};
use crate::store::{BuildCounts, Distance, FileEntry, Manifest, StoreError};

const SCHEMA: &str = "
    CREATE TABLE chunk (
        ordinal INTEGER PRIMARY KEY, id TEXT NOT NULL, document TEXT NOT NULL, title TEXT NOT NULL,
        text TEXT NOT NULL, metadata TEXT NOT NULL, hash BLOB NOT NULL
    );
    CREATE TABLE field (
        name TEXT NOT NULL, value NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (name, value, chunk)
    ) WITHOUT ROWID;";

// Contentless: the texts are in `chunk` already. All columns enter one bm25.
const KEYWORD_SCHEMA: &str =
    "CREATE VIRTUAL TABLE keyword USING fts5(title, words, bigrams, content='', tokenize='porter unicode61');";

/// A chunk to write.
#[derive(Clone, Debug)]
pub struct NewChunk<'a> {
    pub id: &'a str,
    pub document: &'a str,
    pub title: &'a str,
    /// The text that was embedded, which is also what keywords find.
    pub embedded: &'a str,
    pub text: &'a str,
    pub metadata: &'a Metadata,
}

/// What the builder of a version says of it; the rest of the manifest is counted while writing.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub owner_uid: String,
    pub version: String,
    pub fingerprint: String,
    pub content_digest: String,
    pub source_digest: String,
    pub normalized: bool,
    pub documents: u64,
    pub chunking: serde_json::Value,
    pub build: BuildCounts,
}

/// The directory of a version under way; what is not renamed is removed. A killed process leaves it, and
/// the next build of the same version removes it.
struct Building(PathBuf);

impl Drop for Building {
    fn drop(&mut self) {
        // Gone after the rename; otherwise the failure that led here is the one to report.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A version under way.
pub struct Builder {
    target: PathBuf,
    building: Building,
    dimensions: usize,
    distance: Distance,
    keyword: bool,
    sqlite: Connection,
    vectors: BufWriter<File>,
    chunks: u64,
}

/// The text hash under which a chunk's vector is found again: the first 16 bytes of SHA-256.
pub(super) fn text_hash(embedded: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(embedded.as_bytes()).into();
    let mut hash = [0; 16];
    for (to, from) in hash.iter_mut().zip(digest) {
        *to = from;
    }
    hash
}

pub(super) fn with_suffix(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Builder {
    /// Begins a version that will stand at `dir`. What an interrupted build left is removed.
    pub fn create(dir: &Path, dimensions: usize, distance: Distance, keyword: bool) -> Result<Self, StoreError> {
        if occupied(dir)? {
            return Err(StoreError::Exists(dir.to_owned()));
        }
        let building = with_suffix(dir, ".building");
        match fs::remove_dir_all(&building) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::io(&building)(error)),
        }
        fs::create_dir_all(&building).map_err(StoreError::io(&building))?;
        let building = Building(building);
        let path = building.0.join(SQLITE);
        let sqlite = begin(&path, keyword).map_err(StoreError::sqlite(&path))?;
        let path = building.0.join(VECTORS);
        let vectors = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(StoreError::io(&path))?);
        Ok(Self { target: dir.to_owned(), building, dimensions, distance, keyword, sqlite, vectors, chunks: 0 })
    }

    /// Adds the next chunk and returns its ordinal.
    pub fn add(&mut self, chunk: &NewChunk<'_>, vector: &[f32]) -> Result<u32, StoreError> {
        length(vector, self.dimensions)
            .map_err(|e| StoreError::Vector { what: format!("chunk {}", chunk.id), detail: e.to_string() })?;
        let ordinal = u32::try_from(self.chunks).map_err(|_| StoreError::TooMany {
            unit: "chunks",
            found: self.chunks,
            most: MAX_CHUNKS,
        })?;
        write_vector(&mut self.vectors, vector).map_err(StoreError::io(&self.building.0.join(VECTORS)))?;
        insert(&self.sqlite, ordinal, chunk, self.keyword)
            .map_err(StoreError::sqlite(&self.building.0.join(SQLITE)))?;
        self.chunks = self.chunks.saturating_add(1);
        Ok(ordinal)
    }

    /// Chunks added so far.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Writes references and manifest, brings everything to disk and gives the version its name.
    pub fn finish(self, stamp: Stamp, references: &[Vec<f32>]) -> Result<Manifest, StoreError> {
        let Self { target, building: made, dimensions, distance, keyword, sqlite, vectors, chunks } = self;
        let building = &made.0;
        let path = building.join(SQLITE);
        end(&sqlite, keyword).map_err(StoreError::sqlite(&path))?;
        sqlite.close().map_err(|(_, e)| StoreError::sqlite(&path)(e))?;
        let path = building.join(VECTORS);
        drop(vectors.into_inner().map_err(|e| StoreError::io(&path)(e.into_error()))?);
        write_references(&building.join(REFERENCES), dimensions, references)?;
        let mut files = BTreeMap::new();
        for name in [SQLITE, VECTORS, REFERENCES] {
            files.insert(name.to_owned(), settle(&building.join(name))?);
        }
        let manifest = Manifest {
            format: FORMAT,
            owner_uid: stamp.owner_uid,
            version: stamp.version,
            fingerprint: stamp.fingerprint,
            content_digest: stamp.content_digest,
            source_digest: stamp.source_digest,
            dimensions,
            distance,
            normalized: stamp.normalized,
            documents: stamp.documents,
            chunks,
            keyword,
            chunking: stamp.chunking,
            build: stamp.build,
            files,
        };
        let path = building.join(MANIFEST);
        let mut text = serde_json::to_vec_pretty(&manifest).map_err(|e| StoreError::damaged(&path, e.to_string()))?;
        text.push(b'\n');
        fs::write(&path, text).map_err(StoreError::io(&path))?;
        settle(&path)?;
        sync(building)?;
        if occupied(&target)? {
            return Err(StoreError::Exists(target));
        }
        fs::rename(building, &target).map_err(StoreError::io(&target))?;
        if let Some(parent) = target.parent() {
            sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        Ok(manifest)
    }
}

/// Whether something stands at `dir`; an empty directory may be replaced.
fn occupied(dir: &Path) -> Result<bool, StoreError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(StoreError::io(dir)(error)),
    }
}

fn begin(path: &Path, keyword: bool) -> rusqlite::Result<Connection> {
    let sqlite = Connection::open(path)?;
    // No journal: an interrupted build is thrown away as a whole, and the end syncs the file itself.
    sqlite.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
         PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -16384;",
    )?;
    sqlite.execute_batch(SCHEMA)?;
    if keyword {
        sqlite.execute_batch(KEYWORD_SCHEMA)?;
    }
    sqlite.execute_batch("BEGIN")?;
    Ok(sqlite)
}

fn insert(sqlite: &Connection, ordinal: u32, chunk: &NewChunk<'_>, keyword: bool) -> rusqlite::Result<()> {
    let metadata = serde_json::Value::Object(chunk.metadata.clone()).to_string();
    sqlite.prepare_cached("INSERT INTO chunk VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(params![
        ordinal,
        chunk.id,
        chunk.document,
        chunk.title,
        chunk.text,
        metadata,
        text_hash(chunk.embedded)
    ])?;
    for (name, value) in chunk.metadata {
        if let Some(value) = Scalar::of(value) {
            sqlite.prepare_cached("INSERT INTO field VALUES (?1, ?2, ?3)")?.execute(params![
                name,
                sql_value(&value),
                ordinal
            ])?;
        }
    }
    if keyword {
        let (title, all) = (Columns::of(chunk.title), Columns::of(chunk.embedded));
        sqlite
            .prepare_cached("INSERT INTO keyword (rowid, title, words, bigrams) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![ordinal, title.words, all.words, all.bigrams])?;
    }
    Ok(())
}

fn end(sqlite: &Connection, keyword: bool) -> rusqlite::Result<()> {
    if keyword {
        // One segment: searches need not merge, and the file is the same however it grew.
        sqlite.execute_batch("INSERT INTO keyword (keyword) VALUES ('optimize')")?;
    }
    sqlite.execute_batch("COMMIT")?;
    sqlite.flush_prepared_statement_cache();
    Ok(())
}

fn write_vector(to: &mut impl std::io::Write, vector: &[f32]) -> std::io::Result<()> {
    vector.iter().try_for_each(|x| to.write_all(&x.to_le_bytes()))
}

fn write_references(path: &Path, dimensions: usize, references: &[Vec<f32>]) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    for (n, vector) in references.iter().enumerate() {
        match length(vector, dimensions) {
            // A probe text may hold nothing that the encoder knows; that is a part of what it is.
            Ok(_) | Err(ScanError::Zero) => {}
            Err(e) => {
                return Err(StoreError::Vector { what: format!("probe text {n}"), detail: e.to_string() });
            }
        }
        write_vector(&mut bytes, vector).map_err(StoreError::io(path))?;
    }
    fs::write(path, bytes).map_err(StoreError::io(path))
}

/// Brings a file to disk and measures it.
fn settle(path: &Path) -> Result<FileEntry, StoreError> {
    sync(path)?;
    digest_file(path)
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io(path))
}

/// Length and SHA-256 of a file.
pub(super) fn digest_file(path: &Path) -> Result<FileEntry, StoreError> {
    let mut file = File::open(path).map_err(StoreError::io(path))?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 18]);
    loop {
        let read = file.read(&mut buffer).map_err(StoreError::io(path))?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        bytes = bytes.saturating_add(read as u64);
    }
    let sha256 = hex(&hash.finalize());
    Ok(FileEntry { bytes, sha256 })
}

/// Reads every file of a version and compares it with the manifest.
pub fn verify_files(dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    for (name, entry) in &manifest.files {
        let path = dir.join(name);
        let found = digest_file(&path)?;
        if found != *entry {
            let detail = format!(
                "{} bytes with SHA-256 {}, the manifest says {} bytes with {}",
                found.bytes, found.sha256, entry.bytes, entry.sha256
            );
            return Err(StoreError::damaged(&path, detail));
        }
    }
    Ok(())
}
