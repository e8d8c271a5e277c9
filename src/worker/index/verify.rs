//! Reading a version back.
//!
//! Why: a build counts what it meant to write. This counts what is there, and asks it. The manifest is the build's
//! word too: nothing is reported from it that was not found in the files.
//!
//! Invariants: nothing is written; samples are drawn with a fixed seed from the content digest's chunks, so
//! the same version gives the same numbers.

use std::collections::BTreeSet;
use std::path::Path;

use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::{embedded_text, store_failure};
use crate::api::reason::Reason;
use crate::embedding::{Encoder, Side, embed_each, norm};
use crate::store::Manifest;
use crate::store::embedded::{EmbeddedIndex, verify_files};
use crate::worker::encoder;
use crate::worker::exit::Failure;
use crate::worker::job::VerifyTask;
use crate::worker::receipt::{VerifyReport, whole};

/// Chunks that are read back.
const READ_BACK: usize = 100;
/// Chunks that are asked for themselves.
const ASKED: usize = 200;
/// Texts in one request.
const BATCH: usize = 32;
const SEED: u64 = 7;

/// What the version must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub owner_uid: String,
    pub version: String,
    pub content_digest: String,
    pub fingerprint: String,
    pub documents: i64,
    pub chunks: i64,
    pub self_retrieval_min: f64,
}

impl Expected {
    pub fn of_task(task: &VerifyTask) -> Self {
        Self {
            owner_uid: task.owner_uid.clone(),
            version: task.version.clone(),
            content_digest: task.content_digest.clone(),
            fingerprint: task.encoder.identity.fingerprint(),
            documents: task.documents,
            chunks: task.chunks,
            self_retrieval_min: task.self_retrieval_min,
        }
    }
}

fn failed(reason: Reason, text: String) -> Failure {
    Failure::invalid(reason.as_str(), text)
}

/// Reads a version back and asks it for its own chunks.
pub async fn run(dir: &Path, expected: &Expected, encoder: &dyn Encoder) -> Result<VerifyReport, Failure> {
    let index = EmbeddedIndex::open(dir).map_err(store_failure)?;
    let manifest = index.manifest();
    check_manifest(manifest, expected, encoder.dimensions())?;
    verify_files(dir, manifest).map_err(store_failure)?;
    let documents = count_documents(&index, expected)?;
    read_back(&index)?;
    let (sampled, found) = ask(&index, encoder).await?;
    let self_retrieval = if sampled == 0 { 1.0 } else { found as f64 / sampled as f64 };
    if self_retrieval < expected.self_retrieval_min {
        let text = format!(
            "{found} of {sampled} chunks ({self_retrieval:.3}) find themselves first when their own text is \
             embedded, at least {} is wanted (dataQuality.selfRetrievalMin); the encoder that answers now is not \
             the one that built the version, or many chunks have nearly the same text",
            expected.self_retrieval_min
        );
        return Err(failed(Reason::SelfRetrievalLow, text));
    }
    Ok(VerifyReport {
        content_digest: manifest.content_digest.clone(),
        documents,
        chunks: whole(manifest.chunks),
        dimensions: whole(manifest.dimensions),
        sampled: whole(sampled),
        self_retrieval,
    })
}

fn differs(what: &str, found: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display) -> String {
    format!("the version has {what} {found}, expected {wanted}")
}

fn check_manifest(manifest: &Manifest, expected: &Expected, dimensions: usize) -> Result<(), Failure> {
    if manifest.owner_uid != expected.owner_uid || manifest.version != expected.version {
        let found = format!("{:?} ({})", manifest.owner_uid, manifest.version);
        let wanted = format!("{:?} ({})", expected.owner_uid, expected.version);
        return Err(failed(Reason::NotOwned, differs("owner", &found, &wanted)));
    }
    if manifest.fingerprint != expected.fingerprint {
        let text = differs("fingerprint", &manifest.fingerprint, &expected.fingerprint);
        return Err(failed(Reason::FingerprintMismatch, text));
    }
    if manifest.dimensions != dimensions {
        return Err(failed(Reason::DimensionMismatch, differs("dimensions", &manifest.dimensions, &dimensions)));
    }
    if manifest.content_digest != expected.content_digest {
        let text = differs("content digest", &manifest.content_digest, &expected.content_digest);
        return Err(failed(Reason::CountMismatch, text));
    }
    for (what, found, wanted) in [
        ("documents", whole(manifest.documents), expected.documents),
        // Opening it found as many vectors and texts as the manifest says.
        ("chunks", whole(manifest.chunks), expected.chunks),
    ] {
        if found != wanted {
            return Err(failed(Reason::CountMismatch, differs(what, &found, &wanted)));
        }
    }
    Ok(())
}

/// The documents in the files.
fn count_documents(index: &EmbeddedIndex, expected: &Expected) -> Result<i64, Failure> {
    let found = whole(index.documents().map_err(store_failure)?);
    if found != expected.documents {
        return Err(failed(Reason::CountMismatch, differs("in its files documents", &found, &expected.documents)));
    }
    Ok(found)
}

/// Distinct ordinals, the same for the same count; all when there are no more.
fn sample(chunks: u64, size: usize) -> Vec<u32> {
    let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
    if chunks as usize <= size {
        return (0..chunks).collect();
    }
    let mut draw = Pcg64::seed_from_u64(SEED);
    let mut drawn = BTreeSet::new();
    while drawn.len() < size {
        // The bias of the remainder is below 2^-32 and of no matter here.
        let remainder = draw.next_u64().checked_rem(u64::from(chunks));
        drawn.extend(remainder.and_then(|ordinal| u32::try_from(ordinal).ok()));
    }
    drawn.into_iter().collect()
}

fn read_back(index: &EmbeddedIndex) -> Result<(), Failure> {
    let manifest = index.manifest();
    for ordinal in sample(manifest.chunks, READ_BACK) {
        let chunk = index.chunk(ordinal).map_err(store_failure)?;
        let embedded = embedded_text(&chunk.title, &chunk.text);
        if !index.was_made_from(ordinal, &embedded).map_err(store_failure)? {
            let text = format!("chunk {}: its vector was made from another text than is kept", chunk.id);
            return Err(failed(Reason::CountMismatch, text));
        }
        let vector = index.vector(ordinal).map_err(store_failure)?;
        let length = norm(&vector);
        if vector.len() != manifest.dimensions || !length.is_finite() {
            let text = format!("chunk {}: its vector has {} numbers or one not finite", chunk.id, vector.len());
            return Err(failed(Reason::DimensionMismatch, text));
        }
        if manifest.normalized && !(0.99..=1.01).contains(&length) {
            let text = format!("chunk {}: its vector has length {length:.4}, normalised ones have 1", chunk.id);
            return Err(failed(Reason::CountMismatch, text));
        }
    }
    Ok(())
}

/// Chunks asked, and those that came first.
async fn ask(index: &EmbeddedIndex, encoder: &dyn Encoder) -> Result<(u64, u64), Failure> {
    let sampled = sample(index.manifest().chunks, ASKED);
    let mut found = 0_u64;
    for batch in sampled.chunks(BATCH) {
        let chunks = index.chunks(batch).map_err(store_failure)?;
        let texts: Vec<String> = chunks.iter().map(|chunk| embedded_text(&chunk.title, &chunk.text)).collect();
        let answers = embed_each(encoder, &texts, Side::Passage).await.map_err(encoder::failure)?;
        for (ordinal, answer) in batch.iter().zip(answers) {
            // A text that the encoder takes no more finds nothing.
            if let Ok(vector) = answer {
                found = found.saturating_add(u64::from(comes_first(index, *ordinal, &vector)?));
            }
        }
    }
    Ok((sampled.len() as u64, found))
}

/// Whether a chunk comes first for a vector; one with exactly the same vector may stand for it.
fn comes_first(index: &EmbeddedIndex, ordinal: u32, vector: &[f32]) -> Result<bool, Failure> {
    // A text that the encoder now makes nothing of finds nothing.
    if vector.iter().all(|x| *x == 0.0) {
        return Ok(false);
    }
    let hits = index.search_vector(vector, 1, None).map_err(store_failure)?;
    let Some(first) = hits.first() else { return Ok(false) };
    if first.ordinal == ordinal {
        return Ok(true);
    }
    let (one, other) = (index.vector(first.ordinal), index.vector(ordinal));
    Ok(one.map_err(store_failure)? == other.map_err(store_failure)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_distinct_and_repeat() {
        assert_eq!(sample(3, 5), [0, 1, 2]);
        assert_eq!(sample(0, 5), Vec::<u32>::new());
        let drawn = sample(1000, 200);
        assert_eq!(drawn.len(), 200);
        assert_eq!(drawn, sample(1000, 200));
        assert!(drawn.iter().all(|n| *n < 1000));
    }
}
