//! Documents: where they lie, how they are read, what is set aside, how they are cut.
//!
//! Why a room of its own: every rule on what a document is stands here, and no other part of an index build
//! looks at a file.
//!
//! Invariants: reading is deterministic (files in byte order of their path, lines in file order); every
//! document of the source ends as exactly one [`Outcome`]; a document that cannot be read is set aside
//! with its place and why, and never stops the others; a place that cannot be reached stops everything,
//! since a partial corpus would look like a small one.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::metadata::Metadata;

mod chunk;
mod files;
mod format;
mod html;
mod jsonl;
mod ledger;
mod markdown;

pub use chunk::{Chunker, Chunking, Strategy, approximate_tokens};
pub use files::{BadGlob, Globs};
pub use format::Format;
pub use ledger::{Counts, Ledger};

/// Most bytes of one document: of a line, or of a file that is one document.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// Most bytes of a document's id.
pub const MAX_ID_BYTES: usize = 512;
/// Most bytes of a document's title: it is embedded with every chunk.
pub const MAX_TITLE_BYTES: usize = 512;

/// One source of documents.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    /// Value of the metadata field `domain` of documents that have none.
    pub domain: Option<String>,
    /// File or directory to read.
    pub root: PathBuf,
    /// Directory that no symbolic link may lead out of.
    pub boundary: PathBuf,
    pub format: Format,
    pub mapping: Mapping,
    pub globs: Globs,
}

/// Names of fields in structured formats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub id: String,
    pub title: String,
    pub text: String,
    pub metadata: Vec<String>,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { id: "id".to_owned(), title: "title".to_owned(), text: "text".to_owned(), metadata: Vec::new() }
    }
}

/// Where a document stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub source: String,
    /// Path below the source's root; the file's name when the root is a file.
    pub file: String,
    /// Line, where a file holds several documents.
    pub line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A document with text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub place: Place,
    pub id: String,
    pub title: String,
    pub text: String,
    pub metadata: Metadata,
}

/// What became of one document of the source.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Document(Document),
    /// It cannot be read.
    Quarantined {
        place: Place,
        why: String,
    },
    /// It has no text.
    Skipped {
        place: Place,
    },
}

/// What a parser makes of one document; the reader adds the place.
#[derive(Clone, Debug, PartialEq)]
enum Parsed {
    Content { id: String, title: String, text: String, metadata: Metadata },
    Unreadable(String),
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("source {name}: {}: {source}", .path.display())]
pub struct SourceError {
    pub name: String,
    pub path: PathBuf,
    pub source: std::io::Error,
}

/// Receives outcomes; `Break` ends the reading.
pub type Sink<'a> = &'a mut dyn FnMut(Outcome) -> ControlFlow<()>;

impl Source {
    /// Reads every document in a fixed order.
    pub fn read(&self, sink: Sink<'_>) -> Result<(), SourceError> {
        for found in files::list(self)? {
            let flow = match found {
                files::Found::Refused { file, why } => {
                    sink(Outcome::Quarantined { place: self.place(file, None), why })
                }
                files::Found::File { file, path } => self.read_file(&file, &path, sink)?,
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn read_file(&self, file: &str, path: &Path, sink: Sink<'_>) -> Result<ControlFlow<()>, SourceError> {
        let broken = |error| self.error(path, error);
        let format = match self.format {
            Format::Auto => format::of_file(file, path).map_err(broken)?,
            named => named,
        };
        if format == Format::Jsonl {
            return jsonl::read(path, &mut |line, bytes| {
                let parsed = guarded(|| match bytes {
                    Some(bytes) => jsonl::parse(bytes, &self.mapping),
                    None => too_long("line"),
                });
                sink(self.outcome(file, Some(line), parsed))
            })
            .map_err(broken);
        }
        let parsed = match files::read_bounded(path).map_err(broken)? {
            None => too_long("file"),
            Some(bytes) => guarded(|| format::parse(format, file, bytes, &self.mapping)),
        };
        Ok(sink(self.outcome(file, None, parsed)))
    }

    /// The rules that hold for every format.
    fn outcome(&self, file: &str, line: Option<u64>, parsed: Parsed) -> Outcome {
        let place = self.place(file.to_owned(), line);
        match parsed {
            Parsed::Unreadable(why) => Outcome::Quarantined { place, why },
            Parsed::Content { id, title, text, mut metadata } => {
                if let Err(why) = check_id(&id) {
                    return Outcome::Quarantined { place, why };
                }
                let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
                // Before the text: a `title` element never closed holds all of it.
                if title.len() > MAX_TITLE_BYTES {
                    let why = format!("the title has {} bytes, at most {MAX_TITLE_BYTES} are allowed", title.len());
                    return Outcome::Quarantined { place, why };
                }
                if text.trim().is_empty() {
                    return Outcome::Skipped { place };
                }
                if let Some(domain) = &self.domain {
                    metadata.entry("domain").or_insert_with(|| domain.clone().into());
                }
                Outcome::Document(Document { place, id, title, text, metadata })
            }
        }
    }

    fn place(&self, file: String, line: Option<u64>) -> Place {
        Place { source: self.name.clone(), file, line }
    }

    fn error(&self, path: &Path, source: std::io::Error) -> SourceError {
        SourceError { name: self.name.clone(), path: path.to_owned(), source }
    }
}

fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("the id is empty".to_owned());
    }
    if id.len() > MAX_ID_BYTES {
        return Err(format!("the id has {} bytes, at most {MAX_ID_BYTES} are allowed", id.len()));
    }
    if id.chars().any(char::is_control) {
        return Err(format!("the id {id:?} holds a control character"));
    }
    Ok(())
}

fn too_long(what: &str) -> Parsed {
    Parsed::Unreadable(format!("the {what} has more than {} MiB", MAX_DOCUMENT_BYTES >> 20))
}

/// A panic of a parser sets one document aside and stops nothing.
fn guarded(parse: impl FnOnce() -> Parsed) -> Parsed {
    catch_unwind(AssertUnwindSafe(parse))
        .unwrap_or_else(|_| Parsed::Unreadable("the parser failed on it (a fault of this program)".to_owned()))
}

/// Text of a document's bytes.
fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        }),
        Err(error) => Err(not_utf8(error.utf8_error())),
    }
}

fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("not UTF-8 from byte {} on; convert it to UTF-8", error.valid_up_to())
}

#[cfg(test)]
mod tests;
