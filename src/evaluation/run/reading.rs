//! The lists of a run file while its lines come in.
//!
//! Why the list of the last line is apart: the lines of one query mostly follow each other. What can be said of a list
//! is said when they end, while it is in the processor's cache, and then it is stored in blocks of its exact size: of ten
//! million lines every byte and every second look counts.
//!
//! Why a file is read again, now with all ids, when a query comes back whose documents have lost theirs ([`Names`]): only at the
//! end of a file is it known that none does, and in the files that programs write none does.
//!
//! Invariant: lines of one query that stand apart make the same list, and the first line of the file that names a document
//! again is found wherever its query stands.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::trec::{Line, LineProblem, MAX_RUN_LINES};
use super::{Compat, HEAD, Names, Packed, Place};
use crate::evaluation::dataset::Dataset;
use crate::evaluation::lines::short;
use crate::evaluation::metric::Judgments;

/// See the module.
pub(super) struct Reading<'a> {
    compat: Compat,
    names: Names<'a>,
    /// Query of the last line.
    query: String,
    /// Its lines since a line named another query; kept for its memory.
    last: Numbered,
    lists: HashMap<String, Numbered, RandomState>,
    standing: Standing,
    /// First line that names a document again.
    problem: Option<(u32, LineProblem)>,
    /// Whether a query came back whose documents have lost their ids.
    lost: bool,
}

impl<'a> Reading<'a> {
    pub fn new(compat: Compat, names: Names<'a>) -> Self {
        Self {
            compat,
            names,
            query: String::new(),
            last: Numbered::default(),
            lists: HashMap::default(),
            standing: Standing::default(),
            problem: None,
            lost: false,
        }
    }

    /// Whether the file must be read again with all ids.
    pub fn needs_all(&self) -> bool {
        self.lost
    }

    /// Takes a line.
    pub fn take(&mut self, line: Line<'_>, number: u64) -> Result<(), LineProblem> {
        let number = u32::try_from(number).ok().filter(|n| *n <= MAX_RUN_LINES).ok_or(LineProblem::TooMany)?;
        if line.query != self.query {
            self.settle();
            line.query.clone_into(&mut self.query);
        }
        if self.last.push(line.document, line.score, number) {
            return Ok(());
        }
        Err(LineProblem::TooLarge(short(line.query)))
    }

    /// Puts the list of the last line to the others.
    pub fn settle(&mut self) {
        if self.last.packed.places.is_empty() {
            return;
        }
        let mut list = self.lists.remove(&self.query).unwrap_or_default();
        list.parted = !list.is_empty();
        if !list.parted {
            self.problem = earlier(self.problem.take(), self.last.problem(&self.query, &mut self.standing));
        }
        match self.names {
            Names::Judged(dataset) => {
                self.lost |= list.parted;
                let ranks = self.asked_for(dataset);
                list.packed = self.last.packed.named(ranks);
            }
            Names::All => {
                if !list.append(&self.last) {
                    let too_large = (self.last.line(0), LineProblem::TooLarge(short(&self.query)));
                    self.problem = earlier(self.problem.take(), Some(too_large));
                }
            }
        }
        self.lists.insert(self.query.clone(), list);
        self.last.clear();
    }

    /// Puts the list of the last line in order; gives the ranks of the documents that keep their ids. Not every document is
    /// looked up in the judgments, but the judged ones, which are fewer, among the documents.
    fn asked_for(&mut self, dataset: &Dataset) -> Vec<u32> {
        let Self { last: Numbered { packed, .. }, standing, .. } = self;
        if packed.rank(self.compat) {
            standing.first_again(packed);
        }
        let judged = dataset.judgments(&self.query).into_iter().flat_map(Judgments::named);
        let ranks = judged.chain([self.query.as_str()]).filter_map(|document| standing.rank(packed, document));
        let head = (1..).take(HEAD.min(packed.places.len()));
        let mut ranks: Vec<u32> = head.chain(ranks).collect();
        ranks.sort_unstable();
        ranks.dedup();
        ranks
    }

    /// The lists by query, best first; or what is wrong, and in which line.
    pub fn finish(mut self) -> Result<BTreeMap<String, Packed>, (u32, LineProblem)> {
        for (query, list) in self.lists.iter_mut() {
            if list.parted {
                self.problem = earlier(self.problem.take(), list.problem(query, &mut self.standing));
                list.packed.text.shrink_to_fit();
                list.packed.places.shrink_to_fit();
            }
            if matches!(self.names, Names::All) {
                list.packed.rank(self.compat);
            }
        }
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.lists.into_iter().map(|(query, list)| (query, list.packed)).collect()),
        }
    }
}

fn earlier(a: Option<(u32, LineProblem)>, b: Option<(u32, LineProblem)>) -> Option<(u32, LineProblem)> {
    a.into_iter().chain(b).min_by_key(|(line, _)| *line)
}

/// A list in the order of the file.
#[derive(Default)]
struct Numbered {
    packed: Packed,
    /// Each place whose line does not follow that of the place before, and the number of its line.
    starts: Vec<(u32, u32)>,
    /// Whether lines of other queries stand between its lines: it was not yet looked through as a whole.
    parted: bool,
}

impl Numbered {
    /// `false`: there is no room.
    #[must_use]
    fn push(&mut self, document: &str, score: f64, line: u32) -> bool {
        let place = self.places();
        if self.starts.is_empty() || self.line(place) != line {
            self.starts.push((place, line));
        }
        self.packed.push(document, score)
    }

    /// A file has fewer lines than this can count.
    fn places(&self) -> u32 {
        u32::try_from(self.packed.places.len()).unwrap_or(u32::MAX)
    }

    /// Line of a place; of the one behind the last, where it would stand if no other line came between.
    fn line(&self, place: u32) -> u32 {
        let before = self.starts.partition_point(|(start, _)| *start <= place);
        let start = before.checked_sub(1).and_then(|at| self.starts.get(at));
        start.map_or(0, |(start, line)| line.saturating_add(place.saturating_sub(*start)))
    }

    fn is_empty(&self) -> bool {
        self.packed.places.is_empty()
    }

    /// Takes the places of another list of the query; `false`: there is no room.
    #[must_use]
    fn append(&mut self, other: &Self) -> bool {
        if self.is_empty() {
            self.packed.text.reserve_exact(other.packed.text.len());
            self.packed.places.reserve_exact(other.packed.places.len());
        }
        let (before, text) = (self.places(), self.packed.text.len());
        let all = text.saturating_add(other.packed.text.len());
        let (Ok(text), Ok(_)) = (u32::try_from(text), u32::try_from(all)) else { return false };
        self.starts.extend(other.starts.iter().map(|(place, line)| (before.saturating_add(*place), *line)));
        self.packed.text.push_str(&other.packed.text);
        let moved = |place: &Place| Place { start: text.saturating_add(place.start), ..*place };
        self.packed.places.extend(other.packed.places.iter().map(moved));
        true
    }

    fn clear(&mut self) {
        self.packed.text.clear();
        self.packed.places.clear();
        self.starts.clear();
    }

    /// The first line that names a document again.
    fn problem(&self, query: &str, standing: &mut Standing) -> Option<(u32, LineProblem)> {
        let (place, document) = standing.first_again(&self.packed)?;
        Some((self.line(place), LineProblem::Duplicate { query: short(query), document: short(document) }))
    }
}

/// Where each document of a list stands. Open addressing with linear probing; kept from list to list for its memory.
#[derive(Default)]
struct Standing {
    /// Hash of a document, and its place plus one; 0 is free. At least half of the slots are free.
    slots: Vec<(u32, u32)>,
    hasher: RandomState,
}

impl Standing {
    /// Takes a list, up to the first place of a document that stands before it too.
    fn first_again<'a>(&mut self, list: &'a Packed) -> Option<(u32, &'a str)> {
        let wanted = list.places.len().saturating_mul(2).next_power_of_two();
        self.slots.clear();
        self.slots.resize(wanted, (0, 0));
        for (place, number) in list.places.iter().zip(1_u32..) {
            let document = place.document(&list.text);
            let hash = self.hash(document);
            let (at, there) = self.find(list, document, hash);
            if there.is_some() {
                return Some((number.saturating_sub(1), document));
            }
            if let Some(slot) = self.slots.get_mut(at) {
                *slot = (hash, number);
            }
        }
        None
    }

    /// Rank of a document in the list that was taken, if that was in order.
    fn rank(&self, list: &Packed, document: &str) -> Option<u32> {
        self.find(list, document, self.hash(document)).1
    }

    fn hash(&self, document: &str) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "32 bits tell documents apart well enough to look closer")]
        let hash = self.hasher.hash_one(document) as u32;
        hash
    }

    /// The slot of a document, or the free one where it would be; and its place plus one.
    #[inline]
    fn find(&self, list: &Packed, document: &str, hash: u32) -> (usize, Option<u32>) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // Half of the slots stay free, so that this ends.
        while let Some((other_hash, number)) = self.slots.get(at) {
            let Some(place) = number.checked_sub(1) else { break };
            let same = || list.places.get(place as usize).is_some_and(|other| other.document(&list.text) == document);
            if *other_hash == hash && same() {
                return (at, Some(*number));
            }
            at = at.wrapping_add(1) & mask;
        }
        (at, None)
    }
}
