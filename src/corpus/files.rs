//! Which files a source has.
//!
//! Invariants: names that begin with `.` are not read (a mounted ConfigMap keeps its real files below
//! `..data`, repositories theirs below `.git`); a symbolic link is followed only to a place inside the
//! boundary, and never into a directory that it lies in, by whatever links; files come in byte order of their path.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{MAX_DOCUMENT_BYTES, Source, SourceError};

/// Which files of a source are read.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    /// Names that a mounted ConfigMap is limited to; empty means all.
    keys: Vec<String>,
    include: Option<GlobSet>,
    exclude: GlobSet,
}

/// A glob that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is no glob pattern: {why}")]
pub struct BadGlob {
    pub pattern: String,
    pub why: String,
}

impl Globs {
    /// Patterns of files to read (none means all) and to leave out; `*` stops at `/`, `**` does not.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, BadGlob> {
        let include = if include.is_empty() { None } else { Some(set(include)?) };
        Ok(Self { keys: Vec::new(), include, exclude: set(exclude)? })
    }

    /// Only these names as well.
    pub fn with_keys(mut self, keys: &[String]) -> Self {
        self.keys = keys.to_vec();
        self
    }

    fn take(&self, file: &str) -> bool {
        (self.keys.is_empty() || self.keys.iter().any(|key| key == file))
            && self.include.as_ref().is_none_or(|set| set.is_match(file))
            && !self.exclude.is_match(file)
    }
}

fn set(patterns: &[String]) -> Result<GlobSet, BadGlob> {
    let bad =
        |pattern: &str, error: &globset::Error| BadGlob { pattern: pattern.to_owned(), why: error.kind().to_string() };
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|e| bad(pattern, &e))?;
        builder.add(glob);
    }
    builder.build().map_err(|e| bad(&patterns.join(", "), &e))
}

/// An entry of a source.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    File { file: String, path: PathBuf },
    Refused { file: String, why: String },
}

impl Found {
    fn file(&self) -> &str {
        match self {
            Self::File { file, .. } | Self::Refused { file, .. } => file,
        }
    }
}

/// Lists a source in byte order of the paths.
pub fn list(source: &Source) -> Result<Vec<Found>, SourceError> {
    let error = |path: &Path, e| source.error(path, e);
    let root = fs::canonicalize(&source.root).map_err(|e| error(&source.root, e))?;
    let boundary = fs::canonicalize(&source.boundary).map_err(|e| error(&source.boundary, e))?;
    if !root.starts_with(&boundary) {
        let outside = io::Error::new(io::ErrorKind::PermissionDenied, "a symbolic link leads out of the source");
        return Err(error(&source.root, outside));
    }
    let mut found = Vec::new();
    let meta = fs::metadata(&root).map_err(|e| error(&root, e))?;
    match kind(&meta, root.clone()) {
        Resolved::Directory(root) => walk(&boundary, root, &mut found).map_err(|(path, e)| error(&path, e))?,
        Resolved::File(path) => {
            // The name that the user gave, not the one that a link leads to.
            let file = source.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push(Found::File { file, path });
        }
        // A pipe cannot be read twice.
        Resolved::Refused(why) => return Err(error(&root, io::Error::new(io::ErrorKind::InvalidInput, why))),
    }
    found.retain(|entry| source.globs.take(entry.file()));
    found.sort_unstable_by(|a, b| a.file().cmp(b.file()));
    Ok(found)
}

/// Linux' number for a link that leads to itself; std has no stable name for it.
const ELOOP: i32 = 40;

type AtPath<T> = Result<T, (PathBuf, io::Error)>;

/// A directory that is still to be read.
struct Open {
    /// Its path as a user sees it, with `/` at the end.
    prefix: String,
    /// Its canonical path.
    dir: PathBuf,
    /// Canonical directories of the symbolic links that were followed on the way to it: with `dir` all that it lies in.
    left: Rc<Vec<PathBuf>>,
}

fn walk(boundary: &Path, root: PathBuf, found: &mut Vec<Found>) -> AtPath<()> {
    let mut open = vec![Open { prefix: String::new(), dir: root, left: Rc::default() }];
    while let Some(Open { prefix, dir, left }) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(|e| (dir.clone(), e))? {
            let entry = entry.map_err(|e| (dir.clone(), e))?;
            let name = entry.file_name();
            let shown = format!("{prefix}{}", name.to_string_lossy());
            // `lost+found` belongs to the file system of a volume.
            if name.as_encoded_bytes().starts_with(b".") || name == "lost+found" {
                continue;
            }
            if name.to_str().is_none() {
                found.push(Found::Refused { file: shown, why: "the file's name is not UTF-8".to_owned() });
                continue;
            }
            match resolve(boundary, &dir, &left, &entry.path())? {
                Resolved::File(path) => found.push(Found::File { file: shown, path }),
                Resolved::Directory(path) => {
                    let followed = path != entry.path();
                    let left = if followed {
                        left.iter().chain([&dir]).cloned().collect::<Vec<_>>().into()
                    } else {
                        left.clone()
                    };
                    open.push(Open { prefix: format!("{shown}/"), dir: path, left });
                }
                Resolved::Refused(why) => found.push(Found::Refused { file: shown, why: why.to_owned() }),
            }
        }
    }
    Ok(())
}

enum Resolved {
    File(PathBuf),
    Directory(PathBuf),
    Refused(&'static str),
}

/// Follows an entry of `dir`, which is canonical; `left`: see [`Open`].
fn resolve(boundary: &Path, dir: &Path, left: &[PathBuf], path: &Path) -> AtPath<Resolved> {
    let here = |e: io::Error| (path.to_owned(), e);
    let meta = fs::symlink_metadata(path).map_err(here)?;
    if !meta.is_symlink() {
        return Ok(kind(&meta, path.to_owned()));
    }
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Resolved::Refused("the symbolic link leads nowhere"));
        }
        Err(e) if e.raw_os_error() == Some(ELOOP) => {
            return Ok(Resolved::Refused("the symbolic link leads to itself"));
        }
        Err(e) => return Err(here(e)),
    };
    if !target.starts_with(boundary) {
        return Ok(Resolved::Refused("the symbolic link leads out of the source"));
    }
    // Through several links too: two that lead into each other's directories would be followed for ever.
    if left.iter().map(PathBuf::as_path).chain([dir]).any(|within| within.starts_with(&target)) {
        return Ok(Resolved::Refused("the symbolic link leads to a directory that it lies in"));
    }
    let meta = fs::metadata(&target).map_err(here)?;
    Ok(kind(&meta, target))
}

fn kind(meta: &fs::Metadata, path: PathBuf) -> Resolved {
    if meta.is_dir() {
        Resolved::Directory(path)
    } else if meta.is_file() {
        Resolved::File(path)
    } else {
        Resolved::Refused("neither a file nor a directory")
    }
}

/// The bytes of a file; `None` when there are more than a document may have.
pub fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // One more than may be tells that there is more.
    const MOST: u64 = MAX_DOCUMENT_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= MAX_DOCUMENT_BYTES).then_some(bytes))
}
