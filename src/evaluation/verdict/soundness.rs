//! Whether the numbers of a run can come from any sample at all.
//!
//! Why: a receipt comes from a pod. One that was damaged or forged must not pass a gate with numbers that contradict
//! each other, such as a lower bound above the difference that it bounds.
//!
//! What holds of every sample of n differences d in -1 to 1, k of them not 0, mean D, deviation s, smallest m:
//! `|D| <= k/n`; `m <= D`, and `m <= 0` where k < n; `(D - m)²·n/(n-1)² <= s² <= (D - m)(1 - D)·n/(n-1)` (the right
//! side: Bhatia & Davis, A better bound on the variance, 2000); `s² >= D²·n(n - k)/(k(n - 1))`, the k others being
//! equal. Bounds of Student's t follow from D, s, n and alpha, so that they are computed again. Bounds of a bounded mean
//! and p are drawn; they are held to what no draw can leave.
//!
//! Invariants: a row that [`crate::evaluation::compare`] makes is sound; what is missing is no contradiction, the rules
//! have their own word for it.

use std::collections::BTreeSet;

use super::evidence::{ROUNDING, Row, SliceRow};
use super::{Coverage, Criteria, Evidence, Method, Statistics, guarded};
use crate::evaluation::holm;
use crate::evaluation::paired::{DRAWS, EXACT_UP_TO, t_quantile};

/// Standard errors that a drawn number may be off: never, in a lifetime of runs.
const NEVER: f64 = 6.0;

/// What contradicts itself, in words; `None`: nothing does.
pub(super) fn unsound(criteria: &Criteria<'_>, evidence: &Evidence) -> Option<String> {
    let coverage = &evidence.coverage;
    let most = coverage.candidate.max(coverage.baseline.unwrap_or(0));
    if most > coverage.queries {
        return Some(format!("{most} queries are answered of {} that were asked", coverage.queries));
    }
    if evidence.rows.len() > criteria.rules.len() {
        return Some(format!("{} metrics have numbers, the gate has {}", evidence.rows.len(), criteria.rules.len()));
    }
    let named = criteria.rules.iter().zip(&evidence.rows);
    let check = |subject: String, row| Check { subject, row, statistics: criteria.statistics, coverage };
    named
        .map(|(rule, row)| check(rule.metric().to_string(), row))
        .find_map(|check| check.broken())
        .or_else(|| slices(criteria, evidence))
        .or_else(|| worst(criteria, evidence))
        .or_else(|| unjudged(evidence))
}

fn slices(criteria: &Criteria<'_>, evidence: &Evidence) -> Option<String> {
    let rules = criteria.slices?;
    let guards = criteria.rules.iter().filter(|rule| guarded(rule)).count() as u64;
    let queries = evidence.coverage.queries;
    let most = queries
        .checked_div(rules.min_queries())
        .unwrap_or(queries)
        .saturating_mul(rules.by().len() as u64)
        .saturating_mul(guards);
    if let Some(found) = evidence.guardrails.filter(|found| *found > most) {
        return Some(format!("{found} slices of metrics are guardrails, {queries} queries make {most} at most"));
    }
    let mut seen = BTreeSet::new();
    evidence.slices.iter().find_map(|found| {
        let Some(rule) = criteria.rules.get(found.metric).filter(|rule| guarded(rule)) else {
            return Some(format!("a row of {} is of a metric that guards no slice", found.name));
        };
        let subject = format!("{} of {}", rule.metric(), found.name);
        if !seen.insert((&found.name, found.metric)) {
            return Some(format!("{subject} stands twice"));
        }
        Check { subject, row: &found.row, statistics: criteria.statistics, coverage: &evidence.coverage }
            .broken_slice(found, evidence.guardrails.unwrap_or(0))
    })
}

fn worst(criteria: &Criteria<'_>, evidence: &Evidence) -> Option<String> {
    let (rules, worst) = (criteria.slices?, evidence.worst.as_ref()?);
    if !share(worst.candidate) || !worst.baseline.is_none_or(share) || worst.n > evidence.coverage.queries {
        return Some(format!("the worst slice, {}, has means or a count that cannot be", worst.name));
    }
    let large = evidence.slices.iter().filter(|row| row.metric == 0 && row.row.n >= rules.min_queries());
    let lower = large.into_iter().find(|row| row.row.candidate < worst.candidate - ROUNDING)?;
    Some(format!("{} is told to be the worst slice, and {} is worse", worst.name, lower.name))
}

fn unjudged(evidence: &Evidence) -> Option<String> {
    let unjudged = evidence.unjudged?;
    let fine = share(unjudged.candidate)
        && share(unjudged.baseline)
        && change(unjudged.difference)
        && unjudged.upper.is_none_or(|upper| upper.is_finite() && upper >= unjudged.difference - ROUNDING);
    (!fine).then(|| "the shares of unjudged documents, or the difference without them, cannot be".to_owned())
}

fn share(x: f64) -> bool {
    (0.0..=1.0).contains(&x)
}

fn change(x: f64) -> bool {
    (-1.0 - ROUNDING..=1.0 + ROUNDING).contains(&x)
}

/// One row.
struct Check<'a> {
    subject: String,
    row: &'a Row,
    statistics: &'a Statistics,
    coverage: &'a Coverage,
}

/// The numbers of a comparison that is there in full.
#[derive(Clone, Copy)]
struct Whole {
    /// Independent units.
    units: f64,
    d: f64,
    sd: f64,
    lower: f64,
    upper: f64,
}

impl Check<'_> {
    fn broken(&self) -> Option<String> {
        let found = self
            .shares()
            .or_else(|| self.counts())
            .or_else(|| self.order())
            .or_else(|| self.means())
            .or_else(|| self.spread())
            .or_else(|| self.bounds())
            .or_else(|| self.p());
        found.map(|what| format!("{}: {what}", self.subject))
    }

    fn broken_slice(&self, found: &SliceRow, guardrails: u64) -> Option<String> {
        let harm = || {
            let harm = found.harm?;
            let possible = harm > 0.0 && harm <= 1.0;
            let most = self.most_harm(guardrails).filter(|most| harm > *most);
            if !possible {
                return Some(format!("p of harm is {harm}, which is no p"));
            }
            most.map(|most| format!("p of harm is {harm}, with these differences it is {most:.6} at most"))
        };
        self.broken().or_else(|| harm().map(|what| format!("{}: {what}", self.subject)))
    }

    fn shares(&self) -> Option<String> {
        let row = self.row;
        let outside = |(name, x): (&str, Option<f64>)| {
            x.filter(|x| !share(*x)).map(|x| format!("{name} is {x}, which is not in 0 to 1"))
        };
        let named =
            [("candidate", Some(row.candidate)), ("baseline", row.baseline), ("lower mean", row.candidate_lower)];
        let lower = || {
            // A mean of so many values shrinks at least by what they could have missed; the bound is drawn, so that its
            // level is off by what draws can be.
            let units = if row.baseline.is_some() { self.coverage.queries } else { row.units() };
            let alpha = self.statistics.alpha;
            let most = row.candidate * (alpha + off(alpha)).powf(1.0 / count(units));
            let lower = row.candidate_lower.filter(|lower| *lower > most + ROUNDING)?;
            Some(format!("the lower bound {lower} of a mean {} is {most:.6} at most", row.candidate))
        };
        named.into_iter().find_map(outside).or_else(lower)
    }

    fn counts(&self) -> Option<String> {
        let row = self.row;
        let numbers = [row.difference, row.lower, row.upper, row.sd, row.p, row.min];
        let some = numbers.iter().any(Option::is_some) || row.nonzero.is_some();
        if row.n == 0 && some {
            return Some("no query was compared, and yet there are numbers of a comparison".to_owned());
        }
        if row.n > self.coverage.queries {
            return Some(format!("{} queries count of {} that were asked", shown(row.n), self.coverage.queries));
        }
        if row.units() > row.n || (row.n > 0 && row.units() == 0) {
            return Some(format!("{} clusters are made of {} queries", shown(row.units()), row.n));
        }
        let changed = row.nonzero.filter(|changed| *changed > row.units())?;
        Some(format!("{} changed of {}", shown(changed), row.units()))
    }

    /// Queries on which lists cannot differ count in the means and not in D; so do those that the baseline did not answer, and
    /// there the candidate may have all.
    fn means(&self) -> Option<String> {
        let row = self.row;
        let found = row.candidate - row.baseline?;
        let d = match (row.difference, row.n) {
            (Some(d), _) => d,
            (None, 0) => 0.0,
            (None, _) => return None,
        };
        let Coverage { queries, baseline, .. } = *self.coverage;
        let whole = d * count(row.n) / count(queries.max(1));
        let unanswered = baseline.map_or(0, |answered| queries.saturating_sub(answered));
        let won = count(unanswered) / count(row.n.max(1));
        let (low, high) = (d.min(whole) - ROUNDING, d.max(whole) + won + ROUNDING);
        (!(low..=high).contains(&found))
            .then(|| format!("the means differ by {found:.6}, the queries by {d:.6} in the mean"))
    }

    fn order(&self) -> Option<String> {
        let row = self.row;
        let d = row.difference?;
        if !change(d) {
            return Some(format!("the difference {d} is not in -1 to 1"));
        }
        if let Some(lower) = row.lower.filter(|lower| !(lower.is_finite() && *lower <= d + ROUNDING)) {
            return Some(format!("the lower bound {lower} is above the difference {d}"));
        }
        if let Some(upper) = row.upper.filter(|upper| !(upper.is_finite() && *upper >= d - ROUNDING)) {
            return Some(format!("the upper bound {upper} is below the difference {d}"));
        }
        if let Some(sd) = row.sd.filter(|sd| !(sd.is_finite() && *sd >= 0.0)) {
            return Some(format!("the deviation is {sd}"));
        }
        let min = row.min.filter(|min| !change(*min) || *min > d + ROUNDING)?;
        Some(format!("the smallest difference {min} is above the mean {d}, or not in -1 to 1"))
    }

    /// What the least difference and the number of changes leave to mean and deviation.
    fn spread(&self) -> Option<String> {
        let row = self.row;
        let (d, sd, min, changed) = (row.difference?, row.sd?, row.min?, row.nonzero?);
        if changed == 0 {
            let still = [d, sd, min].iter().all(|x| x.abs() <= ROUNDING);
            return (!still)
                .then(|| format!("nothing changed, and yet the difference is {d}, s {sd}, the smallest {min}"));
        }
        if row.clusters.is_some() || row.n < 2 {
            return None;
        }
        let (n, k) = (count(row.n), count(changed));
        let possible = d.abs() <= k / n + ROUNDING && d >= min.min(0.0) * k / n - ROUNDING;
        if !possible || (k < n && min > ROUNDING) {
            return Some(format!("{changed} of {} differences, {min} the smallest, do not make a mean of {d}", row.n));
        }
        let below = (d - min - ROUNDING).max(0.0);
        let by_least = below * n.sqrt() / (n - 1.0);
        let by_changed = (d.abs() - ROUNDING).max(0.0) * (n * (n - k) / (k * (n - 1.0))).sqrt();
        let least = by_least.max(by_changed) - ROUNDING;
        let most = ((d - min + ROUNDING) * (1.0 - d + ROUNDING) * n / (n - 1.0)).max(0.0).sqrt() + ROUNDING;
        (!(least..=most).contains(&sd))
            .then(|| format!("s is {sd}; with these differences it lies in {:.6} to {most:.6}", least.max(0.0)))
    }

    fn whole(&self) -> Option<Whole> {
        let row = self.row;
        let (units, d, sd) = (count(row.units()), row.difference?, row.sd?);
        (units > 1.0).then_some(Whole { units, d, sd, lower: row.lower?, upper: row.upper? })
    }

    fn bounds(&self) -> Option<String> {
        let whole = self.whole()?;
        let windows = match self.statistics.method {
            Method::PairedSignFlip | Method::PairedT => self.student(whole)?,
            Method::BoundedMean if self.row.clusters.is_none() => bounded_mean(whole, self.statistics.alpha),
            // How much a cluster could have lost is not told.
            Method::BoundedMean => return None,
        };
        let named = [("lower", whole.lower), ("upper", whole.upper)].into_iter().zip(windows);
        named.into_iter().find_map(|((name, found), (low, high))| {
            (!(low..=high).contains(&found))
                .then(|| format!("the {name} bound is {found}; D, s and n make it lie in {low:.6} to {high:.6}"))
        })
    }

    fn student(&self, whole: Whole) -> Option<[(f64, f64); 2]> {
        let factor = t_quantile(1.0 - self.statistics.alpha, whole.units - 1.0)? / whole.units.sqrt();
        let (half, room) = (factor * whole.sd, ROUNDING * (1.0 + factor));
        let around = |x: f64| (x - room, x + room);
        Some([around(whole.d - half), around(whole.d + half)])
    }

    fn p(&self) -> Option<String> {
        let p = self.row.p?;
        let units = self.row.units();
        let least =
            if units <= EXACT_UP_TO as u64 { 0.5_f64.powf(count(units)) } else { 1.0 / (f64::from(DRAWS) + 1.0) };
        // Six decimals; p is above 0 even so.
        (!(p > 0.0 && p <= 1.0 && p >= least - ROUNDING))
            .then(|| format!("p is {p}; with {units} independent units it lies in {least:.6} to 1"))
    }

    /// The largest p of "not worse" that these differences can have, after Holm: random signs reach a sum of size T with
    /// a probability of at most [`holm::tail`].
    fn most_harm(&self, guardrails: u64) -> Option<f64> {
        let row = self.row;
        let (d, sd, n) = (row.difference?, row.sd?, count(row.n));
        if row.clusters.is_some() || d >= 0.0 || n < 2.0 {
            return None;
        }
        let squares = (n - 1.0) * (sd + ROUNDING).powi(2) + n * (d - ROUNDING).powi(2);
        let sum = n * (-d - ROUNDING).max(0.0);
        let p = holm::tail(sum, squares);
        let draws = f64::from(DRAWS);
        let drawn = p + NEVER * (p / draws).sqrt() + NEVER * NEVER / draws;
        Some((count(guardrails.max(1)) * drawn).min(1.0) + ROUNDING)
    }
}

/// Where the alpha quantile of Σ w·d ∓ w0 can lie, w from Dirichlet (1, …, 1): by its mean and variance, which D, s and n
/// give, and Cantelli's inequality, for every quantile that 10,000 draws can take for it.
fn bounded_mean(whole: Whole, alpha: f64) -> [(f64, f64); 2] {
    let Whole { units: n, d, sd, .. } = whole;
    let (least, most) = ((alpha - off(alpha)).max(1e-6), (alpha + off(alpha)).min(0.5));
    let (down, up) = (((1.0 - least) / least).sqrt(), (most / (1.0 - most)).sqrt());
    // Of the lower bound; the upper one is that of the negative differences, with its sign turned.
    let window = |d: f64| {
        let mean = (n * d - 1.0) / (n + 1.0);
        let squares = (n - 1.0) * (sd + ROUNDING).powi(2) + n * d * d + 1.0;
        let deviation = ((squares / (n + 1.0) - mean * mean).max(0.0) / (n + 2.0)).sqrt();
        ((mean - down * deviation).max(-1.0) - ROUNDING, (mean + up * deviation).min(d) + ROUNDING)
    };
    let (of_lower, of_upper) = (window(d), window(-d));
    [of_lower, (-of_upper.1, -of_upper.0)]
}

/// How far from alpha the level of a drawn quantile can be.
fn off(alpha: f64) -> f64 {
    NEVER * (alpha * (1.0 - alpha) / f64::from(DRAWS)).sqrt()
}

/// Counts that are judged stay far below 2^53.
fn count(n: u64) -> f64 {
    n as f64
}

/// A count that was below 0 in a receipt has no number of its own.
fn shown(n: u64) -> String {
    if n == u64::MAX { "a number below 0".to_owned() } else { n.to_string() }
}
