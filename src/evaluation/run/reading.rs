//! The lists of a run file while its lines come in.
//!
//! Why the list of the last line is apart: the lines of one query mostly follow each other. What can be said of a list
//! is said when they end, while it is in the processor's cache, and then it is stored in blocks of its exact size: of ten
//! million lines every byte and every second look counts.
//!
//! Invariant: lines of one query that stand apart make the same list, and the first line of the file that names a document
//! again is found wherever its query stands.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

use super::trec::{Line, LineProblem, MAX_RUN_LINES};
use super::{Packed, Place};
use crate::evaluation::lines::short;

/// See the module.
#[derive(Default)]
pub(super) struct Reading {
    /// Query of the last line.
    query: String,
    /// Its lines since a line named another query; kept for its memory.
    last: Numbered,
    lists: HashMap<String, Numbered, RandomState>,
    twice: Twice,
    /// First line that names a document again.
    problem: Option<(u32, LineProblem)>,
}

impl Reading {
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
    fn settle(&mut self) {
        if self.last.packed.places.is_empty() {
            return;
        }
        let mut list = self.lists.remove(&self.query).unwrap_or_default();
        list.parted = !list.packed.places.is_empty();
        if !list.parted {
            self.problem = earlier(self.problem.take(), self.last.problem(&self.query, &mut self.twice));
            list.packed.text.reserve_exact(self.last.packed.text.len());
            list.packed.places.reserve_exact(self.last.packed.places.len());
        }
        if !list.append(&self.last) {
            let too_large = (self.last.line(0), LineProblem::TooLarge(short(&self.query)));
            self.problem = earlier(self.problem.take(), Some(too_large));
        }
        self.lists.insert(self.query.clone(), list);
        self.last.clear();
    }

    /// The lists by query, in the order of the file; or what is wrong, and in which line.
    pub fn finish(mut self) -> Result<BTreeMap<String, Packed>, (u32, LineProblem)> {
        self.settle();
        for (query, list) in self.lists.iter_mut().filter(|(_, list)| list.parted) {
            self.problem = earlier(self.problem.take(), list.problem(query, &mut self.twice));
            list.packed.text.shrink_to_fit();
            list.packed.places.shrink_to_fit();
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

    /// Takes the places of another list of the query; `false`: there is no room.
    #[must_use]
    fn append(&mut self, other: &Self) -> bool {
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
    fn problem(&self, query: &str, twice: &mut Twice) -> Option<(u32, LineProblem)> {
        let (place, document) = twice.first(&self.packed)?;
        Some((self.line(place), LineProblem::Duplicate { query: short(query), document: short(document) }))
    }
}

/// Finds documents that stand twice in a list. Open addressing with linear probing; kept from list to list for its
/// memory.
#[derive(Default)]
struct Twice {
    /// Hash of a document, and its place plus one; 0 is free.
    slots: Vec<(u32, u32)>,
    hasher: RandomState,
}

impl Twice {
    /// The first place of a document that stands before it too.
    fn first<'a>(&mut self, list: &'a Packed) -> Option<(u32, &'a str)> {
        let Packed { text, places } = list;
        let wanted = places.len().saturating_mul(2).next_power_of_two();
        self.slots.clear();
        self.slots.resize(wanted, (0, 0));
        let mask = wanted.saturating_sub(1);
        for (place, number) in places.iter().zip(1_u32..) {
            let document = place.document(text);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "32 bits tell documents apart well enough to look closer"
            )]
            let hash = self.hasher.hash_one(document) as u32;
            let mut at = hash as usize & mask;
            // Half of the slots stay free, so that this ends.
            while let Some(slot) = self.slots.get_mut(at) {
                let (other_hash, other) = *slot;
                let Some(other) = other.checked_sub(1) else {
                    *slot = (hash, number);
                    break;
                };
                let same = || places.get(other as usize).is_some_and(|other| other.document(text) == document);
                if other_hash == hash && same() {
                    return Some((number.saturating_sub(1), document));
                }
                at = at.wrapping_add(1) & mask;
            }
        }
        None
    }
}
