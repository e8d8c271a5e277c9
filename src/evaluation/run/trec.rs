//! TREC run files: `query Q0 document rank score run`, a line a document.
//!
//! Invariants: the order comes from the score, the rank column is not read; text after the sixth column belongs to the
//! run's name, as in trec_eval; every malformed line is refused with file and line.

use std::hash::BuildHasher as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use foldhash::fast::RandomState;

use super::{Compat, Packed, Run, Twice};
use crate::evaluation::by_query::ByQuery;
use crate::evaluation::lines::{Lines, ReadError, short};
use crate::evaluation::number;

/// Most lines of a run file: about 3 GB of memory.
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
struct Line<'a> {
    query: &'a str,
    document: &'a str,
    score: f64,
}

impl Run {
    /// Reads a TREC run file; gives it with the SHA-256 of its unpacked bytes.
    pub fn read(file: &Path, compat: Compat) -> Result<(Self, [u8; 32]), RunError> {
        let mut lines = Lines::open(file)?;
        let mut lists = ByQuery::<Packed>::default();
        let hasher = RandomState::default();
        while let Some((number, text)) = lines.next_line()? {
            let refused = |problem| RunError::Line { file: file.to_owned(), line: number, problem };
            let line = u32::try_from(number).ok().filter(|n| *n <= MAX_RUN_LINES);
            let line = line.ok_or_else(|| refused(LineProblem::TooMany))?;
            let found = parse(text).map_err(refused)?;
            let hash = hasher.hash_one(found.document) as u32;
            if !lists.of(found.query).push(found.document, found.score, line, hash) {
                return Err(refused(LineProblem::TooLarge(short(found.query))));
            }
        }
        let mut lists = lists.sorted();
        if lists.is_empty() {
            return Err(RunError::Empty { file: file.to_owned() });
        }
        let mut twice = Twice::default();
        let duplicates = lists.iter().filter_map(|(query, list)| {
            let (line, document) = twice.first(list)?;
            Some((line, LineProblem::Duplicate { query: short(query), document: short(document) }))
        });
        if let Some((line, problem)) = duplicates.min_by_key(|(line, _)| *line) {
            return Err(RunError::Line { file: file.to_owned(), line: line.into(), problem });
        }
        for list in lists.values_mut() {
            list.text.shrink_to_fit();
            list.places.shrink_to_fit();
            list.rank(compat);
        }
        Ok((Self { compat, lists }, lines.digest()))
    }

    /// Writes a TREC run file; scores keep every digit. An id with a space cannot stand in such a file.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for (query, packed) in &self.lists {
            for (at, rank) in packed.list().iter().zip(1_usize..) {
                for id in [query.as_str(), at.document] {
                    if id.is_empty() || id.contains(char::is_whitespace) {
                        let why = format!("`{id}` is empty or has a space in it: no TREC run file can hold it");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                }
                writeln!(to, "{query} Q0 {} {rank} {} rag", at.document, at.score)?;
            }
        }
        to.flush()
    }
}

fn parse(text: &str) -> Result<Line<'_>, LineProblem> {
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
