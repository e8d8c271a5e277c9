//! Numbers of one metric, grouped into the units that are independent of each other.
//!
//! Why units: paraphrases of one question, or questions about one document, fail together. Counted as if each were
//! a sample of its own, they make a verdict look surer than it is. With `clusterBy` a unit is a cluster, else a query.
//!
//! Invariants: the mean is over queries, whatever their units; a cluster of one query gives the plain formulas.

use std::collections::BTreeMap;

/// Numbers closer to 0 than this are rounding of equal lists.
const ZERO: f64 = 1e-12;

/// What is independent of everything else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Sum of its numbers.
    pub sum: f64,
    /// How many they are.
    pub size: f64,
    /// Whether one of them is not 0.
    pub changed: bool,
}

/// Numbers of one metric: one a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    units: Vec<Unit>,
    n: usize,
    sum: f64,
    min: f64,
    clustered: bool,
}

impl Sample {
    /// Every number is a unit; `None` if there is none, or one is not finite.
    pub fn plain(values: &[f64]) -> Option<Self> {
        let units = values.iter().map(|v| Unit { sum: *v, size: 1.0, changed: v.abs() > ZERO }).collect();
        Self::new(values, units, false)
    }

    /// Numbers with the same cluster are one unit; `clusters` has as many entries as `values`.
    pub fn clustered(values: &[f64], clusters: &[usize]) -> Option<Self> {
        let mut units: BTreeMap<usize, Unit> = BTreeMap::new();
        for (value, cluster) in values.iter().zip(clusters) {
            let unit = units.entry(*cluster).or_insert(Unit { sum: 0.0, size: 0.0, changed: false });
            unit.sum += value;
            unit.size += 1.0;
            unit.changed |= value.abs() > ZERO;
        }
        (values.len() == clusters.len()).then(|| Self::new(values, units.into_values().collect(), true)).flatten()
    }

    fn new(values: &[f64], units: Vec<Unit>, clustered: bool) -> Option<Self> {
        let min = values.iter().copied().min_by(f64::total_cmp)?;
        let finite = values.iter().all(|v| v.is_finite());
        finite.then(|| Self { units, n: values.len(), sum: values.iter().sum(), min, clustered })
    }

    /// Queries.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Never: a sample has numbers.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The independent units.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// How many clusters there are; `None` where every query stands for itself.
    pub fn clusters(&self) -> Option<usize> {
        self.clustered.then_some(self.units.len())
    }

    /// Mean over the queries.
    pub fn mean(&self) -> f64 {
        self.sum / count(self.n)
    }

    /// Smallest number.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// Units in which something is not 0.
    pub fn changed(&self) -> usize {
        self.units.iter().filter(|unit| unit.changed).count()
    }

    /// Standard error of the mean, from the spread between units; `None` below two of them. The factor m/(m - 1)
    /// makes clusters of one query give s/√n.
    pub fn standard_error(&self) -> Option<f64> {
        let (m, mean) = (count(self.units.len()), self.mean());
        let spread: f64 = self.units.iter().map(|u| (u.sum - u.size * mean).powi(2)).sum();
        (self.units.len() > 1).then(|| (spread * m / (m - 1.0)).sqrt() / count(self.n))
    }

    /// One number a unit, with the sample's mean as their mean, and by how much a bound of a query's number grows
    /// for a unit's: 1 where all units have one size.
    pub fn weighed(&self) -> (Vec<f64>, f64) {
        let share = count(self.units.len()) / count(self.n);
        let largest = self.units.iter().map(|u| u.size).max_by(f64::total_cmp).unwrap_or(1.0);
        (self.units.iter().map(|u| u.sum * share).collect(), largest * share)
    }
}

/// Counts here stay far below 2^53.
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clusters_that_move_together_widen_the_standard_error() {
        let values = [0.1, 0.1, -0.2, -0.2, 0.0, 0.0, 0.3, 0.3];
        let plain = Sample::plain(&values).unwrap();
        let pairs = Sample::clustered(&values, &[0, 0, 1, 1, 2, 2, 3, 3]).unwrap();
        assert_eq!((plain.clusters(), pairs.clusters()), (None, Some(4)));
        assert_eq!(plain.mean().to_bits(), pairs.mean().to_bits());
        assert_eq!((plain.changed(), pairs.changed()), (6, 3));
        // Four units instead of eight, and all the spread lies between them.
        let (narrow, wide) = (plain.standard_error().unwrap(), pairs.standard_error().unwrap());
        assert!((wide / narrow - (14.0_f64 / 6.0).sqrt()).abs() < 1e-12, "{narrow} {wide}");
        let (weighed, grown) = pairs.weighed();
        assert_eq!((weighed.len(), grown), (4, 1.0));
        assert!((weighed[3] - 0.3).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_sample_is_none() {
        assert_eq!(Sample::plain(&[]), None);
        assert_eq!(Sample::plain(&[0.1, f64::NAN]), None);
        assert_eq!(Sample::clustered(&[0.1, 0.2], &[1]), None);
        assert_eq!(Sample::plain(&[0.1]).unwrap().standard_error(), None);
        assert_eq!(Sample::clustered(&[0.1, 0.2], &[1, 1]).unwrap().standard_error(), None);
    }

    proptest! {
        #[test]
        fn clusters_of_one_query_are_no_clusters(d in prop::collection::vec(-1.0..1.0_f64, 2..60)) {
            let each: Vec<usize> = (0..d.len()).collect();
            let (a, b) = (Sample::plain(&d).unwrap(), Sample::clustered(&d, &each).unwrap());
            prop_assert_eq!(a.units(), b.units());
            let n = d.len() as f64;
            let mean = d.iter().sum::<f64>() / n;
            let sd = (d.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0)).sqrt();
            prop_assert!((a.standard_error().unwrap() - sd / n.sqrt()).abs() < 1e-12);
        }

        #[test]
        fn weighed_units_have_the_mean_of_the_queries(
            d in prop::collection::vec((-1.0..1.0_f64, 0..7_usize), 2..60),
        ) {
            let (values, clusters): (Vec<f64>, Vec<usize>) = d.into_iter().unzip();
            let sample = Sample::clustered(&values, &clusters).unwrap();
            let (weighed, grown) = sample.weighed();
            let mean = weighed.iter().sum::<f64>() / weighed.len() as f64;
            prop_assert!((mean - sample.mean()).abs() < 1e-12);
            prop_assert!(weighed.iter().all(|w| w.abs() <= grown + 1e-12));
        }
    }
}
