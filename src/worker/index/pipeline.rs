//! From cut documents to a written version.
//!
//! Invariants: documents are written in the order in which they were read, whichever batch comes back
//! first; a document is written whole or set aside whole, and one whose text the encoder refuses stops no
//! other; at most `max_concurrency` batches are in flight
//! and nothing is read while they and one more are full, so texts and vectors in memory do not grow with the corpus.
//! What does: the ledger, with an id, a place and a digest of each document (about 330 bytes with ids and paths of 24
//! characters), the list of a source's files, and of a previous version a hash of each chunk (20 bytes and their table).

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::mpsc::Receiver;

use super::plan::Encoding;
use super::progress::Progress;
use super::{embedded_text, store_failure};
use crate::corpus::{Document, Ledger, Place, approximate_tokens};
use crate::embedding::{Answer, EmbedError, Encoder, Side, embed_each};
use crate::store::embedded::{Builder, NewChunk, PreviousVectors};
use crate::worker::encoder;
use crate::worker::exit::Failure;

/// What the reader found.
pub enum Piece {
    Document { document: Document, chunks: Vec<String> },
    Quarantined { place: Place, why: String },
    Skipped,
}

/// What was written.
pub struct Written {
    pub builder: Builder,
    pub ledger: Ledger,
    /// Chunks whose vectors were taken over.
    pub reused: u64,
    /// Chunks longer than the encoder reads.
    pub cut: u64,
}

/// A document that waits for vectors.
struct Waiting {
    document: Document,
    chunks: Vec<Chunk>,
    /// Chunks whose answers have not come back.
    missing: usize,
}

struct Chunk {
    text: String,
    embedded: String,
    answer: Option<Answer>,
    reused: bool,
}

type Batch = BoxFuture<'static, Result<Vec<Answer>, EmbedError>>;

struct Pipeline<'a> {
    encoder: Arc<dyn Encoder>,
    encoding: &'a Encoding,
    previous: Option<PreviousVectors>,
    written: Written,
    progress: Progress,
    /// In reading order; the front is written first.
    waiting: VecDeque<Waiting>,
    /// Texts not yet sent, in the order of the chunks that wait for them.
    texts: VecDeque<String>,
    in_flight: FuturesOrdered<Batch>,
}

/// Embeds and writes everything that is received.
pub async fn run(
    mut pieces: Receiver<Piece>,
    encoder: Arc<dyn Encoder>,
    encoding: &Encoding,
    previous: Option<PreviousVectors>,
    builder: Builder,
    progress: Progress,
) -> Result<Written, Failure> {
    let written = Written { builder, ledger: Ledger::default(), reused: 0, cut: 0 };
    let mut pipeline = Pipeline {
        encoder,
        encoding,
        previous,
        written,
        progress,
        waiting: VecDeque::new(),
        texts: VecDeque::new(),
        in_flight: FuturesOrdered::new(),
    };
    let mut open = true;
    while open || !pipeline.in_flight.is_empty() {
        tokio::select! {
            Some(answers) = pipeline.in_flight.next(), if !pipeline.in_flight.is_empty() => {
                pipeline.receive(answers.map_err(encoder::failure)?);
            }
            piece = pieces.recv(), if open && pipeline.has_room() => match piece {
                Some(piece) => pipeline.take(piece)?,
                None => open = false,
            },
        }
        // Documents that wait for texts of a batch that never fills would wait for ever.
        pipeline.send(!open || pipeline.waiting.len() >= pipeline.most_waiting());
        pipeline.write()?;
    }
    let Pipeline { written, progress, .. } = pipeline;
    progress.finish(written.builder.chunks(), written.reused);
    Ok(written)
}

impl Pipeline<'_> {
    fn take(&mut self, piece: Piece) -> Result<(), Failure> {
        match piece {
            Piece::Quarantined { place, why } => self.written.ledger.quarantined(&place, &why),
            Piece::Skipped => self.written.ledger.skipped(),
            Piece::Document { document, chunks } => {
                if self.written.ledger.admit(&document) {
                    let waiting = self.prepare(document, chunks)?;
                    self.waiting.push_back(waiting);
                }
            }
        }
        Ok(())
    }

    /// Takes vectors over where it can, and queues the other texts.
    fn prepare(&mut self, document: Document, texts: Vec<String>) -> Result<Waiting, Failure> {
        let mut chunks = Vec::with_capacity(texts.len());
        for text in texts {
            let embedded = embedded_text(&document.title, &text);
            let vector = match &self.previous {
                Some(previous) => previous.vector(&embedded).map_err(store_failure)?,
                None => None,
            };
            if vector.is_none() {
                self.texts.push_back(embedded.clone());
            }
            chunks.push(Chunk { text, embedded, reused: vector.is_some(), answer: vector.map(Ok) });
        }
        let missing = chunks.iter().filter(|chunk| chunk.answer.is_none()).count();
        Ok(Waiting { document, chunks, missing })
    }

    /// Documents that may wait: as many as batches in flight can hold, and some whose vectors are there.
    fn most_waiting(&self) -> usize {
        let batches = self.encoding.max_concurrency.saturating_add(2);
        self.encoding.batch_size.saturating_mul(batches).saturating_add(256)
    }

    fn has_room(&self) -> bool {
        self.texts.len() < self.encoding.batch_size && self.waiting.len() < self.most_waiting()
    }

    /// Sends full batches while there is room; the rest too when nothing more comes.
    fn send(&mut self, all: bool) {
        let full = |texts: usize| texts >= self.encoding.batch_size || (all && texts > 0);
        while self.in_flight.len() < self.encoding.max_concurrency && full(self.texts.len()) {
            let size = self.encoding.batch_size.min(self.texts.len());
            let texts: Vec<String> = self.texts.drain(..size).collect();
            let encoder = self.encoder.clone();
            self.in_flight
                .push_back(Box::pin(async move { embed_each(encoder.as_ref(), &texts, Side::Passage).await }));
        }
    }

    /// Gives a batch's answers to the chunks that wait for them, in order.
    fn receive(&mut self, answers: Vec<Answer>) {
        let mut answers = answers.into_iter();
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.missing > 0) {
            for chunk in waiting.chunks.iter_mut().filter(|chunk| chunk.answer.is_none()) {
                let Some(answer) = answers.next() else { return };
                chunk.answer = Some(answer);
                waiting.missing = waiting.missing.saturating_sub(1);
            }
        }
    }

    /// Writes the documents at the front that have all their vectors.
    fn write(&mut self) -> Result<(), Failure> {
        while self.waiting.front().is_some_and(|waiting| waiting.missing == 0) {
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.write_document(&waiting)?;
            self.progress.document(self.written.builder.chunks(), self.written.reused);
        }
        Ok(())
    }

    fn write_document(&mut self, waiting: &Waiting) -> Result<(), Failure> {
        let Waiting { document, chunks, missing: _ } = waiting;
        if let Some(why) = chunks.iter().enumerate().find_map(|(n, chunk)| chunk.without_vector(n)) {
            self.written.ledger.set_aside(&document.id, &why);
            return Ok(());
        }
        for (n, chunk) in chunks.iter().enumerate() {
            let new = NewChunk {
                id: &format!("{}#{n}", document.id),
                document: &document.id,
                title: &document.title,
                embedded: &chunk.embedded,
                text: &chunk.text,
                metadata: &document.metadata,
            };
            let vector = chunk.vector().unwrap_or_default();
            self.written.builder.add(&new, vector).map_err(store_failure)?;
            self.written.reused = self.written.reused.saturating_add(u64::from(chunk.reused));
            let read = [self.encoding.passage_prefix.as_str(), &chunk.embedded].map(approximate_tokens);
            let cut = read.iter().sum::<usize>() > self.encoding.max_input_tokens;
            self.written.cut = self.written.cut.saturating_add(u64::from(cut));
        }
        self.written.ledger.indexed(&document.id);
        Ok(())
    }
}

impl Chunk {
    fn vector(&self) -> Option<&[f32]> {
        self.answer.as_ref()?.as_deref().ok()
    }

    /// Why this chunk, the n-th of its document, cannot be indexed.
    fn without_vector(&self, n: usize) -> Option<String> {
        match &self.answer {
            Some(Err(status)) => {
                let bytes = self.embedded.len();
                Some(format!("the encoder refuses chunk {n} ({bytes} bytes) with status {status}; cut it smaller"))
            }
            Some(Ok(vector)) if vector.iter().any(|x| *x != 0.0) => None,
            Some(Ok(_)) | None => {
                Some(format!("the encoder gives chunk {n} a vector of zeros: it knows nothing of its text"))
            }
        }
    }
}
