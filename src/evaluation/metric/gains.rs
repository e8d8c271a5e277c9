//! A ranked list looked up in the judgments of its query: what every metric reads, computed once a query.

use std::collections::HashSet;

use super::judgments::Judgments;
use crate::evaluation::run::List;

/// One place of a ranked list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `None`: nobody judged the document for this query.
    pub grade: Option<u32>,
    /// Whether nobody judged the document for any query.
    pub hole: bool,
}

/// The ranked list and what an ideal one would hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Gains {
    pub(super) ranked: Vec<Place>,
    /// Grades of all judged documents, highest first.
    pub(super) grades: Vec<u32>,
    nuggets: Vec<Found>,
}

/// A nugget and where the list first covers it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    required: bool,
    weight: f64,
    /// Places above it; `None`: the list does not cover it.
    above: Option<usize>,
}

/// The documents that are judged for at least one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool<'a>(HashSet<&'a str>);

impl<'a> Pool<'a> {
    /// Of the judgments of all queries.
    pub fn of(all: impl IntoIterator<Item = &'a Judgments>) -> Self {
        Self(all.into_iter().flat_map(Judgments::documents).collect())
    }
}

impl Gains {
    /// Looks ranked documents up. One that is unjudged for this query counts as a hole.
    pub fn of<'a>(judgments: &Judgments, ranked: impl IntoIterator<Item = &'a str>) -> Self {
        Self::looked_up(judgments, ranked.into_iter().zip(0..), 0, |_| true)
    }

    /// Looks the documents of a list up, and with a pool those there that this query does not judge. Documents that have lost
    /// their ids are not judged for this query; with a pool there must be none.
    pub fn of_list(judgments: &Judgments, list: List<'_>, pool: Option<&Pool<'_>>) -> Self {
        let named = list.iter().map(|at| (at.document, at.rank.saturating_sub(1)));
        Self::looked_up(judgments, named, list.len(), |document| pool.is_none_or(|pool| !pool.0.contains(document)))
    }

    /// `named`: documents, and how many stand above each; `least`: how long the list is at least.
    fn looked_up<'a>(
        judgments: &Judgments,
        named: impl Iterator<Item = (&'a str, usize)>,
        least: usize,
        hole: impl Fn(&str) -> bool,
    ) -> Self {
        const NAMELESS: Place = Place { grade: None, hole: true };
        let mut nuggets: Vec<Found> = judgments
            .nuggets()
            .iter()
            .map(|nugget| Found { required: nugget.required, weight: nugget.weight, above: None })
            .collect();
        let mut ranked = Vec::with_capacity(least);
        for (document, above) in named {
            for (nugget, found) in judgments.nuggets().iter().zip(&mut nuggets) {
                if found.above.is_none() && nugget.documents.contains(document) {
                    found.above = Some(above);
                }
            }
            let grade = judgments.judged_grade(document);
            ranked.resize(above, NAMELESS);
            ranked.push(Place { grade, hole: grade.is_none() && hole(document) });
        }
        ranked.resize(least.max(ranked.len()), NAMELESS);
        Self { ranked, grades: judgments.sorted_grades(), nuggets }
    }

    /// Judged documents of this grade and above.
    pub(super) fn judged_from(&self, level: u32) -> usize {
        self.grades.iter().take_while(|grade| **grade >= level).count()
    }

    /// Weight of the nuggets that the first `k` cover, over the weight of all.
    pub(super) fn covered_weight(&self, k: usize) -> f64 {
        let sum = |nuggets: &mut dyn Iterator<Item = &Found>| nuggets.map(|nugget| nugget.weight).sum::<f64>();
        let all = sum(&mut self.nuggets.iter());
        if all > 0.0 { sum(&mut self.nuggets.iter().filter(|nugget| nugget.within(k))) / all } else { 0.0 }
    }

    /// Whether the first `k` cover every required nugget, and there is one.
    pub(super) fn all_required_covered(&self, k: usize) -> bool {
        let mut required = self.nuggets.iter().filter(|nugget| nugget.required).peekable();
        required.peek().is_some() && required.all(|nugget| nugget.within(k))
    }
}

impl Found {
    fn within(&self, k: usize) -> bool {
        self.above.is_some_and(|above| above < k)
    }
}
