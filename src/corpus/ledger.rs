//! The book of a reading: what was there, what became of it, and one digest of what was indexed.
//!
//! Invariants: source = indexed + quarantined + skipped, exactly; an id is indexed once; the digest does
//! not depend on the order of reading.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest as _, Sha256};

use super::{Document, Place};
use crate::hex::hex;

/// Most places that are kept to show.
const EXAMPLES: usize = 5;
/// Most characters of one of them.
const EXAMPLE_CHARACTERS: usize = 160;

/// How many documents ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub indexed: u64,
    pub quarantined: u64,
    pub skipped: u64,
    /// The first documents set aside, each as "source/file:line: why".
    pub examples: Vec<String>,
}

impl Counts {
    /// Documents of the source.
    pub fn source(&self) -> u64 {
        self.indexed.saturating_add(self.quarantined).saturating_add(self.skipped)
    }

    /// Share of the source that was set aside, in percent.
    pub fn quarantined_percent(&self) -> f64 {
        if self.quarantined == 0 { 0.0 } else { 100.0 * self.quarantined as f64 / self.source() as f64 }
    }
}

/// The book.
#[derive(Debug, Default)]
pub struct Ledger {
    counts: Counts,
    documents: HashMap<Box<str>, Record>,
}

#[derive(Debug)]
struct Record {
    place: Place,
    content: [u8; 32],
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Indexed,
    SetAside,
}

impl Ledger {
    /// Takes a document in; an id that was there before is refused with its place. What is taken in must
    /// end in [`Ledger::indexed`] or [`Ledger::set_aside`].
    pub fn admit(&mut self, document: &Document) -> bool {
        match self.documents.entry(document.id.as_str().into()) {
            Entry::Occupied(first) => {
                let why = format!("duplicate id {:?}, first at {}", document.id, first.get().place);
                self.quarantined(&document.place, &why);
                false
            }
            Entry::Vacant(entry) => {
                let content = content_digest(document);
                entry.insert(Record { place: document.place.clone(), content, state: State::Open });
                true
            }
        }
    }

    /// An admitted document was indexed.
    pub fn indexed(&mut self, id: &str) {
        if let Some(record) = self.documents.get_mut(id) {
            debug_assert_eq!(record.state, State::Open);
            record.state = State::Indexed;
            self.counts.indexed = self.counts.indexed.saturating_add(1);
        }
    }

    /// An admitted document could not be indexed.
    pub fn set_aside(&mut self, id: &str, why: &str) {
        if let Some(record) = self.documents.get_mut(id) {
            debug_assert_eq!(record.state, State::Open);
            record.state = State::SetAside;
            let place = record.place.clone();
            self.quarantined(&place, why);
        }
    }

    /// A document could not be read.
    pub fn quarantined(&mut self, place: &Place, why: &str) {
        self.counts.quarantined = self.counts.quarantined.saturating_add(1);
        if self.counts.examples.len() < EXAMPLES {
            let example = format!("{place}: {why}").replace(char::is_control, " ");
            self.counts.examples.push(example.chars().take(EXAMPLE_CHARACTERS).collect());
        }
    }

    /// A document has no text.
    pub fn skipped(&mut self) {
        self.counts.skipped = self.counts.skipped.saturating_add(1);
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// SHA-256 in hex over the sorted (source, id, SHA-256 of the content) of what was indexed.
    pub fn source_digest(&self) -> String {
        self.digest(|record| record.state == State::Indexed)
    }

    /// The same over everything that was taken in, whatever became of it: known before anything is indexed.
    pub fn read_digest(&self) -> String {
        self.digest(|_| true)
    }

    fn digest(&self, these: impl Fn(&Record) -> bool) -> String {
        let mut documents: Vec<(&str, &str, &[u8; 32])> = self
            .documents
            .iter()
            .filter(|(_, record)| these(record))
            .map(|(id, record)| (record.place.source.as_str(), id.as_ref(), &record.content))
            .collect();
        documents.sort_unstable();
        let mut hash = Sha256::new();
        for (source, id, content) in documents {
            for part in [source, id] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
            hash.update(content);
        }
        hex(&hash.finalize())
    }
}

/// Digest of what of a document enters an index; lengths keep neighbouring parts apart.
fn content_digest(document: &Document) -> [u8; 32] {
    let mut hash = Sha256::new();
    // Keys of the map are sorted, so equal metadata give equal text.
    let metadata = serde_json::Value::Object(document.metadata.clone()).to_string();
    for part in [document.title.as_str(), document.text.as_str(), metadata.as_str()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
