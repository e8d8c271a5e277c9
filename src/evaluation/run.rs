//! What an arm answered: for each query a ranked list of documents.
//!
//! Layout: here the lists and their order; [`trec`] run files, [`reading`] their lists while lines come in.
//!
//! Why lists are packed: a run file may have ten million lines. A line costs its document's id and 16 bytes, in two
//! blocks of memory for each query.
//!
//! Invariants: a document stands once in a list; scores are finite; a list is sorted by score descending and,
//! where scores are equal, by document descending bytewise, which is trec_eval's order: a saved run gives the
//! same figures there. Which scores are equal is a matter of [`Compat`].

mod reading;
mod trec;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

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

/// A document of a list, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Listed<'a> {
    pub document: &'a str,
    pub score: f64,
}

/// The list of one query, best first.
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'a> {
    text: &'a str,
    places: &'a [Place],
}

impl<'a> List<'a> {
    /// The documents, best first.
    pub fn iter(self) -> impl ExactSizeIterator<Item = Listed<'a>> {
        self.places.iter().map(move |place| Listed { document: place.document(self.text), score: place.score })
    }

    /// Documents in it.
    pub fn len(self) -> usize {
        self.places.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(self) -> bool {
        self.places.is_empty()
    }

    /// The same, owned.
    pub fn to_vec(self) -> Vec<Hit> {
        self.iter().map(|at| Hit { document: at.document.to_owned(), score: at.score }).collect()
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
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

    fn rank(&mut self, compat: Compat) {
        let Self { text, places } = self;
        let order = |a: &Place, b: &Place| {
            compat.higher_first(a.score, b.score).then_with(|| b.document(text).cmp(a.document(text)))
        };
        if !places.is_sorted_by(|a, b| order(a, b).is_le()) {
            places.sort_unstable_by(order);
        }
    }

    fn list(&self) -> List<'_> {
        List { text: &self.text, places: &self.places }
    }
}

/// The answers of an arm.
#[derive(Clone, Debug, Default)]
pub struct Run {
    compat: Compat,
    lists: BTreeMap<String, Packed>,
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
        Self { compat, lists: BTreeMap::new() }
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

    /// Ids of the queries, bytewise ascending.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(String::as_str)
    }

    /// Removes from each list the document whose id is that of the query: in collections whose queries are documents
    /// too, each would find itself.
    pub fn drop_identical_ids(&mut self) {
        for (query, packed) in &mut self.lists {
            let Packed { text, places } = packed;
            places.retain(|place| place.document(text) != query);
        }
    }
}

#[cfg(test)]
mod tests;
