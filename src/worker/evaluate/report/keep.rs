//! Files of a run on a claim: the page, the rows of each query, the answers of both arms.
//!
//! Why the answers too: with them the run can be judged again on a laptop, without the index and its encoder.
//!
//! Invariants: a reader never sees half a file (written beside, then renamed); only files of the names that this
//! module makes are ever removed; a run whose files cannot be kept is still a run: the problem is told, not raised.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::gather::Found;
use super::page::Page;
use crate::hex::hex;
use crate::worker::evaluate::plan::Gate;
use crate::worker::evaluate::show;
use crate::worker::job::{self, ReportTask};
use crate::worker::path;
use crate::worker::receipt::Kept;

/// Runs of one gate and release that are kept.
const MOST_RUNS: usize = 20;
/// Bytes of them together, the newest run apart.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;
/// Digits of a revision and of a run in a file's name.
const DIGITS: usize = 10;

/// Where a run's files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Below the claim's root.
    directory: PathBuf,
    gate: String,
    /// `<revision>-<gate>-<run>`.
    stem: String,
    claim: String,
}

impl Place {
    /// Of a task; the names in it become names of files, so they are checked.
    pub fn of(task: &ReportTask, revision: &str, run: &str) -> Result<Self, String> {
        for (what, name) in [("release", &task.release), ("gate", &task.gate), ("revision", &revision.to_owned())] {
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if name.is_empty() || !name.bytes().all(word) {
                return Err(format!("the {what} `{name}` is no name of a file"));
            }
        }
        let path = path::below(&task.path)
            .ok_or_else(|| format!("report.path `{}` must be relative and without `..`", task.path))?;
        let run: String = job::digest(&run).chars().take(DIGITS).collect();
        Ok(Self {
            directory: path.join(&task.release),
            gate: task.gate.clone(),
            stem: format!("{revision}-{}-{run}", task.gate),
            claim: task.claim_name.clone(),
        })
    }

    /// Name of the file with the answers of an arm.
    pub fn run_file(&self, arm: &str) -> String {
        format!("{}.{arm}.run", self.stem)
    }

    /// The address of the page.
    pub fn uri(&self) -> String {
        format!("pvc://{}/{}/{}.html", self.claim, self.directory.display(), self.stem)
    }
}

/// Writes the files of a run below the mount of the claim, and removes those of old runs.
pub fn keep(mount: &Path, place: &Place, page: &Page, gate: &Gate, found: &Found<'_>) -> Kept {
    match written(mount, place, page, gate, found) {
        Ok(sha256) => Kept::Written { uri: place.uri(), sha256 },
        Err(problem) => Kept::lost(&problem),
    }
}

fn written(mount: &Path, place: &Place, page: &Page, gate: &Gate, found: &Found<'_>) -> Result<String, String> {
    let directory = mount.join(&place.directory);
    let cannot = |what: &str, e: io::Error| format!("{what} cannot be written to claim {}: {e}", place.claim);
    fs::create_dir_all(&directory).map_err(|e| cannot("the directory of the report", e))?;
    remove_old(&directory, place);
    let html = super::html(page);
    let file = |suffix: &str| directory.join(format!("{}{suffix}", place.stem));
    write(&file(".html"), |to| to.write_all(html.as_bytes())).map_err(|e| cannot("the report", e))?;
    // Beside the page, and less than it: without them the page still stands.
    let rows = write(&file(".jsonl"), |to| show::write_rows(to, found.dataset, gate, found.measured));
    let arms = [("candidate", Some(found.candidate)), ("baseline", found.baseline)];
    let runs = arms
        .into_iter()
        .filter_map(|(arm, answered)| Some((arm, answered?)))
        .map(|(arm, answered)| (arm, write(&directory.join(place.run_file(arm)), |to| answered.run.write(to))));
    for (what, result) in std::iter::once(("rows", rows)).chain(runs.collect::<Vec<_>>()) {
        if let Err(e) = result {
            eprintln!("note: {}", cannot(what, e));
        }
    }
    Ok(hex(&Sha256::digest(html.as_bytes())))
}

/// Writes beside and renames. What could not be written is removed.
fn write(file: &Path, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".part");
    let done = File::create(&beside).and_then(|to| {
        let mut to = BufWriter::new(to);
        content(&mut to)?;
        to.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        fs::rename(&beside, file)
    });
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done
}

/// Removes the files of this gate's oldest runs. A file that cannot be read or removed is left alone.
fn remove_old(directory: &Path, place: &Place) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut runs: std::collections::BTreeMap<String, (std::time::SystemTime, u64, Vec<PathBuf>)> = Default::default();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(|name| stem_of(name, &place.gate)) else { continue };
        let Some((changed, bytes)) = entry.metadata().ok().and_then(|m| Some((m.modified().ok()?, m.len()))) else {
            continue;
        };
        if stem == place.stem {
            continue;
        }
        let (newest, all, files) = runs.entry(stem.to_owned()).or_insert((changed, 0, Vec::new()));
        *newest = changed.max(*newest);
        *all = all.saturating_add(bytes);
        files.push(entry.path());
    }
    let mut runs: Vec<_> = runs.into_values().collect();
    runs.sort_by_key(|(changed, _, files)| (std::cmp::Reverse(*changed), files.first().cloned()));
    let mut bytes = 0_u64;
    for (i, (_, size, files)) in runs.iter().enumerate() {
        bytes = bytes.saturating_add(*size);
        if i.saturating_add(1) >= MOST_RUNS || bytes > MOST_BYTES {
            files.iter().for_each(|file| drop(fs::remove_file(file)));
        }
    }
}

/// The stem of a file that this module made for a gate.
fn stem_of<'a>(name: &'a str, gate: &str) -> Option<&'a str> {
    let suffixes = [".html", ".jsonl", ".candidate.run", ".baseline.run"];
    let whole = name.strip_suffix(".part").unwrap_or(name);
    let stem = suffixes.iter().find_map(|suffix| whole.strip_suffix(suffix))?;
    let hex = |part: &str| part.len() == DIGITS && part.bytes().all(|b| b.is_ascii_hexdigit());
    let (revision, rest) = stem.split_once('-')?;
    let run = rest.strip_prefix(gate)?.strip_prefix('-')?;
    (hex(revision) && hex(run)).then_some(stem)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn place(gate: &str) -> Place {
        let task = ReportTask {
            claim_name: "c".to_owned(),
            path: String::new(),
            namespace: "team".to_owned(),
            release: "handbook".to_owned(),
            gate: gate.to_owned(),
            expose_text: false,
        };
        Place::of(&task, "0123456789", "run").unwrap()
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let task = |path: &str, gate: &str| ReportTask {
            claim_name: "c".to_owned(),
            path: path.to_owned(),
            namespace: "team".to_owned(),
            release: "handbook".to_owned(),
            gate: gate.to_owned(),
            expose_text: false,
        };
        for (path, gate) in [("../x", "g"), ("/etc", "g"), ("a/../../b", "g"), ("", "../g"), ("", "a/b"), ("", "")] {
            assert!(Place::of(&task(path, gate), "0123456789", "run").is_err(), "{path} {gate}");
        }
        assert_eq!(Place::of(&task("./a", "g"), "0", "r").unwrap().uri().split('/').nth(3), Some("a"));
    }

    #[test]
    fn the_newest_runs_of_the_gate_stay_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let made = |name: String, age: u64| {
            let file = File::create(dir.path().join(&name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
            name
        };
        let (mut old, mut kept) = (Vec::new(), Vec::new());
        for i in 0..30_u64 {
            for suffix in [".html", ".jsonl", ".candidate.run", ".baseline.run"] {
                let name = made(format!("0123456789-quality-{i:010x}{suffix}"), i);
                if i + 1 < MOST_RUNS as u64 { kept.push(name) } else { old.push(name) }
            }
            kept.push(made(format!("0123456789-quality-strict-{i:010x}.html"), i + 500));
        }
        old.push(made("0123456789-quality-00000000ff.html.part".to_owned(), 900));
        for name in
            ["notes.txt", "0123456789-quality.html", "quality-0123456789.html", "0123456789-quality-00000000ff.pdf"]
        {
            kept.push(made(name.to_owned(), 999));
        }
        remove_old(dir.path(), &place("quality"));
        for name in old {
            assert!(!dir.path().join(&name).exists(), "{name}");
        }
        for name in kept {
            assert!(dir.path().join(&name).exists(), "{name}");
        }
    }

    #[test]
    fn half_a_file_is_never_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.html");
        write(&file, |to| to.write_all(b"whole")).unwrap();
        let broken = write(&file, |to| {
            to.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(broken.is_err());
        assert_eq!(fs::read(&file).unwrap(), b"whole");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
