//! The numbers of one or two arms on one query set: a row a metric, and rows of its slices.
//!
//! Invariants: a judged query that an arm did not answer counts 0 in its mean, and one that the baseline did not answer is
//! not in the paired test; queries on which a metric cannot differ, such as
//! those without a relevant document, count in the means and not in the paired test (their difference is 0 by
//! construction); a query without nuggets is in no row of a metric of nuggets; a row is rounded to six
//! decimals, so that the receipt, the command line and the operator judge the same numbers.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::condensed::{condensed, pooled, unjudged_share};
use super::dataset::Dataset;
use super::holm;
use super::inference::{bounded, differences, harm, lower_of_mean, rounded};
use super::metric::{Gains, Metric};
use super::paired::{DRAWS, Seed, sign_flip_ps};
use super::run::Run;
use super::sample::Sample;
use super::slice::{Slice, clusters, slices};
use super::verdict::{
    Coverage, Criteria, Evidence, MAX_SLICE_ROWS, Margin, Method, Row, Rule, SLICE_MARGINS, SliceRow, SliceRules,
    Statistics, Unjudged, Worst, guarded, is_required, judged_by,
};

/// Smallest p of harm that is told.
const LEAST_HARM: f64 = 1e-6;

/// Values of one arm: for each judged query (bytewise ascending) one value a metric.
pub type Values = Vec<Vec<f64>>;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// A row for each rule, in the same order.
    pub rows: Vec<Row>,
    /// A row for each slice and each rule that guards slices: required slices first, then those that lost twice the
    /// margin, then by Holm-adjusted p. The first [`MAX_SLICE_ROWS`] take part in the verdict.
    pub slices: Vec<SliceRow>,
    /// How many of these are guardrails; `None` without slices or a baseline.
    pub guardrails: Option<u64>,
    pub worst: Option<Worst>,
    pub unjudged_documents: Option<Unjudged>,
    pub candidate: Values,
    pub baseline: Option<Values>,
    /// Judged queries that the candidate's and the baseline's run do not name, those that are left out among them.
    pub missing: (usize, usize),
    /// Queries that the file or a run names and nobody judged.
    pub unjudged: usize,
    /// Judged queries without a relevant document.
    pub without_relevant: usize,
}

impl Comparison {
    /// What the verdict reads of it.
    pub fn evidence(&self, coverage: Coverage) -> Evidence {
        Evidence {
            coverage,
            rows: self.rows.clone(),
            unjudged: self.unjudged_documents,
            guardrails: self.guardrails,
            slices: self.slices.iter().take(MAX_SLICE_ROWS).cloned().collect(),
            worst: self.worst.clone(),
            promoted: Vec::new(),
        }
    }
}

/// Measures both arms. Seeds derive from `inputs`, the digest of what the run saw.
pub fn compare(
    dataset: &Dataset,
    criteria: &Criteria<'_>,
    inputs: &str,
    candidate: &Run,
    baseline: Option<&Run>,
) -> Comparison {
    let metrics: Vec<Metric> = criteria.rules.iter().map(Rule::metric).collect();
    let arms = Arms {
        candidate: values(dataset, &metrics, candidate),
        baseline: baseline.map(|run| values(dataset, &metrics, run)),
        roles: metrics.iter().map(|metric| roles(dataset, *metric, baseline)).collect(),
        clusters: criteria.statistics.cluster_by.as_deref().map(|key| clusters(dataset, key)),
        statistics: criteria.statistics,
        inputs,
    };
    let all: Vec<usize> = (0..dataset.judged_count()).collect();
    let rows = arms.proven(criteria.rules.iter().enumerate().map(|(i, rule)| arms.row(i, rule, &all, None)), "all");
    let groups = criteria.slices.map(|rules| slices(dataset, rules.by())).unwrap_or_default();
    let guards =
        criteria.slices.filter(|_| baseline.is_some()).map(|rules| arms.guards(criteria, rules, &rows, &groups));
    let named = || dataset.judged().map(|(query, _)| query).chain(dataset.left_out().iter().map(String::as_str));
    let missing = |run: &Run| named().filter(|query| run.list(query).is_none()).count();
    let (slices, guardrails) = guards.map_or((Vec::new(), None), |(rows, guardrails)| (rows, Some(guardrails)));
    Comparison {
        rows,
        slices,
        guardrails,
        worst: criteria.slices.and_then(|rules| arms.worst(rules, &groups)),
        unjudged_documents: baseline.and_then(|baseline| arms.unjudged(dataset, criteria.rules, candidate, baseline)),
        missing: (missing(candidate), baseline.map_or(0, missing)),
        unjudged: unjudged(dataset, candidate, baseline),
        without_relevant: dataset.judged().filter(|(_, judgments)| judgments.relevant() == 0).count(),
        candidate: arms.candidate,
        baseline: arms.baseline,
    }
}

/// What a query is to a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It has nothing that the metric counts.
    None,
    /// It counts in the mean; every list has the same value, or the baseline did not answer it.
    Mean,
    /// It counts in the mean and in the paired test.
    Test,
}

/// A query that the baseline did not answer is compared with nothing: the 0 that it counts in the baseline's mean would be a
/// win of any candidate. What the candidate did not answer is lost.
fn roles(dataset: &Dataset, metric: Metric, baseline: Option<&Run>) -> Vec<Role> {
    let of_query = |(query, judgments): (&str, _)| {
        let answered = baseline.is_none_or(|baseline| baseline.answered(query));
        match (metric.counts(judgments), metric.can_differ(judgments) && answered) {
            (false, _) => Role::None,
            (true, false) => Role::Mean,
            (true, true) => Role::Test,
        }
    };
    dataset.judged().map(of_query).collect()
}

fn values(dataset: &Dataset, metrics: &[Metric], run: &Run) -> Values {
    let pool = metrics.iter().any(|metric| metric.needs_pool()).then(|| dataset.pool());
    let of_query = |(query, judgments)| {
        let gains = Gains::of_list(judgments, run.list(query).unwrap_or_default(), pool.as_ref());
        metrics.iter().map(|metric| metric.value(&gains)).collect()
    };
    dataset.judged().map(of_query).collect()
}

fn unjudged(dataset: &Dataset, candidate: &Run, baseline: Option<&Run>) -> usize {
    let judged: BTreeSet<&str> = dataset.judged().map(|(query, _)| query).collect();
    let named = dataset.unjudged().chain(candidate.queries()).chain(baseline.into_iter().flat_map(Run::queries));
    named.filter(|query| !judged.contains(query) && !dataset.left_out().contains(*query)).collect::<BTreeSet<_>>().len()
}

/// A row whose p is still to be drawn: the differences and the margin that they are tested against.
struct Unproven {
    row: Row,
    test: Option<(Sample, f64)>,
}

/// A part of the queries.
struct Part<'a> {
    name: &'a str,
    /// The gate's margin, where the part must pass like the whole.
    margin: Option<f64>,
}

/// The values of both arms, and how they are compared.
struct Arms<'a> {
    candidate: Values,
    baseline: Option<Values>,
    /// For each metric what each query is to it.
    roles: Vec<Vec<Role>>,
    /// Cluster of each query.
    clusters: Option<Vec<usize>>,
    statistics: &'a Statistics,
    inputs: &'a str,
}

impl Arms<'_> {
    /// Numbers of one metric over some queries. `slice`: what they are, where they are not all.
    fn row(&self, metric: usize, rule: &Rule, queries: &[usize], slice: Option<Part<'_>>) -> Unproven {
        let queries = &self.counted(metric, queries);
        let candidate = column(&self.candidate, metric, queries);
        let label = match &slice {
            None => rule.metric().to_string(),
            Some(part) => format!("{} {}", rule.metric(), part.name),
        };
        let of_candidate = self.sample(&candidate, queries);
        let must_pass = slice.as_ref().is_none_or(|part| part.margin.is_some());
        let lower = |sample: &Sample| rounded(lower_of_mean(sample, self.statistics.alpha, self.seed(&label, "mean")));
        let row = Row {
            clusters: of_candidate.as_ref().and_then(Sample::clusters).map(|n| n as u64),
            candidate_lower: of_candidate.as_ref().filter(|_| rule.confident() && must_pass).map(lower),
            ..Row::absolute(candidate.len() as u64, rounded(mean(&candidate)))
        };
        let Some(baseline) = self.baseline.as_ref().map(|values| column(values, metric, queries)) else {
            return Unproven { row, test: None };
        };
        let baseline_mean = rounded(mean(&baseline));
        let compared = Row { n: 0, clusters: None, baseline: Some(baseline_mean), ..row };
        let estimated = rule.margin().filter(|_| slice.is_none()).map_or(0.0, Margin::share);
        let Some(sample) = self.differences(metric, &candidate, &baseline, queries, estimated) else {
            return Unproven { row: compared, test: None };
        };
        let margin = match slice {
            None => rule.margin().and_then(|margin| margin.against(Some(baseline_mean))),
            Some(part) => part.margin,
        };
        let bounded = bounded(&sample, self.statistics, (self.inputs, &label), DRAWS);
        let row = Row {
            candidate: compared.candidate,
            baseline: compared.baseline,
            candidate_lower: compared.candidate_lower,
            ..bounded
        };
        let tests = self.statistics.method == Method::PairedSignFlip;
        Unproven { row, test: margin.filter(|_| tests).map(|margin| (sample, margin)) }
    }

    /// Rows with their p. The metrics of the same queries are tested with the same signs, all at once.
    fn proven(&self, rows: impl Iterator<Item = Unproven>, part: &str) -> Vec<Row> {
        let rows: Vec<Unproven> = rows.collect();
        let tests: Vec<(&Sample, f64)> =
            rows.iter().filter_map(|row| row.test.as_ref()).map(|(sample, margin)| (sample, *margin)).collect();
        let mut found = sign_flip_ps(&tests, self.seed(part, "signs"), DRAWS).into_iter();
        let p = |test: Option<&(Sample, f64)>| test.and_then(|_| found.next()).map(rounded);
        let ps: Vec<Option<f64>> = rows.iter().map(|row| row.test.as_ref()).map(p).collect();
        rows.into_iter().zip(ps).map(|(unproven, p)| Row { p, ..unproven.row }).collect()
    }

    fn seed(&self, label: &str, what: &str) -> Seed {
        Seed::of(self.inputs, &format!("{label} {what}"))
    }

    fn sample(&self, values: &[f64], queries: &[usize]) -> Option<Sample> {
        match &self.clusters {
            None => Sample::plain(values),
            Some(clusters) => {
                let of_values: Vec<usize> = queries.iter().filter_map(|q| clusters.get(*q).copied()).collect();
                Sample::clustered(values, &of_values)
            }
        }
    }

    fn role(&self, metric: usize, query: usize) -> Role {
        self.roles.get(metric).and_then(|roles| roles.get(query)).copied().unwrap_or(Role::None)
    }

    /// Those of the queries that have what the metric counts.
    fn counted(&self, metric: usize, queries: &[usize]) -> Vec<usize> {
        queries.iter().copied().filter(|query| self.role(metric, *query) != Role::None).collect()
    }

    /// The differences of the queries on which lists can differ. `share`: what the margin is of the baseline's mean.
    fn differences(
        &self,
        metric: usize,
        candidate: &[f64],
        baseline: &[f64],
        queries: &[usize],
        share: f64,
    ) -> Option<Sample> {
        let pairs = candidate.iter().copied().zip(baseline.iter().copied()).zip(queries.iter().copied());
        let testable = pairs.filter(|(_, query)| self.role(metric, *query) == Role::Test);
        let (pairs, queries): (Vec<(f64, f64)>, Vec<usize>) = testable.unzip();
        self.sample(&differences(&pairs, share), &queries)
    }

    /// Rows of the slices in the order of a receipt, and how many of them are guardrails.
    fn guards(
        &self,
        criteria: &Criteria<'_>,
        rules: &SliceRules,
        whole: &[Row],
        groups: &[Slice],
    ) -> (Vec<SliceRow>, u64) {
        let guarding = || criteria.rules.iter().enumerate().filter(|(_, rule)| guarded(rule));
        let mut rows = Vec::new();
        let mut samples = Vec::new();
        for (slice, group) in groups.iter().enumerate() {
            let unproven = guarding().map(|(metric, rule)| {
                let margin = limit(criteria, whole, metric).filter(|_| is_required(rules, &group.name));
                self.row(metric, rule, &group.queries, Some(Part { name: &group.name, margin }))
            });
            for ((metric, _), row) in guarding().zip(self.proven(unproven, &group.name)) {
                let large = row.n >= rules.min_queries();
                samples.push(self.slice_differences(metric, &group.queries).filter(|_| large));
                rows.push(SliceRow { slice, name: group.name.clone(), metric, harm: None, row });
            }
        }
        let guardrails = samples.iter().flatten().count();
        let harm: Vec<(usize, f64)> = samples
            .iter()
            .zip(&rows)
            .enumerate()
            .filter_map(|(i, (sample, row))| {
                let label = format!("{} {}", row.metric, row.name);
                Some((i, harm(sample.as_ref()?, self.seed(&label, "harm"))))
            })
            .collect();
        let adjusted = holm::adjusted(&harm.iter().map(|(_, p)| *p).collect::<Vec<_>>());
        for ((i, _), p) in harm.iter().zip(adjusted) {
            if let Some(row) = rows.get_mut(*i) {
                // A p is above 0, with six decimals too.
                row.harm = Some(rounded(p).max(LEAST_HARM));
            }
        }
        let order = |row: &SliceRow| order(criteria, rules, whole, row);
        rows.sort_by(|a, b| order(a).partial_cmp(&order(b)).unwrap_or(Ordering::Equal));
        (rows, guardrails as u64)
    }

    fn slice_differences(&self, metric: usize, queries: &[usize]) -> Option<Sample> {
        let baseline = column(self.baseline.as_ref()?, metric, queries);
        self.differences(metric, &column(&self.candidate, metric, queries), &baseline, queries, 0.0)
    }

    /// The slice of the lowest mean on the first metric, of those that are large enough.
    fn worst(&self, rules: &SliceRules, groups: &[Slice]) -> Option<Worst> {
        let counted = groups.iter().enumerate().map(|(slice, group)| (slice, group, self.counted(0, &group.queries)));
        let large = counted.filter(|(_, _, queries)| queries.len() as u64 >= rules.min_queries());
        let of_group = |(slice, group, queries): (usize, &Slice, Vec<usize>)| Worst {
            slice,
            name: group.name.clone(),
            n: queries.len() as u64,
            candidate: rounded(mean(&column(&self.candidate, 0, &queries))),
            baseline: self.baseline.as_ref().map(|values| rounded(mean(&column(values, 0, &queries)))),
        };
        large.map(of_group).min_by(|a, b| a.candidate.total_cmp(&b.candidate))
    }

    fn unjudged(&self, dataset: &Dataset, rules: &[Rule], candidate: &Run, baseline: &Run) -> Option<Unjudged> {
        let (column, metric) = judged_by(rules).filter(|_| pooled(dataset))?;
        let queries: Vec<usize> = (0..dataset.judged_count()).collect();
        let (of_candidate, of_baseline) = (condensed(dataset, metric, candidate), condensed(dataset, metric, baseline));
        let sample = self.differences(column, &of_candidate, &of_baseline, &queries, 0.0)?;
        Some(Unjudged {
            candidate: rounded(unjudged_share(dataset, candidate)),
            baseline: rounded(unjudged_share(dataset, baseline)),
            difference: rounded(sample.mean()),
            upper: bounded(&sample, self.statistics, (self.inputs, "condensed"), DRAWS).upper,
        })
    }
}

/// Where a row stands: required slices, then those that lost enough to fail the gate, then by p.
fn order(
    criteria: &Criteria<'_>,
    rules: &SliceRules,
    whole: &[Row],
    row: &SliceRow,
) -> (bool, bool, f64, usize, usize) {
    let margin = limit(criteria, whole, row.metric);
    let lost = row.harm.is_some()
        && row.row.difference.zip(margin).is_some_and(|(difference, margin)| difference <= -SLICE_MARGINS * margin);
    (!is_required(rules, &row.name), !lost, row.harm.unwrap_or(2.0), row.slice, row.metric)
}

/// The drop that a metric may have, of the whole and of a required slice.
fn limit(criteria: &Criteria<'_>, whole: &[Row], metric: usize) -> Option<f64> {
    let margin = criteria.rules.get(metric)?.margin()?;
    margin.against(whole.get(metric)?.baseline)
}

fn column(values: &Values, metric: usize, queries: &[usize]) -> Vec<f64> {
    queries.iter().filter_map(|query| values.get(*query)?.get(metric).copied()).collect()
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::dataset::Files;
    use crate::evaluation::domains;
    use crate::evaluation::run::Hit;
    use crate::evaluation::verdict::{GateJudged, Margin, Reason, Verdict, Wanted, judge};

    fn dataset() -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        let queries: String = ["q1", "q2", "q3", "q4", "q5", "q9"]
            .iter()
            .map(|q| format!("{{\"_id\":\"{q}\",\"text\":\"t\"}}\n"))
            .collect();
        std::fs::write(files.queries.as_ref().unwrap(), queries).unwrap();
        let qrels = "query-id\tcorpus-id\tscore\nq1\td1\t3\nq1\td2\t2\nq1\td3\t1\nq1\td4\t0\nq2\ta\t1\nq2\tb\t1\nq2\tc\t0\n\
            q3\tx\t0\nq3\ty\t0\nq4\tm\t1\nq5\tn\t2\nq5\to\t-1\nq5\tp\t1\n";
        std::fs::write(&files.qrels, qrels).unwrap();
        Dataset::read(&files).unwrap()
    }

    fn run(lists: &[(&str, &[(&str, f64)])]) -> Run {
        let mut run = Run::default();
        for (query, hits) in lists {
            let hits = hits.iter().map(|(d, s)| Hit { document: (*d).to_owned(), score: *s }).collect();
            run.insert((*query).to_owned(), hits);
        }
        run.found_nothing();
        run
    }

    fn golden_run() -> Run {
        run(&[
            ("q1", &[("d4", 0.9), ("d1", 0.8), ("zz", 0.7), ("d3", 0.6)]),
            ("q2", &[("a", 0.5), ("b", 0.5), ("c", 0.5)]),
            ("q3", &[("x", 0.5)]),
            ("q5", &[("o", 0.9), ("n", 0.800_000_000_1), ("p", 0.800_000_000_2)]),
            ("q6", &[("n", 0.8)]),
        ])
    }

    fn rule(name: &str) -> Rule {
        Rule::new(name, Wanted { margin: Some(Margin::Absolute(0.05)), ..Wanted::default() }).unwrap()
    }

    /// Both arms, by these rules and a method, without slices.
    fn measured(rules: &[Rule], method: Method, candidate: &Run, baseline: Option<&Run>) -> Comparison {
        let statistics = Statistics { method, ..Statistics::default() };
        let criteria = Criteria { rules, statistics: &statistics, slices: None, max_cumulative_drop: None };
        compare(&dataset(), &criteria, "i", candidate, baseline)
    }

    #[test]
    fn means_equal_those_of_trec_eval_and_odd_queries_are_counted() {
        let rules = [rule("ndcg@3"), rule("map")];
        let found = measured(&rules, Method::PairedSignFlip, &golden_run(), None);
        let means: Vec<f64> = found.rows.iter().map(|r| (r.candidate * 1e4).round() / 1e4).collect();
        assert_eq!(means, [0.3422, 0.3]);
        assert_eq!(found.rows[0].n, 5);
        assert_eq!(found.missing, (1, 0));
        assert_eq!(found.unjudged, 2, "q9 of the file and q6 of the run");
        assert_eq!(found.without_relevant, 1);
        assert_eq!(found.candidate.len(), 5);
    }

    #[test]
    fn the_paired_test_leaves_out_queries_without_a_relevant_document() {
        let baseline = run(&[("q1", &[("d1", 1.0)]), ("q3", &[("y", 1.0)])]);
        let rules = [rule("success@1")];
        let found = measured(&rules, Method::PairedSignFlip, &golden_run(), Some(&baseline));
        let row = found.rows[0];
        assert_eq!((row.n, row.candidate, row.baseline), (4, 0.0, Some(0.2)));
        assert_eq!((row.nonzero, row.min), (Some(1), Some(-1.0)));
        assert_eq!(row.difference, Some(-0.25));
        assert!(row.p.unwrap() > 0.5);
        let found = measured(&rules, Method::PairedT, &golden_run(), Some(&baseline));
        assert_eq!(found.rows[0].p, None);
    }

    #[test]
    fn equal_inputs_give_equal_bits() {
        let baseline = run(&[("q1", &[("d1", 1.0)])]);
        let rules = [rule("ndcg@10"), rule("mrr")];
        let once = || measured(&rules, Method::BoundedMean, &golden_run(), Some(&baseline));
        assert_eq!(format!("{:?}", once()), format!("{:?}", once()));
    }

    /// The run of five domains, its numbers and its verdict.
    fn domains(slices: Option<(&[&str], Option<f64>)>, statistics: &Statistics) -> (Comparison, GateJudged) {
        let wanted = Wanted { margin: Some(Margin::Absolute(0.02)), ..Wanted::default() };
        let rules = [Rule::new("P@20", wanted).unwrap()];
        let slices = slices.map(|(required, floor)| {
            let required = required.iter().map(|s| (*s).to_owned()).collect();
            SliceRules::new(vec!["domain".to_owned()], 30, floor, required, &rules).unwrap()
        });
        let criteria = Criteria { rules: &rules, statistics, slices: slices.as_ref(), max_cumulative_drop: None };
        let (set, baseline) = (domains::dataset(), domains::baseline());
        let found = compare(&set, &criteria, "i", &domains::candidate(), Some(&baseline));
        let coverage = Coverage { queries: 300, candidate: 300, baseline: Some(300) };
        let judged = judge(&criteria, &found.evidence(coverage));
        (found, judged)
    }

    #[test]
    fn a_domain_that_breaks_fails_the_sliced_gate_and_passes_the_whole_one() {
        let (found, judged) = domains(None, &Statistics::default());
        let row = found.rows[0];
        assert_eq!((row.n, row.difference), (300, Some(0.016)));
        assert!((row.lower.unwrap() + 0.008).abs() < 0.001, "{row:?}");
        assert_eq!(judged.gate.reason, Reason::NonInferior);

        let (found, judged) = domains(Some((&[], None)), &Statistics::default());
        assert_eq!((judged.gate.reason, judged.gate.verdict()), (Reason::SliceRegression, Verdict::Fail));
        assert_eq!((found.slices.len(), found.guardrails), (5, Some(5)));
        let worst = &found.slices[0];
        assert_eq!((worst.name.as_str(), worst.slice, worst.row.n), ("domain=legal", 2, 60));
        assert_eq!(worst.row.difference, Some(-0.12));
        let t = worst.row.difference.unwrap() / (worst.row.sd.unwrap() / 60_f64.sqrt());
        assert!((t + 3.72).abs() < 0.02, "{t}");
        // p of about .0002, times five.
        assert!((0.0005..0.003).contains(&worst.harm.unwrap()), "{:?}", worst.harm);
        let legal = found.worst.unwrap();
        assert_eq!(
            (legal.name.as_str(), legal.n, legal.candidate, legal.baseline),
            ("domain=legal", 60, 0.38, Some(0.5))
        );
    }

    #[test]
    fn required_slices_come_first_and_are_tested_against_the_margin() {
        let (found, judged) = domains(Some((&["domain=tax"], Some(0.4))), &Statistics::default());
        assert_eq!((found.slices[0].name.as_str(), found.slices[1].name.as_str()), ("domain=tax", "domain=legal"));
        assert!(found.slices[0].row.p.is_some() && found.slices[1].row.p.is_none());
        // Fail goes before Inconclusive: 60 queries are too few for the margin of the required slice.
        assert_eq!(judged.gate.reason, Reason::SliceRegression);
        assert_eq!(judged.slices[0].judged.as_ref().unwrap().reason, Reason::TooFewQueries);
        assert!(
            judged.gate.sentence.contains("P@20 of domain=legal is 0.3800, the worst slice must have at least 0.4")
        );
    }

    #[test]
    fn clusters_and_bounded_means_widen_the_bounds() {
        let plain = domains(None, &Statistics::default()).0.rows[0];
        let by_source = Statistics { cluster_by: Some("source".to_owned()), ..Statistics::default() };
        let row = domains(None, &by_source).0.rows[0];
        assert_eq!((row.n, row.clusters, plain.clusters), (300, Some(150), None));
        assert_eq!(row.difference, plain.difference);
        let bounded = Statistics { method: Method::BoundedMean, ..Statistics::default() };
        let safe = domains(None, &bounded).0.rows[0];
        assert!(safe.lower < plain.lower && safe.p.is_none(), "{safe:?}");
        assert!(safe.upper > plain.upper, "{safe:?}");
        let both = Statistics { method: Method::BoundedMean, ..by_source };
        assert!(domains(None, &both).0.rows[0].lower < safe.lower);
    }

    #[test]
    fn a_lower_bound_of_the_mean_is_given_to_confident_floors_alone() {
        let sure = Wanted { floor: Some(0.1), confident: true, ..Wanted::default() };
        let rules = [Rule::new("ndcg@10", sure).unwrap(), rule("map")];
        let found = measured(&rules, Method::PairedSignFlip, &golden_run(), None);
        let lower = found.rows[0].candidate_lower.unwrap();
        assert!((0.0..found.rows[0].candidate).contains(&lower), "{lower}");
        assert_eq!(found.rows[1].candidate_lower, None);
        // Perfect on 20 queries is no proof of more than alpha^(1/20).
        let perfect = Sample::plain(&[1.0; 20]).unwrap();
        let lower = lower_of_mean(&perfect, 0.05, Seed::of("i", "m"));
        assert!((lower - 0.05_f64.powf(0.05)).abs() < 1e-12, "{lower}");
    }

    #[test]
    fn a_drawn_lower_bound_of_a_nearly_perfect_run_is_one_that_can_be() {
        use crate::evaluation::verdict::{Coverage, Evidence};
        let sure = Rule::new("P@1", Wanted { floor: Some(0.9), confident: true, ..Wanted::default() }).unwrap();
        let (rules, statistics) = ([sure], Statistics::default());
        let criteria = Criteria { rules: &rules, statistics: &statistics, slices: None, max_cumulative_drop: None };
        let mut values = vec![1.0; 1000];
        values[7] = 0.99;
        let sample = Sample::plain(&values).unwrap();
        for i in 0..20 {
            let lower = rounded(lower_of_mean(&sample, statistics.alpha, Seed::of("i", &i.to_string())));
            let row = Row { candidate_lower: Some(lower), ..Row::absolute(1000, rounded(mean(&values))) };
            let coverage = Coverage { queries: 1000, candidate: 1000, baseline: None };
            let (unjudged, guardrails, worst) = (None, None, None);
            let (rows, slices, promoted) = (vec![row], Vec::new(), Vec::new());
            let found = judge(&criteria, &Evidence { coverage, rows, unjudged, guardrails, slices, worst, promoted });
            assert_eq!(found.gate.reason, Reason::AbsoluteOnly, "{lower}: {}", found.gate.sentence);
        }
    }

    #[test]
    fn unjudged_documents_are_looked_at_where_judgments_are_pooled() {
        // q1, q2 and q3 of five have a rejected document.
        let rules = [rule("ndcg@3")];
        let better = run(&[("q1", &[("d1", 1.0)]), ("q2", &[("a", 1.0)]), ("q4", &[("m", 1.0)])]);
        let found = measured(&rules, Method::PairedT, &golden_run(), Some(&better));
        let unjudged = found.unjudged_documents.unwrap();
        // `zz` of q1 and `o` of q5, of fifty places.
        assert_eq!((unjudged.candidate, unjudged.baseline), (0.04, 0.0));
        assert!(unjudged.difference > found.rows[0].difference.unwrap());
        assert_eq!(measured(&rules, Method::PairedT, &golden_run(), None).unjudged_documents, None);
        // What counts unjudged documents cannot say what is left without them.
        let limit = Rule::new("unj@3", Wanted { max: Some(1.0), ..Wanted::default() }).unwrap();
        let behind = measured(&[limit, rules[0]], Method::PairedT, &golden_run(), Some(&better));
        assert_eq!(behind.unjudged_documents.unwrap(), unjudged);
        assert_eq!(measured(&[limit], Method::PairedT, &golden_run(), Some(&better)).unjudged_documents, None);
    }

    #[test]
    fn a_difference_of_nothing_is_plain_zero() {
        let rules = [rule("ndcg@10")];
        let same = golden_run();
        let row = measured(&rules, Method::PairedSignFlip, &same, Some(&same)).rows[0];
        assert_eq!(format!("{:?} {:?} {:?}", row.lower, row.upper, row.sd), "Some(0.0) Some(0.0) Some(0.0)");
        assert_eq!(rounded(-1e-9).to_bits(), 0.0_f64.to_bits());
    }
}
