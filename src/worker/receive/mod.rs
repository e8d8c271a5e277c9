//! `rag receive`: unpacks a tar from standard input into a directory; how files get onto a claim.
//!
//! Why: a claim can be filled by one short-lived pod of our own image, which has no shell and no tar.
//!
//! Invariants: nothing is written outside the directory, not even through a link that is there already; only
//! files and directories are made; each file appears whole or not at all; what is unpacked is bounded.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::exit::{Failure, report};
use super::path;

/// Bytes after the end of an archive that are read; tar fills up blocks.
const MAX_PADDING: u64 = 1 << 20;
/// Entries of one archive.
const MAX_ENTRIES: u64 = 1_000_000;

/// Flags of `rag receive`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Directory that the files go to; made if it is not there.
    #[arg(long)]
    pub to: PathBuf,
    /// Most bytes that all files may have together, such as 500Mi or 20Gi.
    #[arg(long, default_value = "20Gi", value_parser = size)]
    pub max_size: u64,
}

/// Runs `rag receive`.
pub fn run(args: Args) -> ExitCode {
    report(unpack(io::stdin().lock(), &args.to, args.max_size, &mut io::stdout().lock()).map(|written| {
        eprintln!("{} files, {} bytes, in {}", written.files, written.bytes, args.to.display());
    }))
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub files: u64,
    pub bytes: u64,
}

/// Unpacks a tar, gzipped or not, and lists each file as "bytes path".
pub fn unpack(input: impl Read, to: &Path, max_bytes: u64, list: &mut dyn Write) -> Result<Written, Failure> {
    fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
    let to = to.canonicalize().map_err(|error| failed(to, &error))?;
    let ended = Rc::new(Cell::new(false));
    let mut archive = tar::Archive::new(Watched { inner: plain(input)?, ended: ended.clone() });
    let mut written = Written::default();
    let entries = archive.entries().map_err(|error| broken(0, &error))?;
    for (index, entry) in (1u64..).zip(entries) {
        let mut entry = entry.map_err(|error| broken(index, &error))?;
        if index > MAX_ENTRIES {
            return Err(refused(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let path = relative(&entry.path_bytes())?;
        match entry.header().entry_type() {
            EntryType::Directory => directory(&to, &path)?,
            EntryType::Regular | EntryType::Continuous => {
                let room = max_bytes.saturating_sub(written.bytes);
                if entry.size() > room {
                    return Err(refused(format!(
                        "with {} the files have more than {max_bytes} bytes; raise --max-size or send less",
                        path.display()
                    )));
                }
                let size = entry.size();
                let bytes = file(&mut entry, size, &to, &path)?;
                written.files = written.files.saturating_add(1);
                written.bytes = written.bytes.saturating_add(bytes);
                writeln!(list, "{bytes} {}", path.display())
                    .map_err(|error| Failure::unavailable("Unavailable", format!("standard output: {error}")))?;
            }
            // Facts about other entries, which this program does not use.
            EntryType::XGlobalHeader => {}
            other => {
                return Err(refused(format!(
                    "{} is a {}; only files and directories are taken",
                    path.display(),
                    kind(other)
                )));
            }
        }
    }
    // A tar says where it ends; input that ended before was cut, perhaps between two files.
    if ended.get() {
        return Err(refused(format!("the archive breaks off after {} files; send it again", written.files)));
    }
    // Padding, and the checksum of gzip.
    let rest = archive.into_inner().take(MAX_PADDING);
    io::copy(&mut { rest }, &mut io::sink()).map_err(|error| broken(written.files.saturating_add(1), &error))?;
    Ok(written)
}

/// Remembers whether the input ended.
struct Watched<R> {
    inner: R,
    ended: Rc<Cell<bool>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.ended.set(true);
        }
        Ok(count)
    }
}

/// The tar itself: gzip is known by its first two bytes.
fn plain<'a>(mut input: impl Read + 'a) -> Result<Box<dyn Read + 'a>, Failure> {
    let mut start = Vec::with_capacity(2);
    input.by_ref().take(2).read_to_end(&mut start).map_err(|error| broken(0, &error))?;
    let zipped = start == [0x1f, 0x8b];
    let all = BufReader::new(io::Cursor::new(start).chain(input));
    Ok(if zipped { Box::new(MultiGzDecoder::new(all)) } else { Box::new(all) })
}

/// A path below the directory: names only.
fn relative(bytes: &[u8]) -> Result<PathBuf, Failure> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| refused(format!("{:?} is not UTF-8; rename it", String::from_utf8_lossy(bytes))))?;
    let Some(path) = path::below(text) else {
        return Err(refused(format!("{text:?} leads out of the directory; pack with relative paths, without ..")));
    };
    if text.contains('\0') {
        return Err(refused(format!("{text:?} has a zero byte in its name")));
    }
    Ok(path)
}

/// Makes the directories of a path, refusing links on the way.
fn directory(to: &Path, path: &Path) -> Result<(), Failure> {
    let mut place = to.to_owned();
    for name in path.components() {
        place.push(name);
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(refused(format!("{} is there already and is no directory", place.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&place).map_err(|error| failed(&place, &error))?;
            }
            Err(error) => return Err(failed(&place, &error)),
        }
    }
    Ok(())
}

/// Writes a file beside its place and renames it there; a link at its place is replaced, not followed.
fn file(content: &mut impl Read, size: u64, to: &Path, path: &Path) -> Result<u64, Failure> {
    let Some(name) = path.file_name() else {
        return Err(refused(format!("a file has the path {:?}, which names nothing", path.display().to_string())));
    };
    if let Some(parent) = path.parent() {
        directory(to, parent)?;
    }
    let target = to.join(path);
    let mut fresh_name = std::ffi::OsString::from(".receiving-");
    fresh_name.push(name);
    let fresh = target.with_file_name(fresh_name);
    let mut write = || -> io::Result<u64> {
        // What an interrupted run left, or a link that someone laid there, goes first.
        match fs::remove_file(&fresh) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut out = File::create_new(&fresh)?;
        let bytes = io::copy(content, &mut out)?;
        if bytes != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{bytes} of {size} bytes")));
        }
        out.sync_all()?;
        fs::rename(&fresh, &target)?;
        Ok(bytes)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&fresh);
        failed(&target, &error)
    })
}

fn kind(entry: EntryType) -> &'static str {
    match entry {
        EntryType::Symlink => "symbolic link",
        EntryType::Link => "hard link",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "pipe",
        EntryType::GNUSparse => "sparse file",
        _ => "thing of another kind",
    }
}

fn refused(text: String) -> Failure {
    Failure::invalid("DatasetInvalid", text)
}

fn broken(index: u64, error: &io::Error) -> Failure {
    refused(format!("entry {index} of the archive on standard input cannot be read: {error}; send a tar or tar.gz"))
}

/// A read that fails is the archive's fault, a write that fails the directory's.
fn failed(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            refused(format!("{}: the archive breaks off or is damaged here: {error}", path.display()))
        }
        _ => Failure::unavailable("Unavailable", format!("cannot write {}: {error}", path.display())),
    }
}

/// A size as a Kubernetes quantity.
fn size(text: &str) -> Result<u64, String> {
    let units = [("Ki", 1u64 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40)];
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, *factor)))
        .unwrap_or((text, 1));
    digits
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is no size; write bytes or a number with Ki, Mi, Gi or Ti"))
}
