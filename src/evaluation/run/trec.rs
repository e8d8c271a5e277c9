//! TREC run files: `query Q0 document rank score run`, a line a document.
//!
//! Invariants: the order comes from the score, the rank column is not read; text after the sixth column belongs to the
//! run's name, as in trec_eval; every malformed line is refused with file and line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wide::u8x16;

use super::reading::Reading;
use super::{Compat, Names, Run};
use crate::evaluation::lines::{Lines, ReadError, short};
use crate::evaluation::number;

/// Most lines of a run file: about 1.5 GB of memory where every id is kept, twice that where lines of queries stand apart.
pub const MAX_RUN_LINES: u32 = 50_000_000;

/// Why a run file is refused.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}:{line}: {problem}", file.display())]
    Line { file: PathBuf, line: u64, problem: LineProblem },
    #[error("{}: the file holds no line; a run line is `query Q0 document rank score run`", file.display())]
    Empty { file: PathBuf },
}

/// What is wrong with a line of a run file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    #[error("found {0} columns, a run line has 6: `query Q0 document rank score run`")]
    Columns(usize),
    #[error("score `{0}` is not a finite number")]
    Score(String),
    #[error("document `{document}` stands twice for query `{query}`; keep one line")]
    Duplicate { query: String, document: String },
    #[error("more than {MAX_RUN_LINES} lines; keep the first 1,000 documents of each query")]
    TooMany,
    #[error("the documents of query `{0}` have more than 4 GiB of ids; use shorter ids or fewer documents")]
    TooLarge(String),
}

/// A line that was read.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub query: &'a str,
    pub document: &'a str,
    pub score: f64,
}

impl Run {
    /// Reads a TREC run file; gives it with the SHA-256 of its unpacked bytes.
    pub fn read(file: &Path, compat: Compat, names: Names<'_>) -> Result<(Self, [u8; 32]), RunError> {
        // A pipe cannot be read again.
        let names = if file.is_file() { names } else { Names::All };
        let mut lines = Lines::open(file)?;
        let mut reading = Reading::new(compat, names);
        let refused = |line, problem| RunError::Line { file: file.to_owned(), line, problem };
        while let Some((line, text)) = lines.unread()? {
            if reading.needs_all() {
                return Self::read(file, compat, Names::All);
            }
            if let Some((found, length)) = short_line(text) {
                reading.take(found, line).map_err(|problem| refused(line, problem))?;
                lines.pass(length);
            } else if let Some((line, text)) = lines.next_line()? {
                parse(text).and_then(|found| reading.take(found, line)).map_err(|problem| refused(line, problem))?;
            }
        }
        reading.settle();
        if reading.needs_all() {
            return Self::read(file, compat, Names::All);
        }
        let lists = reading.finish().map_err(|(line, problem)| refused(line.into(), problem))?;
        if lists.is_empty() {
            return Err(RunError::Empty { file: file.to_owned() });
        }
        Ok((Self { compat, lists, found_nothing: false }, lines.digest()))
    }

    /// Writes a TREC run file; scores keep every digit. An id with a space cannot stand in such a file.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for (query, packed) in &self.lists {
            if packed.nameless > 0 {
                let why = format!("{} documents of query `{query}` have lost their ids", packed.nameless);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            for at in packed.list().iter() {
                for id in [query.as_str(), at.document] {
                    if id.is_empty() || id.contains(char::is_whitespace) {
                        let why = format!("`{id}` is empty or has a space in it: no TREC run file can hold it");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                }
                writeln!(to, "{query} Q0 {} {} {} rag", at.document, at.rank, at.score)?;
            }
        }
        to.flush()
    }
}

/// The line at the start of a text, if it is as almost all lines are: up to 64 bytes, six columns, single blanks. One
/// look at its bytes finds all columns and the end. Gives its length too.
#[inline]
pub(super) fn short_line(text: &str) -> Option<(Line<'_>, usize)> {
    let bytes = text.as_bytes().first_chunk::<64>()?;
    let all = blanks(bytes);
    let mut left = all;
    let mut next = || {
        let at = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        at
    };
    let [a, b, c, d, e, end] = [next(), next(), next(), next(), next(), next()];
    let parts = [a, b, c, d, e].iter().all(|at| matches!(bytes.get(*at), Some(b' ' | b'\t')));
    let line = 1_u64.checked_shl(u32::try_from(end).ok()?)?.wrapping_sub(1);
    let doubled = all & (all << 1 | 1) & (line << 1 | 1);
    if !parts || doubled != 0 || bytes.get(end) != Some(&b'\n') {
        return None;
    }
    let column = |after: usize, end: usize| text.get(after.saturating_add(1)..end);
    let score = number::finite(column(d, e)?)?;
    Some((Line { query: text.get(..a)?, document: column(b, c)?, score }, end.saturating_add(1)))
}

/// A bit for each byte that is a blank or a control character, the lowest for the first.
fn blanks(bytes: &[u8; 64]) -> u64 {
    let blank = u8x16::splat(b' ');
    let (parts, _) = bytes.as_chunks::<16>();
    parts
        .iter()
        .rev()
        .map(|part| u8x16::new(*part))
        .fold(0, |bits, part| bits << 16 | u64::from(part.min(blank).simd_eq(part).to_bitmask()))
}

pub(super) fn parse(text: &str) -> Result<Line<'_>, LineProblem> {
    let mut columns = text.split_ascii_whitespace();
    let mut next = || columns.next();
    match (next(), next(), next(), next(), next(), next()) {
        (Some(query), Some(_), Some(document), Some(_), Some(score), Some(_)) => {
            let score = number::finite(score).ok_or_else(|| LineProblem::Score(short(score)))?;
            Ok(Line { query, document, score })
        }
        _ => Err(LineProblem::Columns(text.split_ascii_whitespace().count())),
    }
}
