//! Files of a run on a claim: the page, the rows of each query, the answers of both arms.
//!
//! Why the answers too: with them the run can be judged again on a laptop, without the index and its encoder.
//!
//! Invariants: a reader never sees half a file (written beside, then renamed); only files of the names that this
//! module makes are ever removed; a run whose files cannot be kept is still a run: the problem is told, not raised.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::gather::Found;
use super::page::Page;
use crate::worker::evaluate::plan::Gate;
use crate::worker::evaluate::show;
use crate::worker::job::{self, ReportTask};
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
        let path = Path::new(&task.path);
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(format!("report.path `{}` must be relative and without `..`", task.path));
        }
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

    fn uri(&self) -> String {
        let directory = self.directory.display().to_string();
        format!("pvc://{}/{}/{}.html", self.claim, directory.trim_start_matches("./"), self.stem)
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
    Ok(job::hex(&Sha256::digest(html.as_bytes())))
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
