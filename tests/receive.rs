//! `rag receive` with real archives, as a function and as the program.

// Helpers of tests may stop at the first surprise, as tests may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::Write as _;
use std::path::Path;

use rag_operator::worker::exit::Failure;
use rag_operator::worker::receive::{Written, unpack};

const ROOM: u64 = 1 << 20;

/// An archive of entries as raw as a sender may make them.
fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        // Written by hand: the library refuses names that lead out.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> (&'a str, tar::EntryType, &'a [u8]) {
    (name, tar::EntryType::Regular, content)
}

fn run(bytes: &[u8], to: &Path, room: u64) -> (Result<Written, Failure>, String) {
    let mut list = Vec::new();
    let result = unpack(bytes, to, room, &mut list);
    (result, String::from_utf8(list).unwrap())
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_and_directories_arrive_and_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("new/claim");
    let bytes = archive(&[
        ("./", tar::EntryType::Directory, b""),
        ("./corpus", tar::EntryType::Directory, b""),
        file("./corpus/a.jsonl", b"{}\n"),
        file("model/deep/config.json", b"{\"x\": 1}"),
        file("empty", b""),
    ]);
    let (result, list) = run(&bytes, &to, ROOM);
    assert_eq!(result, Ok(Written { files: 3, bytes: 11 }));
    assert_eq!(list, "3 corpus/a.jsonl\n8 model/deep/config.json\n0 empty\n");
    assert_eq!(std::fs::read(to.join("model/deep/config.json")).unwrap(), b"{\"x\": 1}");
    // Again, over what is there.
    let (again, _) = run(&archive(&[file("corpus/a.jsonl", b"{\"new\":1}\n")]), &to, ROOM);
    assert_eq!(again.unwrap().files, 1);
    assert_eq!(std::fs::read(to.join("corpus/a.jsonl")).unwrap(), b"{\"new\":1}\n");
    assert_eq!(names(&to.join("corpus")), ["a.jsonl"], "no temporary file stays");
}

#[test]
fn gzip_is_known_by_its_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    zip.write_all(&archive(&[file("a", b"hello")])).unwrap();
    let bytes = zip.finish().unwrap();
    assert_eq!(run(&bytes, dir.path(), ROOM).0, Ok(Written { files: 1, bytes: 5 }));
    let cut = run(&bytes[..bytes.len() - 12], dir.path(), ROOM).0.unwrap_err();
    assert_eq!(cut.code(), 42, "{cut}");
}

#[test]
fn what_leads_out_or_is_no_file_is_refused() {
    use tar::EntryType::{Block, Fifo, Link, Regular, Symlink};
    for (name, kind, words) in [
        ("../out", Regular, "leads out"),
        ("a/../../out", Regular, "leads out"),
        ("/etc/out", Regular, "leads out"),
        ("link", Symlink, "symbolic link"),
        ("hard", Link, "hard link"),
        ("pipe", Fifo, "pipe"),
        ("disk", Block, "device"),
        ("./", Regular, "names nothing"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let (result, _) = run(&archive(&[file("first", b"1"), (name, kind, b"")]), &to, ROOM);
        let failure = result.unwrap_err();
        assert!(failure.code() == 42 && failure.to_string().contains(words), "{name}: {failure}");
        assert_eq!(names(dir.path()), ["to"], "{name}");
        assert_eq!(names(&to), ["first"], "{name}");
    }
}

#[test]
fn links_that_are_there_already_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (to, outside) = (dir.path().join("to"), dir.path().join("outside"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("secret"), "mine").unwrap();
    std::os::unix::fs::symlink(&outside, to.join("way")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), to.join("file")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), to.join(".receiving-file")).unwrap();
    let failure = run(&archive(&[file("way/secret", b"theirs")]), &to, ROOM).0.unwrap_err();
    assert!(failure.to_string().contains("no directory"), "{failure}");
    run(&archive(&[file("file", b"theirs")]), &to, ROOM).0.unwrap();
    assert_eq!(std::fs::read_to_string(to.join("file")).unwrap(), "theirs");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "mine");
}

#[test]
fn size_is_bounded_and_cuts_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let big = vec![7u8; 3000];
    let failure = run(&archive(&[file("a", &big), file("b", &big)]), dir.path(), 5000).0.unwrap_err();
    assert!(failure.to_string().contains("more than 5000 bytes"), "{failure}");
    assert_eq!(names(dir.path()), ["a"]);

    let bytes = archive(&[file("x", &big), file("y", b"y")]);
    // Within the first file, within the second header, and exactly between the files.
    for cut in [1000, 512 + 3072 + 100, 512 + 3072] {
        let dir = tempfile::tempdir().unwrap();
        let failure = run(&bytes[..cut], dir.path(), ROOM).0.expect_err(&format!("cut at {cut}"));
        assert_eq!(failure.code(), 42, "{failure}");
        assert_eq!(names(dir.path()), if cut < 3584 { vec![] } else { vec!["x"] }, "cut at {cut}");
    }
    let failure = run(b"this is no archive at all", dir.path(), ROOM).0.unwrap_err();
    assert_eq!(failure.code(), 42, "{failure}");
    assert_eq!(run(b"", dir.path(), ROOM).0.unwrap_err().code(), 42);
}

#[test]
fn the_program_reads_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let start = |bytes: &[u8], arguments: &[&str]| {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rag"))
            .args(["receive", "--to", dir.path().to_str().unwrap()])
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    };
    let bytes = archive(&[file("a/b", b"12345")]);
    let output = start(&bytes, &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "5 a/b\n");
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 files, 5 bytes"));
    assert_eq!(start(&bytes, &["--max-size", "4"]).status.code(), Some(42));
    assert_eq!(start(&bytes, &["--max-size", "huge"]).status.code(), Some(64));
}
