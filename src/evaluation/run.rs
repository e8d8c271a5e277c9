//! What an arm answered: for each query a ranked list of documents.
//!
//! Layout: here the lists and their order; [`trec`] run files, [`reading`] their lists while lines come in.
//!
//! Why lists are packed, and why most documents of a run file lose their ids ([`Names`]): a run file may have ten million
//! lines. One that is kept whole costs its document's id and 16 bytes, in two blocks of memory for each query; but metrics ask
//! only where the judged documents stand.
//!
//! Invariants: a document stands once in a list; scores are finite; a list is sorted by score descending and,
//! where scores are equal, by document descending bytewise, which is trec_eval's order: a saved run gives the
//! same figures there. Which scores are equal is a matter of [`Compat`].

mod reading;
mod trec;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::dataset::Dataset;
use super::{condensed, likeness, mixed};

pub use trec::{LineProblem, MAX_RUN_LINES, RunError};

/// One document of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub document: String,
    pub score: f64,
}

/// Which trec_eval decides about equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Up to 9.0.8 and with it pytrec_eval: scores are single precision, so that those which differ after about the
    /// seventh digit are equal.
    TrecEval9,
    /// From 10.0 on: double precision.
    #[default]
    TrecEval10,
}

impl Compat {
    fn seen(self, score: f64) -> f64 {
        match self {
            #[expect(clippy::cast_possible_truncation, reason = "to lose the digits is what it is for")]
            Self::TrecEval9 => f64::from(score as f32),
            Self::TrecEval10 => score,
        }
    }

    /// Scores are finite, so each pair compares; 0 and -0 are equal, as in trec_eval.
    fn higher_first(self, a: f64, b: f64) -> Ordering {
        self.seen(b).partial_cmp(&self.seen(a)).unwrap_or(Ordering::Equal)
    }
}

/// Turns chunks into documents: the score of a document is the highest of its chunks (MaxP). Keeps the `keep`
/// documents that the arm would serve: score descending, document ascending.
pub fn collapsed(chunks: Vec<Hit>, keep: usize) -> Vec<Hit> {
    let mut best: HashMap<String, f64> = HashMap::with_capacity(chunks.len());
    for Hit { document, score } in chunks {
        best.entry(document).and_modify(|s| *s = s.max(score)).or_insert(score);
    }
    let mut documents: Vec<Hit> = best.into_iter().map(|(document, score)| Hit { document, score }).collect();
    documents.sort_unstable_by(|a, b| {
        Compat::TrecEval10.higher_first(a.score, b.score).then_with(|| a.document.cmp(&b.document))
    });
    documents.truncate(keep);
    documents
}

/// Which documents of a run file keep their ids. The others only hold their places.
#[derive(Clone, Copy)]
pub enum Names<'a> {
    All,
    /// Those that a judgment or a nugget of their query names, those that have the id of their query, and the first
    /// [`HEAD`] of each list: enough for every metric that needs no pool, and for the facts of a run.
    Judged(&'a Dataset),
}

/// Documents at the head of a list that keep their ids whether they are judged or not: those that are looked at, the next
/// one, which may be tied with the last of them, and one more, as that of the query itself may be taken out.
pub const HEAD: usize = 12;
const _: () = assert!(HEAD >= likeness::DEPTH + 2 && HEAD > condensed::DEPTH && HEAD > mixed::DEPTH);

/// A document of a list, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listed<'a> {
    pub document: &'a str,
    pub score: f64,
    /// From 1 on.
    pub rank: usize,
}

/// The list of one query, best first.
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'a> {
    text: &'a str,
    places: &'a [Place],
    ranks: &'a [u32],
    nameless: usize,
}

impl<'a> List<'a> {
    /// The documents that have their ids, best first.
    pub fn iter(self) -> impl Iterator<Item = Listed<'a>> {
        let ranks = self.ranks.iter().map(|rank| *rank as usize).chain(self.ranks.len().saturating_add(1)..);
        let listed = move |(place, rank): (&Place, usize)| Listed {
            document: place.document(self.text),
            score: place.score,
            rank,
        };
        self.places.iter().zip(ranks).map(listed)
    }

    /// Documents in it, with those that have lost their ids.
    pub fn len(self) -> usize {
        self.places.len().saturating_add(self.nameless)
    }

    /// Whether nothing was found.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.nameless == other.nameless && self.iter().eq(other.iter())
    }
}

/// Where a document of a list lies in the text of the list.
#[derive(Clone, Copy, Debug)]
struct Place {
    score: f64,
    start: u32,
    length: u32,
}

impl Place {
    fn document(self, text: &str) -> &str {
        let start = self.start as usize;
        text.get(start..start.saturating_add(self.length as usize)).unwrap_or_default()
    }
}

/// Ids one after the other, and the places that name them.
#[derive(Clone, Debug, Default)]
struct Packed {
    text: String,
    places: Vec<Place>,
    /// Rank of each place; empty where no document has lost its id.
    ranks: Vec<u32>,
    /// Documents that have lost their ids.
    nameless: usize,
}

impl Packed {
    /// Takes a document; `false` when the ids of one query have more than 4 GiB.
    #[must_use]
    fn push(&mut self, document: &str, score: f64) -> bool {
        let (Ok(start), Ok(length)) = (u32::try_from(self.text.len()), u32::try_from(document.len())) else {
            return false;
        };
        self.text.push_str(document);
        self.places.push(Place { score, start, length });
        true
    }

    /// Puts the best first; `false`: they stood so.
    fn rank(&mut self, compat: Compat) -> bool {
        let Self { text, places, .. } = self;
        let order = |a: &Place, b: &Place| {
            compat.higher_first(a.score, b.score).then_with(|| b.document(text).cmp(a.document(text)))
        };
        let sorted = places.is_sorted_by(|a, b| order(a, b).is_le());
        if !sorted {
            places.sort_unstable_by(order);
        }
        !sorted
    }

    fn list(&self) -> List<'_> {
        List { text: &self.text, places: &self.places, ranks: &self.ranks, nameless: self.nameless }
    }

    /// A ranked list in which only the documents of these ranks (ascending) keep their ids, in blocks of their exact size.
    fn named(&self, ranks: Vec<u32>) -> Self {
        let kept = || ranks.iter().filter_map(|rank| self.places.get((*rank as usize).checked_sub(1)?));
        let mut named = Self { nameless: self.places.len().saturating_sub(ranks.len()), ..Self::default() };
        named.text.reserve_exact(kept().map(|place| place.length as usize).sum());
        named.places.reserve_exact(ranks.len());
        // What fits into a text fits into a part of it.
        let all = kept().all(|place| named.push(place.document(&self.text), place.score));
        debug_assert!(all, "a part is larger than the whole");
        Self { ranks, ..named }
    }

    /// Takes a document out; those behind it move up.
    fn remove(&mut self, document: &str) {
        let Self { text, places, ranks, .. } = self;
        let Some(at) = places.iter().position(|place| place.document(text) == document) else { return };
        places.remove(at);
        if at < ranks.len() {
            ranks.remove(at);
            ranks.iter_mut().skip(at).for_each(|rank| *rank = rank.saturating_sub(1));
        }
    }
}

/// The answers of an arm.
#[derive(Clone, Debug, Default)]
pub struct Run {
    compat: Compat,
    lists: BTreeMap<String, Packed>,
    /// Whether a query without a list was asked and nothing was found.
    found_nothing: bool,
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        let lists = |run: &'_ Self| run.lists.len();
        lists(self) == lists(other)
            && self.lists.iter().zip(&other.lists).all(|((a, x), (b, y))| a == b && x.list() == y.list())
    }
}

impl Run {
    /// A run without a list.
    pub fn new(compat: Compat) -> Self {
        Self { compat, lists: BTreeMap::new(), found_nothing: false }
    }

    /// Takes the list of one query.
    pub fn insert(&mut self, query: String, hits: Vec<Hit>) {
        let mut packed = Packed::default();
        // An answer has 10,000 documents at most, far from what cannot be taken.
        let all = hits.iter().all(|hit| packed.push(&hit.document, hit.score));
        debug_assert!(all, "an answer of more than 4 GiB");
        packed.rank(self.compat);
        self.lists.insert(query, packed);
    }

    /// The list of one query; `None` if the arm gave none.
    pub fn list(&self, query: &str) -> Option<List<'_>> {
        self.lists.get(query).map(Packed::list)
    }

    /// From here on a query without a list was asked, and nothing was found.
    pub fn found_nothing(&mut self) {
        self.found_nothing = true;
    }

    /// Whether the arm answered a query, be it with nothing.
    pub fn answered(&self, query: &str) -> bool {
        self.found_nothing || self.lists.contains_key(query)
    }

    /// Ids of the queries, bytewise ascending.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(String::as_str)
    }

    /// Removes from each list the document whose id is that of the query: in collections whose queries are documents
    /// too, each would find itself.
    pub fn drop_identical_ids(&mut self) {
        for (query, packed) in &mut self.lists {
            packed.remove(query);
        }
    }
}

#[cfg(test)]
mod tests;
