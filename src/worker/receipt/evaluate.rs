//! The receipt of a retrieval run: what the verdict needs and no more, in arrays, to stay below 4,096 bytes.
//!
//! Invariants: a field that is missing refuses the receipt, `null` says that it does not apply; a report gives back
//! exactly the evidence that it was made of.

use serde::{Deserialize, Deserializer, Serialize};

use super::whole;
use crate::evaluation::verdict::{Coverage, Evidence, Row, SliceRow, Unjudged, Worst};

/// Result of a retrieval run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateReport {
    /// See [`crate::worker::job::run_inputs`].
    pub inputs: String,
    /// [queries, answered by candidate, answered by baseline, unjudged, without relevant document, guardrails]
    pub n: [Option<i64>; 6],
    /// Share of unjudged documents among the first ten of candidate and baseline; mean difference and upper bound of
    /// the first metric on condensed lists.
    #[serde(deserialize_with = "present")]
    pub unj: Option<[Option<f64>; 4]>,
    /// In the gate's order.
    pub metrics: Vec<MetricRow>,
    /// [slice, metric, Holm-adjusted harm p, numbers as in `metrics`], at most 8.
    pub slices: Vec<SliceNumbers>,
    /// Slice of the lowest mean on the first metric: [slice, queries, candidate, baseline].
    #[serde(deserialize_with = "present")]
    pub worst: Option<(i64, i64, f64, Option<f64>)>,
    /// Names of the slices above, in the order in which they first stand there.
    pub names: Vec<String>,
    /// What became of the files that the gate asks for; absent where it asks for none. No verdict reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<super::Kept>,
}

/// [slice, metric, Holm-adjusted harm p, numbers]
type SliceNumbers = (i64, i64, Option<f64>, MetricRow);

/// Numbers of one metric: [queries, clusters, candidate, baseline, lower bound of candidate, s, difference, L, U, p,
/// non-zero differences, smallest difference].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricRow(
    pub i64,
    pub Option<i64>,
    pub f64,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<f64>,
    pub Option<i64>,
    pub Option<f64>,
);

/// Counts of a run that no verdict reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Queries that the file or a run names and nobody judged.
    pub unjudged: usize,
    /// Judged queries without a relevant document.
    pub without_relevant: usize,
}

/// A field that must be written, be it as `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

/// A count below 0 becomes one that exceeds whatever it is a part of, so that the verdict refuses it.
fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl From<&Row> for MetricRow {
    fn from(row: &Row) -> Self {
        Self(
            whole(row.n),
            row.clusters.map(whole),
            row.candidate,
            row.baseline,
            row.candidate_lower,
            row.sd,
            row.difference,
            row.lower,
            row.upper,
            row.p,
            row.nonzero.map(whole),
            row.min,
        )
    }
}

impl From<&MetricRow> for Row {
    fn from(found: &MetricRow) -> Self {
        let MetricRow(n, clusters, candidate, baseline, candidate_lower, sd, difference, lower, upper, p, nonzero, min) =
            *found;
        Self {
            n: count(n),
            clusters: clusters.map(count),
            candidate,
            baseline,
            candidate_lower,
            sd,
            difference,
            lower,
            upper,
            p,
            nonzero: nonzero.map(count),
            min,
        }
    }
}

impl EvaluateReport {
    /// What a run saw and found.
    pub fn new(inputs: String, counts: Counts, evidence: &Evidence) -> Self {
        let mut named: Vec<(usize, &str)> = Vec::new();
        let rows = evidence.slices.iter().map(|row| (row.slice, row.name.as_str()));
        for (slice, name) in rows.chain(evidence.worst.iter().map(|worst| (worst.slice, worst.name.as_str()))) {
            if named.iter().all(|(known, _)| *known != slice) {
                named.push((slice, name));
            }
        }
        Self {
            inputs,
            n: [
                Some(whole(evidence.coverage.queries)),
                Some(whole(evidence.coverage.candidate)),
                evidence.coverage.baseline.map(whole),
                Some(whole(counts.unjudged)),
                Some(whole(counts.without_relevant)),
                evidence.guardrails.map(whole),
            ],
            unj: evidence.unjudged.map(|u| [Some(u.candidate), Some(u.baseline), Some(u.difference), u.upper]),
            metrics: evidence.rows.iter().map(MetricRow::from).collect(),
            slices: evidence
                .slices
                .iter()
                .map(|row| (whole(row.slice), whole(row.metric), row.harm, MetricRow::from(&row.row)))
                .collect(),
            worst: evidence.worst.as_ref().map(|w| (whole(w.slice), whole(w.n), w.candidate, w.baseline)),
            names: named.into_iter().map(|(_, name)| name.to_owned()).collect(),
            report: None,
        }
    }

    /// The numbers for the verdict, which refuses those that contradict each other. `compared`: whether the plan names a baseline; a count that is missing then is 0
    /// answers, so it never passes. `promoted`: see [`Evidence::promoted`].
    pub fn evidence(&self, compared: bool, promoted: Vec<f64>) -> Evidence {
        let [queries, candidate, baseline, _, _, guardrails] = self.n.map(|n| n.and_then(|n| u64::try_from(n).ok()));
        let coverage = Coverage {
            queries: queries.unwrap_or(0),
            candidate: candidate.unwrap_or(0),
            baseline: compared.then_some(baseline.unwrap_or(0)),
        };
        let slices = self.slices.iter().map(|(slice, metric, harm, row)| SliceRow {
            slice: position(*slice),
            name: self.name(*slice),
            metric: position(*metric),
            harm: *harm,
            row: Row::from(row),
        });
        let worst = self.worst.map(|(slice, n, candidate, baseline)| Worst {
            slice: position(slice),
            name: self.name(slice),
            n: count(n),
            candidate,
            baseline,
        });
        // A share that is missing is no share: the verdict refuses it.
        let unjudged = self.unj.map(|[candidate, baseline, difference, upper]| Unjudged {
            candidate: candidate.unwrap_or(-1.0),
            baseline: baseline.unwrap_or(-1.0),
            difference: difference.unwrap_or(0.0),
            upper,
        });
        Evidence {
            coverage,
            rows: self.metrics.iter().map(Row::from).collect(),
            unjudged,
            guardrails,
            slices: slices.collect(),
            worst,
            promoted,
        }
    }

    /// The name of a slice: names stand in the order in which slices first appear. Empty where it is missing, which is
    /// the name of no slice.
    fn name(&self, slice: i64) -> String {
        let mut seen: Vec<i64> = Vec::new();
        for index in self.slices.iter().map(|(slice, ..)| *slice).chain(self.worst.map(|(slice, ..)| slice)) {
            if !seen.contains(&index) {
                seen.push(index);
            }
        }
        let at = seen.iter().position(|index| *index == slice);
        at.and_then(|at| self.names.get(at)).cloned().unwrap_or_default()
    }
}

/// An index that is none points beyond every list.
fn position(index: i64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::receipt::{Body, MAX_BYTES, Receipt};

    /// Every number at its longest: counts of 7 digits, six decimals, a sign.
    fn longest() -> Row {
        Row {
            n: 9_999_999,
            clusters: Some(9_999_999),
            candidate: 0.123_456,
            baseline: Some(0.123_456),
            candidate_lower: Some(0.123_456),
            sd: Some(1.123_456),
            difference: Some(-0.123_456),
            lower: Some(-12.123_456),
            upper: Some(-12.123_456),
            p: Some(0.123_456),
            nonzero: Some(9_999_999),
            min: Some(-0.123_456),
        }
    }

    fn largest() -> Evidence {
        let name = |i: usize| format!("{i}{}", "n".repeat(62));
        let slices = (0..8).map(|i| SliceRow {
            slice: 9_999_990 + i,
            name: name(i),
            metric: 7,
            harm: Some(0.123_456),
            row: longest(),
        });
        Evidence {
            coverage: Coverage { queries: 9_999_999, candidate: 9_999_999, baseline: Some(9_999_999) },
            rows: vec![longest(); 8],
            unjudged: Some(Unjudged {
                candidate: 0.123_456,
                baseline: 0.123_456,
                difference: -0.123_456,
                upper: Some(-12.123_456),
            }),
            guardrails: Some(9_999_999),
            slices: slices.collect(),
            worst: Some(Worst {
                slice: 9_999_999,
                name: name(9),
                n: 9_999_999,
                candidate: 0.123_456,
                baseline: Some(0.123_456),
            }),
            promoted: vec![],
        }
    }

    fn line(evidence: &Evidence) -> String {
        let counts = Counts { unjudged: 9_999_999, without_relevant: 9_999_999 };
        let report = EvaluateReport::new("f".repeat(64), counts, evidence);
        Receipt { v: 1, run: "r".repeat(72), body: Body::Evaluate(Box::new(report)) }.to_line().unwrap()
    }

    fn read(line: &str) -> Result<EvaluateReport, String> {
        match Receipt::parse(line, &"r".repeat(72)).map_err(|e| e.to_string())?.body {
            Body::Evaluate(report) => Ok(*report),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_largest_receipt_fits_with_room_for_a_report_and_comes_back_whole() {
        let largest = largest();
        let line = line(&largest);
        // `report`, which comes with the file of a run, takes 351 bytes at most.
        assert!(line.len() + 351 <= MAX_BYTES, "{}", line.len());
        assert_eq!(read(&line).unwrap().evidence(true, Vec::new()), largest);
    }

    #[test]
    fn what_does_not_apply_is_null_and_comes_back_so() {
        let first = Evidence {
            coverage: Coverage { queries: 10, candidate: 10, baseline: None },
            rows: vec![Row::absolute(10, 0.5)],
            unjudged: None,
            guardrails: None,
            slices: Vec::new(),
            worst: None,
            promoted: vec![0.1],
        };
        let line = line(&first);
        assert!(line.contains("\"unj\":null") && line.contains("[10,null,0.5,null,"), "{line}");
        assert_eq!(read(&line).unwrap().evidence(false, vec![0.1]), first);
        // The plan says that there is a baseline: its missing count is no answer.
        assert_eq!(read(&line).unwrap().evidence(true, vec![]).coverage.baseline, Some(0));
    }

    #[test]
    fn a_name_is_told_once_and_found_by_its_first_place() {
        let mut evidence = largest();
        for (i, row) in evidence.slices.iter_mut().enumerate() {
            (row.slice, row.name) = if i % 2 == 0 { (3, "k=even".to_owned()) } else { (1, "k=odd".to_owned()) };
        }
        evidence.worst = Some(Worst { slice: 1, name: "k=odd".to_owned(), ..evidence.worst.unwrap() });
        let report = read(&line(&evidence)).unwrap();
        assert_eq!(report.names, ["k=even", "k=odd"]);
        assert_eq!(report.evidence(true, vec![]), evidence);
    }

    #[test]
    fn a_field_or_a_number_that_is_missing_refuses_the_receipt() {
        let whole = line(&largest());
        let mut value: serde_json::Value = serde_json::from_str(&whole).unwrap();
        for field in ["inputs", "n", "unj", "metrics", "slices", "worst", "names"] {
            let mut cut = value.clone();
            cut.as_object_mut().unwrap().remove(field).unwrap();
            let error = read(&cut.to_string()).unwrap_err();
            assert!(error.contains("missing field") && error.contains(field), "{error}");
        }
        for path in ["/metrics/0", "/slices/0/3", "/slices/0", "/n", "/unj", "/worst"] {
            let mut cut = value.clone();
            cut.pointer_mut(path).unwrap().as_array_mut().unwrap().pop().unwrap();
            assert!(read(&cut.to_string()).is_err(), "{path}");
        }
        *value.pointer_mut("/metrics/0/2").unwrap() = serde_json::json!("NaN");
        assert!(read(&value.to_string()).is_err());
    }
}
