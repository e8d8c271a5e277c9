//! How far the domains of an index lie apart, seen by its vectors.
//!
//! Why a fact and no rule: domains may lie close because they speak of the same things. It says whether an encoder can
//! tell them apart at all, and which of them is lost among the others.
//!
//! Invariants: every value lies from -1 to 1; a document alone in its domain counts 0, as in the source; without two
//! domains there is no number, never 0.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lines::short;

/// Most documents that are looked at.
pub const MOST_DOCUMENTS: usize = 2_000;
/// Most domains: time grows with documents times domains, and a server that measures has users. More values than that
/// among so few documents are no domains.
pub const MOST_DOMAINS: usize = 100;
/// A distance below this is rounding: two vectors that differ in the last bit of one number are closer.
const LEAST_DISTANCE: f64 = 1e-12;

/// A document of a known domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub domain: String,
    pub vector: Vec<f32>,
}

/// Mean silhouette of documents by domain: 1 where each lies among its own, below 0 where it lies among others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silhouette {
    /// What it is the mean of.
    pub documents: usize,
    pub mean: f64,
    pub lowest: Lowest,
}

/// The domain of the lowest mean; of several, the first by bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lowest {
    /// The beginning of a long name.
    pub domain: String,
    pub mean: f64,
}

impl Silhouette {
    /// What another program tells, held to what it can be; `None`: it cannot be that.
    pub fn bounded(self) -> Option<Self> {
        let Self { documents, mean, lowest } = self;
        let possible = documents >= 2 && [mean, lowest.mean].iter().all(|mean| (-1.0..=1.0).contains(mean));
        let lowest = Lowest { domain: short(&lowest.domain), mean: lowest.mean };
        possible.then_some(Self { documents, mean, lowest })
    }
}

/// The directions of a domain, added up.
struct Group {
    sum: Vec<f64>,
    n: f64,
}

/// Rousseeuw, *Silhouettes: a graphical aid to the interpretation and validation of cluster analysis*, Journal of
/// Computational and Applied Mathematics 20, 1987: (b - a) / max(a, b) with a = mean distance to the others of the
/// domain, b = least mean distance to another domain. Distance is 1 - cosine, whatever the index searches by: the mean
/// distance to n vectors of length 1 is then 1 - v·Σ/n, so that time grows with documents times domains and not with
/// pairs. A vector of zeros has no direction and is left out.
pub fn silhouette(documents: &[Document]) -> Option<Silhouette> {
    let directed: Vec<(&Document, f64)> = documents.iter().filter_map(|d| Some((d, length(&d.vector)?))).collect();
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (Document { domain, vector }, length) in &directed {
        let group = groups.entry(domain).or_insert_with(|| Group { sum: vec![0.0; vector.len()], n: 0.0 });
        group.sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x) / length);
        group.n += 1.0;
    }
    if !(2..=MOST_DOMAINS).contains(&groups.len()) {
        return None;
    }
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (document, length) in &directed {
        *sums.entry(&document.domain).or_default() += of_document(document, *length, &groups);
    }
    let means = sums.iter().filter_map(|(domain, sum)| Some((*domain, sum / groups.get(domain)?.n)));
    let (domain, lowest) = means.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let mean = sums.values().sum::<f64>() / directed.len() as f64;
    let lowest = Lowest { domain: short(domain), mean: lowest };
    Some(Silhouette { documents: directed.len(), mean, lowest })
}

/// `None`: a vector without a direction.
fn length(vector: &[f32]) -> Option<f64> {
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    (length > 0.0 && length.is_finite()).then_some(length)
}

fn of_document(document: &Document, length: f64, groups: &BTreeMap<&str, Group>) -> f64 {
    let Document { domain, vector } = document;
    // All distances to a domain together.
    let distance = |group: &Group| {
        let product: f64 = group.sum.iter().zip(vector).map(|(sum, x)| sum * f64::from(*x)).sum();
        group.n - product / length
    };
    // The distance to itself is 0.
    let own = groups.get(domain.as_str()).filter(|own| own.n > 1.0);
    let Some(a) = own.map(|own| (distance(own) / (own.n - 1.0)).max(0.0)) else { return 0.0 };
    let others = groups.iter().filter(|(other, _)| *other != domain);
    let b = others.map(|(_, group)| (distance(group) / group.n).max(0.0)).fold(f64::INFINITY, f64::min);
    if a.max(b) > LEAST_DISTANCE { (b - a) / a.max(b) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row<'a> = (&'a str, [f32; 2]);

    fn of(rows: &[Row<'_>]) -> Option<Silhouette> {
        let document = |(domain, vector): &Row<'_>| Document { domain: (*domain).to_owned(), vector: vector.to_vec() };
        silhouette(&rows.iter().map(document).collect::<Vec<_>>())
    }

    /// From the definition: all pairs. The mean of the documents, and of each domain.
    fn by_pairs(rows: &[Row<'_>]) -> (f64, BTreeMap<String, f64>) {
        let distance = |u: [f32; 2], v: [f32; 2]| {
            let dot = |u: [f32; 2], v: [f32; 2]| f64::from(u[0]) * f64::from(v[0]) + f64::from(u[1]) * f64::from(v[1]);
            1.0 - dot(u, v) / (dot(u, u) * dot(v, v)).sqrt()
        };
        let one = |i: usize| {
            let mean = |domain: &str| {
                let to = rows.iter().enumerate().filter(|(j, (d, _))| *d == domain && *j != i);
                let all: Vec<f64> = to.map(|(_, (_, v))| distance(rows[i].1, *v)).collect();
                (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
            };
            let Some(a) = mean(rows[i].0) else { return 0.0 };
            let others = rows.iter().map(|(d, _)| *d).filter(|d| *d != rows[i].0);
            let b = others.filter_map(mean).fold(f64::INFINITY, f64::min);
            // In the source: 0 where a = b.
            if (a - b).abs() < 1e-9 { 0.0 } else { (b - a) / a.max(b) }
        };
        let mean = |of: &dyn Fn(&str) -> bool| {
            let all: Vec<f64> = (0..rows.len()).filter(|i| of(rows[*i].0)).map(one).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        let domains = rows.iter().map(|(domain, _)| ((*domain).to_owned(), mean(&|d| d == *domain)));
        (mean(&|_| true), domains.collect())
    }

    #[test]
    fn it_is_worked_out_by_hand() {
        // a1: a = 1, b = 0; a2: a = b = 1; b1 and b2: a = 0, b = 1/2.
        let found = of(&[("a", [1.0, 0.0]), ("a", [0.0, 2.0]), ("b", [3.0, 0.0]), ("b", [1.0, 0.0])]).unwrap();
        let lowest = Lowest { domain: "a".to_owned(), mean: -0.5 };
        assert_eq!(found, Silhouette { documents: 4, mean: 0.25, lowest });
        let apart = of(&[("a", [1.0, 0.0]), ("a", [2.0, 0.0]), ("b", [0.0, 1.0]), ("b", [0.0, 3.0])]).unwrap();
        assert_eq!((apart.mean, apart.lowest), (1.0, Lowest { domain: "a".to_owned(), mean: 1.0 }));
    }

    proptest! {
        /// Few directions, so that many vectors are equal.
        #[test]
        fn it_is_that_of_all_pairs(rows in prop::collection::vec((0..4_usize, -3..=3_i8, -3..=3_i8), 2..40)) {
            let rows: Vec<Row<'_>> = rows
                .iter()
                .filter(|(_, x, y)| (*x, *y) != (0, 0))
                .map(|(domain, x, y)| (["a", "b", "c", "d"][*domain], [f32::from(*x), f32::from(*y)]))
                .collect();
            let (mean, domains) = by_pairs(&rows);
            let found = of(&rows);
            prop_assert_eq!(found.is_some(), domains.len() > 1);
            if let Some(Silhouette { documents, mean: found, lowest }) = found {
                prop_assert_eq!(documents, rows.len());
                prop_assert!((found - mean).abs() < 1e-9, "{} {}", found, mean);
                let least = domains.values().fold(f64::INFINITY, |least, mean| least.min(*mean));
                prop_assert!((lowest.mean - least).abs() < 1e-9, "{:?} {:?}", lowest, domains);
                prop_assert!((domains[&lowest.domain] - least).abs() < 1e-9, "{:?} {:?}", lowest, domains);
            }
        }
    }

    #[test]
    fn vectors_in_one_place_are_neither_near_nor_far() {
        // Lengths of which rounding leaves more than 0, so that a quotient of it would be 0.6.
        let times = |factor: f32| [0.8 * factor, 0.7 * factor];
        let found =
            of(&[("a", times(1.0)), ("a", times(2.0)), ("b", times(1.0)), ("b", times(3.0)), ("b", times(3.0))]);
        let found = found.unwrap();
        assert_eq!((found.mean, found.lowest.mean), (0.0, 0.0));
    }

    #[test]
    fn without_two_domains_of_a_direction_there_is_none() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("a", [1.0, 0.0]), ("a", [0.0, 1.0])]), None);
        assert_eq!(of(&[("a", [1.0, 0.0]), ("b", [0.0, 0.0])]), None, "a vector of zeros is left out");
        let names: Vec<String> = (0..=MOST_DOMAINS).map(|i| i.to_string()).collect();
        let rows: Vec<Row<'_>> = names.iter().map(|name| (name.as_str(), [1.0, 0.0])).collect();
        assert_eq!(of(&rows), None, "too many are no domains");
        assert_eq!(of(&rows[1..]).map(|found| (found.documents, found.mean)), Some((MOST_DOMAINS, 0.0)), "all alone");
    }

    #[test]
    fn what_another_program_tells_is_held_to_its_bounds() {
        let told = |documents: usize, mean: f64, lowest: f64, domain: &str| {
            let lowest = Lowest { domain: domain.to_owned(), mean: lowest };
            Silhouette { documents, mean, lowest }.bounded()
        };
        assert_eq!(told(2, 0.5, -1.0, &"x".repeat(99)).unwrap().lowest.domain, format!("{}…", "x".repeat(64)));
        for (documents, mean, lowest) in [(1, 0.0, 0.0), (2, 1.1, 0.0), (2, 0.0, -1.1)] {
            assert_eq!(told(documents, mean, lowest, "a"), None, "{documents} {mean} {lowest}");
        }
    }
}
