//! Reading text files line by line, packed or plain, with a bound on each line and a digest of every byte.
//!
//! Why: a data set comes from outside; a line of a gigabyte must end in a message, not in the memory of the pod.
//!
//! Invariants: whether a file is packed is decided by its first bytes, not by its name; the digest covers the
//! unpacked bytes, so packing a file makes no other data set; a byte order mark before line 1 and a carriage
//! return before the line feed are not part of a line; blank lines are passed over but counted.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest, Sha256};

/// Longest line that is read.
pub const MAX_LINE_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const BLOCK: usize = 1 << 16;

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: cannot be read: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{}: the packed content is damaged after line {line}: {source}; pack the file again", file.display())]
    Packed { file: PathBuf, line: u64, source: io::Error },
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
            Self::Packed { .. } | Self::TooLong { .. } | Self::NotUtf8 { .. } => false,
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
    packed: bool,
    content: Hashed,
    /// Lines given out.
    number: u64,
    /// Whole lines; those from `next` on are to come. Whether all is UTF-8 is asked once a block, not once a line.
    text: String,
    next: usize,
    /// What was read behind the last line end.
    tail: Vec<u8>,
    /// What is wrong with the line behind `text`.
    fault: Option<Fault>,
}

/// What ends the reading at a line.
#[derive(Clone, Copy)]
enum Fault {
    TooLong,
    NotUtf8 { at: usize },
}

/// Unpacked content on its way to the lines: every byte enters the digest.
struct Hashed {
    content: Box<dyn Read>,
    digest: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(to)?;
        self.digest.update(to.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Frames of Zstandard one after the other, as `cat a.zst b.zst` writes them.
struct Frames {
    packed: BufReader<File>,
    decoder: FrameDecoder,
    /// Whether the decoder is inside a frame.
    open: bool,
}

impl Frames {
    /// Goes to the next frame with content; `false` at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.packed.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut (&mut self.packed).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl Read for Frames {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.open {
                self.open = self.next_frame()?;
                if !self.open {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(BLOCK);
                self.decoder.decode_blocks(&mut self.packed, some).map_err(io::Error::other)?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(to);
            }
            self.open = false;
        }
    }
}

/// Where the file is, with one of the endings of packed files if only that is there.
pub fn packed_or_plain(file: PathBuf) -> PathBuf {
    let with = |ending: &str| {
        let mut name = file.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    if file.exists() {
        return file;
    }
    [".gz", ".zst"].into_iter().map(with).find(|packed| packed.exists()).unwrap_or(file)
}

impl Lines {
    /// Opens a file.
    pub fn open(file: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { file: file.to_owned(), source };
        let opened = File::open(file).map_err(io)?;
        if opened.metadata().map_err(io)?.is_dir() {
            return Err(io(io::ErrorKind::IsADirectory.into()));
        }
        let mut bytes = BufReader::with_capacity(BLOCK, opened);
        let first = bytes.fill_buf().map_err(io)?;
        let (gzip, zstd) = (first.starts_with(GZIP), first.starts_with(ZSTD));
        let content: Box<dyn Read> = if gzip {
            Box::new(MultiGzDecoder::new(bytes))
        } else if zstd {
            Box::new(Frames { packed: bytes, decoder: FrameDecoder::new(), open: false })
        } else {
            Box::new(bytes)
        };
        Ok(Self {
            file: file.to_owned(),
            packed: gzip || zstd,
            content: Hashed { content, digest: Sha256::new() },
            number: 0,
            text: String::new(),
            next: 0,
            tail: Vec::new(),
            fault: None,
        })
    }

    /// The next line that is not blank, with its number from 1 on.
    pub fn next_line(&mut self) -> Result<Option<(u64, &str)>, ReadError> {
        let (number, line) = loop {
            let Some((number, text)) = self.unread()? else { return Ok(None) };
            let end = memchr::memchr(b'\n', text.as_bytes()).map_or(text.len(), |at| at.saturating_add(1));
            let line = text.get(..end).unwrap_or_default();
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            let (length, blank) = (line.len(), line.bytes().all(|byte| byte.is_ascii_whitespace()));
            let start = self.next;
            self.pass(end);
            if length > MAX_LINE_BYTES {
                return Err(ReadError::TooLong { file: self.file.clone(), line: number });
            }
            if !blank {
                break (number, start..start.saturating_add(length));
            }
        };
        Ok(Some((number, self.text.get(line).unwrap_or_default())))
    }

    /// Lines to come, at least one, as they stand in the file, and the number of the first: for who finds the end of a line
    /// while it looks for more.
    pub fn unread(&mut self) -> Result<Option<(u64, &str)>, ReadError> {
        if self.next >= self.text.len() && !self.fill()? {
            return Ok(None);
        }
        Ok(Some((self.number.saturating_add(1), self.text.get(self.next..).unwrap_or_default())))
    }

    /// Passes over a line that is so many bytes long, its end included.
    pub fn pass(&mut self, bytes: usize) {
        self.next = self.next.saturating_add(bytes);
        self.number = self.number.saturating_add(1);
    }

    /// SHA-256 of every byte read so far: of the whole file after `next_line` gave `None`.
    pub fn digest(self) -> [u8; 32] {
        self.content.digest.finalize().into()
    }

    /// Reads on to the end of a line; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, ReadError> {
        if let Some(fault) = self.fault {
            return Err(self.refused(fault));
        }
        let mut block = std::mem::take(&mut self.text).into_bytes();
        block.clear();
        block.append(&mut self.tail);
        let first = self.number == 0 && self.next == 0;
        let longest = MAX_LINE_BYTES.saturating_add(BYTE_ORDER_MARK.len()).saturating_add(1);
        let end = loop {
            let before = block.len();
            if self.read_on(&mut block)? == 0 {
                break before;
            }
            let new = block.get(before..).unwrap_or_default();
            match memchr::memrchr(b'\n', new) {
                Some(at) => break before.saturating_add(at).saturating_add(1),
                None if block.len() > longest => {
                    self.fault = Some(Fault::TooLong);
                    break 0;
                }
                None => {}
            }
        };
        self.tail.extend_from_slice(block.get(end..).unwrap_or_default());
        block.truncate(end);
        self.next = if first && block.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        self.text = String::from_utf8(block).unwrap_or_else(|error| self.up_to_fault(error));
        match self.fault {
            Some(fault) if self.next >= self.text.len() => Err(self.refused(fault)),
            Some(_) | None => Ok(!self.text.is_empty()),
        }
    }

    /// Puts bytes behind others; gives how many, 0 at the end.
    fn read_on(&mut self, block: &mut Vec<u8>) -> Result<usize, ReadError> {
        let before = block.len();
        block.resize(before.saturating_add(BLOCK), 0);
        loop {
            match self.content.read(block.get_mut(before..).unwrap_or_default()) {
                Ok(read) => {
                    block.truncate(before.saturating_add(read));
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
    }

    /// The lines before the one that is not UTF-8.
    fn up_to_fault(&mut self, error: FromUtf8Error) -> String {
        let at = error.utf8_error().valid_up_to();
        let mut block = error.into_bytes();
        let (before, rest) = block.split_at_checked(at).unwrap_or_default();
        let start = memchr::memrchr(b'\n', before).map_or(self.next, |end| end.saturating_add(1));
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let at = at.saturating_sub(start);
        let too_long = at.saturating_add(end) > MAX_LINE_BYTES;
        self.fault = Some(if too_long { Fault::TooLong } else { Fault::NotUtf8 { at } });
        block.truncate(start);
        String::from_utf8(block).unwrap_or_default()
    }

    /// The fault of the line that would be next.
    fn refused(&self, fault: Fault) -> ReadError {
        let (file, line) = (self.file.clone(), self.number.saturating_add(1));
        match fault {
            Fault::TooLong => ReadError::TooLong { file, line },
            Fault::NotUtf8 { at } => ReadError::NotUtf8 { file, line, at },
        }
    }

    /// What is damaged inside a packed file stays damaged.
    fn failed(&self, source: io::Error) -> ReadError {
        let file = self.file.clone();
        if self.packed { ReadError::Packed { file, line: self.number, source } } else { ReadError::Io { file, source } }
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

    #[test]
    fn what_is_wrong_is_told_of_its_line_and_lines_before_it_are_read() {
        let places = |content: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("f"), content).unwrap();
            let mut lines = Lines::open(&dir.path().join("f")).unwrap();
            let mut read = 0;
            loop {
                match lines.next_line() {
                    Ok(Some((number, _))) => read = number,
                    Ok(None) => panic!("nothing is wrong"),
                    Err(error) => return (read, error.to_string(), lines.next_line().is_err()),
                }
            }
        };
        let many: Vec<u8> = b"a line of text\n".repeat(20_000);
        let (read, error, again) = places(&[&many[..], b"no\xff\nand more\n"].concat());
        assert!(read == 20_000 && again && error.contains(":20001: the line is not UTF-8 from byte 2 on"), "{error}");
        let (read, error, again) = places(&[&many[..], &vec![b'x'; 1 << 21]].concat());
        assert!(read == 20_000 && again && error.contains(":20001: the line has more than"), "{error}");
        let (_, error, _) = places(&[&many[..], &vec![b'x'; 1 << 20], b"\xff\n"].concat());
        assert!(error.contains(":20001: the line has more than"), "{error}");
        let (_, error, _) = places(b"\xef\xbb\xbf\xff\n");
        assert!(error.contains(":1: the line is not UTF-8 from byte 0 on"), "{error}");
        // A character that the end of a block cuts is whole.
        let cut = [&b"x".repeat(BLOCK - 1)[..], "\u{8a9e}\n".as_bytes()].concat();
        assert_eq!(super::tests::read(&cut).unwrap()[0].1.chars().last(), Some('\u{8a9e}'));
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, content).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn packed_files_are_the_same_lines_and_the_same_digest() {
        let dir = tempfile::tempdir().unwrap();
        let digest = |content: &[u8]| {
            let file = dir.path().join("f");
            std::fs::write(&file, content).unwrap();
            let mut lines = Lines::open(&file).unwrap();
            while lines.next_line().unwrap().is_some() {}
            lines.digest()
        };
        let plain: String = (0..20_000).map(|i| format!("line {i} of many\n")).collect();
        let (first, second) = plain.as_bytes().split_at(100_000);
        // A skippable frame of three bytes between two frames.
        let skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
        let packed = [
            gzip(plain.as_bytes()),
            [gzip(first), gzip(second)].concat(),
            zstd(plain.as_bytes()),
            [zstd(first), skipped.to_vec(), zstd(second)].concat(),
        ];
        for content in packed {
            assert_eq!(digest(&content), digest(plain.as_bytes()));
            let lines = read(&content).unwrap();
            assert_eq!((lines.len(), lines[19_999].1.as_str()), (20_000, "line 19999 of many"));
        }
        let once: [u8; 32] = Sha256::digest(plain.as_bytes()).into();
        assert_eq!(digest(plain.as_bytes()), once);
    }

    #[test]
    fn a_damaged_packed_file_is_refused_for_good() {
        let plain: String = (0..20_000).map(|i| format!("line {i} of many\n")).collect();
        for content in [gzip(plain.as_bytes()), zstd(plain.as_bytes())] {
            let error = read(&content[..content.len() / 2]).unwrap_err();
            assert!(!error.is_transient());
            assert!(error.to_string().contains("the packed content is damaged after line"), "{error}");
        }
    }

    #[test]
    fn a_packed_bomb_ends_at_the_longest_line() {
        let error = read(&gzip(&vec![b'x'; 64 << 20])).unwrap_err().to_string();
        assert!(error.contains(":1: the line has more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn the_packed_file_stands_in_where_no_plain_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        assert_eq!(packed_or_plain(file.clone()), file);
        std::fs::write(dir.path().join("f.zst"), "").unwrap();
        assert_eq!(packed_or_plain(file.clone()), dir.path().join("f.zst"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(packed_or_plain(file.clone()), file);
    }
}
