//! Reading text files line by line, with a bound on each line and a digest of every byte.
//!
//! Why: a data set comes from outside; a line of a gigabyte must end in a message, not in the memory of the pod.
//!
//! Invariants: the digest covers the bytes as they lie in the file; a byte order mark before line 1 and a
//! carriage return before the line feed are not part of a line; blank lines are passed over but counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Longest line that is read.
pub const MAX_LINE_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: cannot be read: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{}:{line}: the line has more than {MAX_LINE_BYTES} bytes; split it or remove what no query needs", file.display())]
    TooLong { file: PathBuf, line: u64 },
    #[error("{}:{line}: the line is not UTF-8 from byte {at} on; save the file as UTF-8", file.display())]
    NotUtf8 { file: PathBuf, line: u64, at: usize },
}

impl ReadError {
    /// Whether the file is there but could not be read now (a new attempt may help).
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
            ),
            Self::TooLong { .. } | Self::NotUtf8 { .. } => false,
        }
    }
}

/// The beginning of a text, for messages.
pub fn short(text: &str) -> String {
    const MOST: usize = 64;
    let mut start: String = text.chars().take(MOST).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// The lines of one file.
pub struct Lines {
    file: PathBuf,
    reader: BufReader<File>,
    digest: Sha256,
    number: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a file.
    pub fn open(file: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { file: file.to_owned(), source };
        let opened = File::open(file).map_err(io)?;
        if opened.metadata().map_err(io)?.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self {
            file: file.to_owned(),
            reader: BufReader::with_capacity(1 << 16, opened),
            digest: Sha256::new(),
            number: 0,
            buffer: Vec::new(),
        })
    }

    /// The next line that is not blank, with its number from 1 on.
    pub fn next_line(&mut self) -> Result<Option<(u64, &str)>, ReadError> {
        loop {
            self.buffer.clear();
            let limit = MAX_LINE_BYTES as u64 + 2;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer);
            if read.map_err(|source| ReadError::Io { file: self.file.clone(), source })? == 0 {
                return Ok(None);
            }
            self.digest.update(&self.buffer);
            self.number = self.number.saturating_add(1);
            if self.line_bytes().len() > MAX_LINE_BYTES {
                return Err(ReadError::TooLong { file: self.file.clone(), line: self.number });
            }
            if !self.line_bytes().iter().all(u8::is_ascii_whitespace) {
                break;
            }
        }
        match std::str::from_utf8(self.line_bytes()) {
            Ok(text) => Ok(Some((self.number, text))),
            Err(e) => Err(ReadError::NotUtf8 { file: self.file.clone(), line: self.number, at: e.valid_up_to() }),
        }
    }

    /// SHA-256 of every byte read so far: of the whole file after `next_line` gave `None`.
    pub fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }

    fn line_bytes(&self) -> &[u8] {
        let mut line = self.buffer.as_slice();
        if self.number == 1 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Vec<(u64, String)>, ReadError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, content).unwrap();
        let mut lines = Lines::open(&file)?;
        let mut all = Vec::new();
        while let Some((number, text)) = lines.next_line()? {
            all.push((number, text.to_owned()));
        }
        Ok(all)
    }

    #[test]
    fn byte_order_mark_carriage_returns_and_blank_lines_are_no_content() {
        let lines = read(b"\xef\xbb\xbfa\r\n\r\n \t\nb\nc").unwrap();
        assert_eq!(lines, [(1, "a".to_owned()), (4, "b".to_owned()), (5, "c".to_owned())]);
    }

    #[test]
    fn the_longest_line_is_read_and_one_byte_more_is_refused() {
        let mut content = vec![b'x'; MAX_LINE_BYTES];
        content.push(b'\n');
        assert_eq!(read(&content).unwrap().len(), 1);
        content.insert(0, b'x');
        let error = read(&content).unwrap_err().to_string();
        assert!(error.contains(":1: the line has more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let error = read(b"ok\nno\xff\n").unwrap_err().to_string();
        assert!(error.contains(":2: the line is not UTF-8 from byte 2 on"), "{error}");
    }
}
