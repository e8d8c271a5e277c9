//! Searching one version.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::build::text_hash;
use super::pool::Pool;
use super::scan::{Bits, Codes, exact_score, length};
use super::{MAX_CHUNKS, REFERENCES, SQLITE, VECTORS, keyword, read_manifest};
use crate::metadata::{Number, Scalar};
use crate::store::filter::{Condition, Test};
use crate::store::{Filter, Manifest, Scored, StoreError, StoredChunk, document_of};

/// One version, open for searching; share it in an `Arc`.
pub struct EmbeddedIndex {
    dir: PathBuf,
    manifest: Manifest,
    references: Vec<Vec<f32>>,
    codes: Codes,
    vectors: File,
    pool: Pool,
    /// One connection apart, so that the proof of life waits for no search.
    proof: Pool,
    ids: Vec<Box<str>>,
    /// Position of each chunk's id among all ids in order: ties are broken without comparing text.
    ranks: Vec<u32>,
}

impl EmbeddedIndex {
    /// Opens a complete version: checks the manifest and the length of every file, reads vectors and ids.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let manifest = read_manifest(dir)?;
        check_files(dir, &manifest)?;
        let references = read_references(&dir.join(REFERENCES), manifest.dimensions)?;
        let codes = read_codes(&dir.join(VECTORS), &manifest)?;
        let sqlite = dir.join(SQLITE);
        let searchers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8);
        let pool = Pool::open(&sqlite, searchers)?;
        let proof = Pool::open(&sqlite, 1)?;
        let ids = pool.with(read_ids)?;
        if ids.len() != codes.len() {
            let detail = format!("{} chunks, but {} vectors", ids.len(), codes.len());
            return Err(StoreError::damaged(&sqlite, detail));
        }
        let vectors_path = dir.join(VECTORS);
        let vectors = File::open(&vectors_path).map_err(StoreError::io(&vectors_path))?;
        let ranks = ranks(&ids);
        Ok(Self { dir: dir.to_owned(), manifest, references, codes, vectors, pool, proof, ids, ranks })
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Vectors of the probe texts, by the encoder that built the version.
    pub fn references(&self) -> &[Vec<f32>] {
        &self.references
    }

    /// The `k` chunks nearest to a vector; exact.
    pub fn search_vector(&self, query: &[f32], k: usize, filter: Option<&Filter>) -> Result<Vec<Scored>, StoreError> {
        let refuse = |e: super::ScanError| StoreError::Vector { what: "the query".to_owned(), detail: e.to_string() };
        let query_length = length(query, self.manifest.dimensions).map_err(refuse)?;
        let allowed = self.allowed(filter)?;
        let candidates = self.codes.candidates(query, k, allowed.as_ref()).map_err(refuse)?;
        let mut hits = Vec::with_capacity(candidates.len());
        for ordinal in candidates {
            let vector = self.vector(ordinal)?;
            let vector_length = self.codes.vector_length(ordinal).unwrap_or(1.0);
            let score = exact_score(self.manifest.distance, query, query_length, &vector, vector_length);
            hits.push((ordinal, score));
        }
        Ok(self.best(hits, k))
    }

    /// The `k` chunks that match a text best by BM25.
    pub fn search_keyword(&self, query: &str, k: usize, filter: Option<&Filter>) -> Result<Vec<Scored>, StoreError> {
        if !self.manifest.keyword {
            return Err(StoreError::NoKeyword);
        }
        let Some(expression) = keyword::expression(query) else { return Ok(Vec::new()) };
        let allowed = self.allowed(filter)?;
        let hits = self.pool.with(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT rowid, bm25(keyword) FROM keyword WHERE keyword MATCH ?1")?;
            let mut rows = statement.query([&expression])?;
            let mut hits = Vec::new();
            while let Some(row) = rows.next()? {
                let ordinal: u32 = row.get(0)?;
                if allowed.as_ref().is_none_or(|bits| bits.has(ordinal)) {
                    // SQLite's bm25 is better the lower it is.
                    hits.push((ordinal, -row.get::<_, f64>(1)?));
                }
            }
            Ok(hits)
        })?;
        Ok(self.best(hits, k))
    }

    /// Reads one chunk and its vector from the files: the cheapest proof that they still answer.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.manifest.chunks == 0 {
            return Ok(());
        }
        let chunk = self.proof.with(|connection| {
            // What the connection remembers proves nothing.
            connection.execute_batch("PRAGMA shrink_memory")?;
            read_chunk(connection, 0)
        })?;
        self.vector(0)?;
        chunk.map(|_| ()).ok_or(StoreError::NoChunk { ordinal: 0, chunks: self.manifest.chunks })
    }

    /// Documents that have a chunk, counted in the files.
    pub fn documents(&self) -> Result<u64, StoreError> {
        let count: i64 = self.pool.with(|connection| {
            connection.query_row("SELECT count(DISTINCT document) FROM chunk", [], |row| row.get(0))
        })?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Whether the vector of a chunk was made from this text.
    pub fn was_made_from(&self, ordinal: u32, embedded: &str) -> Result<bool, StoreError> {
        let kept: Option<[u8; 16]> = self.pool.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT hash FROM chunk WHERE ordinal = ?1")?;
            statement.query_row([ordinal], |row| row.get(0)).optional()
        })?;
        Ok(kept == Some(text_hash(embedded)))
    }

    /// The first chunk of each document, of at most so many documents, spread evenly over the version.
    pub fn first_chunks(&self, most: usize) -> Vec<u32> {
        // The chunks of a document stand one after the other.
        let documents = || {
            let before = std::iter::once(None).chain(self.ids.iter().map(|id| Some(document_of(id))));
            (0_u32..).zip(self.ids.iter().zip(before)).filter(|(_, (id, before))| *before != Some(document_of(id)))
        };
        let all = documents().count();
        let wanted = most.min(all);
        let mut next = 0_usize;
        let spread = documents().enumerate().filter(|(n, _)| {
            // The i-th of them is document i · all / wanted.
            let taken = next.saturating_mul(all).checked_div(wanted) == Some(*n);
            next = next.saturating_add(usize::from(taken));
            taken
        });
        spread.map(|(_, (ordinal, _))| ordinal).collect()
    }

    /// One chunk.
    pub fn chunk(&self, ordinal: u32) -> Result<StoredChunk, StoreError> {
        let chunk = self.pool.with(|connection| read_chunk(connection, ordinal))?;
        chunk.ok_or(StoreError::NoChunk { ordinal, chunks: self.manifest.chunks })
    }

    /// Several chunks, in the order asked for.
    pub fn chunks(&self, ordinals: &[u32]) -> Result<Vec<StoredChunk>, StoreError> {
        let found = self.pool.with(|connection| {
            ordinals.iter().map(|o| Ok((*o, read_chunk(connection, *o)?))).collect::<rusqlite::Result<Vec<_>>>()
        })?;
        found
            .into_iter()
            .map(|(ordinal, chunk)| chunk.ok_or(StoreError::NoChunk { ordinal, chunks: self.manifest.chunks }))
            .collect()
    }

    /// The vector of a chunk as it was stored.
    pub fn vector(&self, ordinal: u32) -> Result<Vec<f32>, StoreError> {
        if u64::from(ordinal) >= self.manifest.chunks {
            return Err(StoreError::NoChunk { ordinal, chunks: self.manifest.chunks });
        }
        read_vector_at(&self.vectors, self.manifest.dimensions, ordinal)
            .map_err(StoreError::io(&self.dir.join(VECTORS)))
    }

    fn best(&self, mut hits: Vec<(u32, f64)>, k: usize) -> Vec<Scored> {
        let rank = |ordinal: u32| self.ranks.get(ordinal as usize).copied().unwrap_or(u32::MAX);
        hits.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| rank(a.0).cmp(&rank(b.0))));
        hits.truncate(k);
        hits.into_iter()
            .map(|(ordinal, score)| {
                let id = self.ids.get(ordinal as usize).map(ToString::to_string).unwrap_or_default();
                Scored { ordinal, id, score }
            })
            .collect()
    }

    /// The chunks that a filter lets through.
    fn allowed(&self, filter: Option<&Filter>) -> Result<Option<Bits>, StoreError> {
        let Some(filter) = filter.filter(|f| !f.is_empty()) else { return Ok(None) };
        let size = self.ids.len();
        let bits = self.pool.with(|connection| {
            let mut bits = Bits::all(size);
            for condition in &filter.conditions {
                bits.keep(&matching(connection, condition, size)?);
            }
            Ok(bits)
        })?;
        Ok(Some(bits))
    }
}

fn matching(connection: &Connection, condition: &Condition, size: usize) -> rusqlite::Result<Bits> {
    let mut values = vec![SqlValue::Text(condition.field.clone())];
    let mut sql = "SELECT chunk FROM field WHERE name = ?1".to_owned();
    match &condition.test {
        Test::Any(any) => {
            let marks: Vec<String> = (2_usize..).zip(any).map(|(n, _)| format!("?{n}")).collect();
            sql.push_str(&format!(" AND value IN ({})", marks.join(", ")));
            values.extend(any.iter().map(sql_value));
        }
        Test::Numbers { gte, lte } => {
            sql.push_str(" AND typeof(value) IN ('integer', 'real')");
            bounds(&mut sql, &mut values, gte.map(sql_number), lte.map(sql_number));
        }
        Test::Strings { gte, lte } => {
            sql.push_str(" AND typeof(value) = 'text'");
            bounds(&mut sql, &mut values, gte.clone().map(SqlValue::Text), lte.clone().map(SqlValue::Text));
        }
    }
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut bits = Bits::none(size);
    while let Some(row) = rows.next()? {
        bits.set(row.get(0)?);
    }
    Ok(bits)
}

fn bounds(sql: &mut String, values: &mut Vec<SqlValue>, gte: Option<SqlValue>, lte: Option<SqlValue>) {
    for (operator, bound) in [(">=", gte), ("<=", lte)] {
        if let Some(bound) = bound {
            values.push(bound);
            sql.push_str(&format!(" AND value {operator} ?{}", values.len()));
        }
    }
}

/// How a metadata value is kept: booleans as blobs, so that no number or string equals them.
pub(super) fn sql_value(value: &Scalar) -> SqlValue {
    match value {
        Scalar::Text(text) => SqlValue::Text(text.clone()),
        Scalar::Bool(flag) => SqlValue::Blob(vec![u8::from(*flag)]),
        Scalar::Number(number) => sql_number(*number),
    }
}

fn sql_number(number: Number) -> SqlValue {
    match number {
        Number::Whole(whole) => SqlValue::Integer(whole),
        Number::Real(real) => SqlValue::Real(real),
    }
}

fn read_chunk(connection: &Connection, ordinal: u32) -> rusqlite::Result<Option<StoredChunk>> {
    let mut statement =
        connection.prepare_cached("SELECT id, document, title, text, metadata FROM chunk WHERE ordinal = ?1")?;
    let mut rows = statement.query([ordinal])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let metadata: String = row.get(4)?;
    let metadata = serde_json::from_str(&metadata)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(e)))?;
    let chunk = StoredChunk {
        ordinal,
        id: row.get(0)?,
        document: row.get(1)?,
        title: row.get(2)?,
        text: row.get(3)?,
        metadata,
    };
    Ok(Some(chunk))
}

fn read_ids(connection: &Connection) -> rusqlite::Result<Vec<Box<str>>> {
    let mut statement = connection.prepare("SELECT id FROM chunk ORDER BY ordinal")?;
    statement.query_map([], |row| row.get::<_, String>(0).map(String::into_boxed_str))?.collect()
}

fn ranks(ids: &[Box<str>]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..).take(ids.len()).collect();
    order.sort_unstable_by_key(|ordinal| ids.get(*ordinal as usize));
    let mut ranks = vec![0; ids.len()];
    for (rank, ordinal) in (0_u32..).zip(order) {
        if let Some(slot) = ranks.get_mut(ordinal as usize) {
            *slot = rank;
        }
    }
    ranks
}

fn check_files(dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    if manifest.chunks > MAX_CHUNKS {
        return Err(StoreError::TooMany { unit: "chunks", found: manifest.chunks, most: MAX_CHUNKS });
    }
    for name in [SQLITE, VECTORS, REFERENCES] {
        let path = dir.join(name);
        let Some(entry) = manifest.files.get(name) else {
            return Err(StoreError::damaged(&path, "the manifest does not list it"));
        };
        let found = std::fs::metadata(&path).map_err(StoreError::io(&path))?.len();
        if found != entry.bytes {
            let detail = format!("{found} bytes, the manifest says {}", entry.bytes);
            return Err(StoreError::damaged(&path, detail));
        }
    }
    Ok(())
}

fn read_references(path: &Path, dimensions: usize) -> Result<Vec<Vec<f32>>, StoreError> {
    let bytes = std::fs::read(path).map_err(StoreError::io(path))?;
    let width = dimensions.saturating_mul(4);
    if bytes.len().checked_rem(width) != Some(0) {
        let detail = format!("{} bytes are no whole number of vectors of {dimensions} numbers", bytes.len());
        return Err(StoreError::damaged(path, detail));
    }
    Ok(bytes.chunks_exact(width).map(floats).collect())
}

fn read_codes(path: &Path, manifest: &Manifest) -> Result<Codes, StoreError> {
    let width = manifest.dimensions.saturating_mul(4);
    let length = std::fs::metadata(path).map_err(StoreError::io(path))?.len();
    let expected = manifest.chunks.saturating_mul(width as u64);
    if width == 0 || length != expected {
        let detail =
            format!("{length} bytes, {} chunks of {} numbers need {expected}", manifest.chunks, manifest.dimensions);
        return Err(StoreError::damaged(path, detail));
    }
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(StoreError::io(path))?);
    let mut codes = Codes::new(manifest.distance, manifest.dimensions);
    let mut buffer = vec![0; width];
    codes.reserve(usize::try_from(manifest.chunks).unwrap_or(0));
    for chunk in 0..manifest.chunks {
        file.read_exact(&mut buffer).map_err(StoreError::io(path))?;
        codes
            .push(&floats(&buffer))
            .map_err(|e| StoreError::damaged(path, format!("the vector of chunk {chunk} {e}")))?;
    }
    Ok(codes)
}

pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

pub(super) fn read_vector_at(file: &File, dimensions: usize, ordinal: u32) -> std::io::Result<Vec<f32>> {
    let width = dimensions.saturating_mul(4);
    let mut bytes = vec![0; width];
    file.read_exact_at(&mut bytes, u64::from(ordinal).saturating_mul(width as u64))?;
    Ok(floats(&bytes))
}
