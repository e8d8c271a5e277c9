//! One build: survey, guards, embedding, guards again, files.
//!
//! Why the sources are read twice: reading costs seconds and embedding hours, so what the guards refuse is
//! refused before the first vector is paid for. What is written and counted comes from the second reading,
//! and the guards hold for it too.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::pipeline::{self, Piece};
use super::plan::{Encoding, Plan};
use super::progress::Progress;
use super::store_failure;
use crate::api::index::DataQuality;
use crate::api::reason::Reason;
use crate::corpus::{Counts, Ledger, Outcome, Source, SourceError};
use crate::embedding::{Encoder, probe};
use crate::store::embedded::{Builder, PreviousVectors, Stamp, read_manifest};
use crate::store::{BuildCounts, Manifest, StoreError};
use crate::worker::exit::Failure;
use crate::worker::{encoder, job};

/// Changes when the same inputs would be read or cut differently.
const BUILDER: u32 = 2;
/// Documents that wait between the reader and the encoder.
const AHEAD: usize = 16;

/// Builds one version.
pub async fn run(plan: Plan, encoder: Arc<dyn Encoder>) -> Result<Manifest, Failure> {
    let finished = finished(&plan)?;
    let plan = Arc::new(plan);
    let (surveyed, read_digest) = {
        let plan = plan.clone();
        tokio::task::spawn_blocking(move || survey(&plan.sources)).await.map_err(stopped)??
    };
    if let Some(finished) = finished {
        return adopt(&plan, finished, &read_digest);
    }
    guard(&surveyed, &plan.quality, plan.previous_documents)?;
    let previous = previous_vectors(&plan, encoder.dimensions());
    let (dimensions, encoding) = (encoder.dimensions(), &plan.encoding);
    // Also the first request: an encoder that is not there ends the build before files are made.
    let references = probe::vectors(encoder.as_ref()).await.map_err(encoder::failure)?;
    let builder = Builder::create(&plan.target, dimensions, encoding.distance, plan.keyword).map_err(store_failure)?;
    let (sender, pieces) = tokio::sync::mpsc::channel(AHEAD);
    let reading = {
        let plan = plan.clone();
        tokio::task::spawn_blocking(move || read(&plan, &sender))
    };
    let progress = Progress::new(surveyed.indexed);
    let written = pipeline::run(pieces, encoder, encoding, previous, builder, progress).await?;
    reading.await.map_err(stopped)??;
    guard(written.ledger.counts(), &plan.quality, plan.previous_documents)?;
    let stamp = stamp(&plan, &written);
    written.builder.finish(stamp, &references).map_err(store_failure)
}

fn stamp(plan: &Plan, written: &pipeline::Written) -> Stamp {
    let counts = written.ledger.counts();
    let source_digest = written.ledger.source_digest();
    Stamp {
        owner_uid: plan.owner_uid.clone(),
        version: plan.version.clone(),
        fingerprint: plan.encoding.fingerprint.clone(),
        content_digest: content_digest(&source_digest, &plan.chunking, &plan.encoding, plan.keyword),
        source_digest,
        normalized: plan.encoding.normalized,
        documents: counts.indexed,
        chunking: plan.chunking.clone(),
        build: BuildCounts {
            source: counts.source(),
            quarantined: counts.quarantined,
            skipped: counts.skipped,
            reused_chunks: written.reused,
            cut_chunks: written.cut,
            read_digest: written.ledger.read_digest(),
            examples: counts.examples.clone(),
        },
    }
}

fn content_digest(source_digest: &str, chunking: &serde_json::Value, encoding: &Encoding, keyword: bool) -> String {
    job::digest(&json!({
        "source": source_digest,
        "chunking": chunking,
        "fingerprint": encoding.fingerprint,
        "keyword": keyword,
        "builder": BUILDER,
    }))
}

/// A Job that is tried again finds its own version finished when only the receipt was lost.
fn finished(plan: &Plan) -> Result<Option<Manifest>, Failure> {
    let found = match read_manifest(&plan.target) {
        Ok(found) => found,
        // Whether something else stands there is seen when the version is begun.
        Err(StoreError::Incomplete(_)) => return Ok(None),
        Err(error) => return Err(store_failure(error)),
    };
    let same = found.owner_uid == plan.owner_uid
        && found.version == plan.version
        && found.fingerprint == plan.encoding.fingerprint
        && found.chunking == plan.chunking
        && found.keyword == plan.keyword;
    if same && !plan.owner_uid.is_empty() {
        return Ok(Some(found));
    }
    let text = format!(
        "{} already holds version {} of owner {:?} by encoder {}; this build is version {} of owner {:?} by \
         encoder {}. Choose another directory",
        plan.target.display(),
        found.version,
        found.owner_uid,
        found.fingerprint,
        plan.version,
        plan.owner_uid,
        plan.encoding.fingerprint
    );
    Err(Failure::invalid(Reason::NotOwned.as_str(), text))
}

/// The finished version, if it holds the documents that are there now. After a lost status the number of an old
/// version is given out again, and its directory is not a build of today.
fn adopt(plan: &Plan, found: Manifest, read_digest: &str) -> Result<Manifest, Failure> {
    if found.build.read_digest == read_digest {
        return Ok(found);
    }
    let text = format!(
        "{} already holds version {} of this index, made from other documents than the sources hold now; it is left \
         alone. Ask for another version (ragops.dev/rebuild), or remove the directory if nothing serves it",
        plan.target.display(),
        found.version
    );
    Err(Failure::invalid(Reason::NotOwned.as_str(), text))
}

/// Reads everything once: counts and digest.
fn survey(sources: &[Source]) -> Result<(Counts, String), Failure> {
    let mut ledger = Ledger::default();
    for source in sources {
        let mut take = |outcome| {
            match outcome {
                Outcome::Quarantined { place, why } => ledger.quarantined(&place, &why),
                Outcome::Skipped { .. } => ledger.skipped(),
                Outcome::Document(document) => {
                    if ledger.admit(&document) {
                        ledger.indexed(&document.id);
                    }
                }
            }
            ControlFlow::Continue(())
        };
        source.read(&mut take).map_err(source_failure)?;
    }
    Ok((ledger.counts().clone(), ledger.read_digest()))
}

/// Reads, cuts and sends every document; ends early when nobody receives.
fn read(plan: &Plan, sender: &tokio::sync::mpsc::Sender<Piece>) -> Result<(), Failure> {
    for source in &plan.sources {
        let mut send = |outcome| {
            let piece = match outcome {
                Outcome::Quarantined { place, why } => Piece::Quarantined { place, why },
                Outcome::Skipped { .. } => Piece::Skipped,
                Outcome::Document(document) => {
                    let chunks = plan.chunker.chunks(&document.text).into_iter().map(str::to_owned).collect();
                    Piece::Document { document, chunks }
                }
            };
            match sender.blocking_send(piece) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        source.read(&mut send).map_err(source_failure)?;
    }
    Ok(())
}

/// What the data must look like.
pub fn guard(counts: &Counts, quality: &DataQuality, previous_documents: Option<u64>) -> Result<(), Failure> {
    let failed = |reason: Reason, text: String| Err(Failure::invalid(reason.as_str(), text));
    let percent = counts.quarantined_percent();
    if percent > quality.max_quarantine_percent {
        let text = format!(
            "{} of {} documents ({percent:.1} %) cannot be read, at most {} % may be set aside \
             (dataQuality.maxQuarantinePercent). The first: {}",
            counts.quarantined,
            counts.source(),
            quality.max_quarantine_percent,
            counts.examples.join("; ")
        );
        return failed(Reason::ChecksFailed, text);
    }
    let fewest = u64::try_from(quality.min_documents).unwrap_or(0);
    if counts.indexed < fewest {
        let text = format!(
            "{} documents can be indexed ({} in the sources, {} without text, {} that cannot be read), at least \
             {fewest} are wanted (dataQuality.minDocuments)",
            counts.indexed,
            counts.source(),
            counts.skipped,
            counts.quarantined
        );
        return failed(Reason::ChecksFailed, text);
    }
    let Some(before) = previous_documents.filter(|before| *before > counts.indexed) else { return Ok(()) };
    let shrunk = 100.0 * before.saturating_sub(counts.indexed) as f64 / before as f64;
    if shrunk > quality.shrink_guard_percent {
        let text = format!(
            "the source shrank from {before} to {} documents ({shrunk:.1} %), at most {} % are allowed \
             (dataQuality.shrinkGuardPercent); the versions before stay as they are",
            counts.indexed, quality.shrink_guard_percent
        );
        return failed(Reason::ShrinkGuard, text);
    }
    Ok(())
}

/// Vectors to take over. Without them every chunk is embedded, which costs time and nothing else.
fn previous_vectors(plan: &Plan, dimensions: usize) -> Option<PreviousVectors> {
    let dir: &Path = plan.previous.as_deref()?;
    match PreviousVectors::open(dir, &plan.encoding.fingerprint, dimensions, plan.encoding.distance) {
        Ok(Some(previous)) => Some(previous),
        Ok(None) => {
            eprintln!("{} was built by another encoder: every chunk is embedded", dir.display());
            None
        }
        Err(error) => {
            eprintln!("no vectors can be taken over, every chunk is embedded: {error}");
            None
        }
    }
}

fn source_failure(error: SourceError) -> Failure {
    Failure::unavailable(Reason::SourceUnavailable.as_str(), error.to_string())
}

fn stopped(error: tokio::task::JoinError) -> Failure {
    Failure::unavailable(Reason::InternalError.as_str(), format!("the reader of the sources stopped: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(indexed: u64, quarantined: u64, skipped: u64) -> Counts {
        Counts { indexed, quarantined, skipped, examples: vec!["s/f:3: why".into()] }
    }

    fn reason(counts: &Counts, previous: Option<u64>) -> Option<String> {
        match guard(counts, &DataQuality::default(), previous) {
            Ok(()) => None,
            Err(Failure::Invalid { reason, text }) => Some(format!("{reason}: {text}")),
            Err(Failure::Unavailable { .. }) => panic!("a guard speaks of data"),
        }
    }

    #[test]
    fn guards_hold_at_their_bounds() {
        assert_eq!(reason(&counts(98, 2, 0), None), None);
        let text = reason(&counts(97, 3, 0), None).unwrap();
        assert!(text.starts_with("ChecksFailed: 3 of 100 documents (3.0 %)") && text.contains("s/f:3: why"), "{text}");
        let text = reason(&counts(0, 0, 4), None).unwrap();
        assert!(text.starts_with("ChecksFailed: 0 documents can be indexed (4 in the sources, 4 without"), "{text}");
        assert_eq!(reason(&counts(90, 0, 0), Some(100)), None);
        assert_eq!(reason(&counts(200, 0, 0), Some(100)), None);
        let text = reason(&counts(89, 0, 0), Some(100)).unwrap();
        assert!(text.starts_with("ShrinkGuard: the source shrank from 100 to 89 documents (11.0 %)"), "{text}");
    }
}
