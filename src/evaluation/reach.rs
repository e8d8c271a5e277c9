//! On how many queries of a data set a metric can tell two lists apart: known before any list is.
//!
//! Why: a query without a relevant document, or without a nugget, has one value for every list and never enters the paired
//! test; a set is as large as what enters it, and one that has nothing of it measures nothing.
//!
//! Invariant: the same queries count here as in [`super::compare`].

use super::dataset::Dataset;
use super::metric::{Judgments, Metric};
use super::slice::{clusters, distinct, slices};
use super::verdict::{Criteria, Reach, Rule, SliceReach, SliceRules, guarded, is_required};

/// A metric that has one value for every list on every query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    #[error("{0} counts nuggets, and the data set has none; add nuggets.jsonl (--nuggets FILE)")]
    NoNugget(Metric),
    #[error(
        "{0} counts required nuggets, and the data set has none; write \"required\": true to nuggets that the task cannot \
         be done without, or take taskRecall"
    )]
    NoRequiredNugget(Metric),
    #[error(
        "{metric} cannot tell two answers apart: no judged query has {wants}, so that every answer has the same value; \
         correct the grades (1 and above is relevant), or add judgments of relevant documents"
    )]
    NothingRelevant { metric: Metric, wants: String },
}

/// Looks whether each metric can differ on a query at least.
pub fn check(dataset: &Dataset, rules: &[Rule]) -> Result<(), Nothing> {
    let blind = |metric: &Metric| !dataset.judged().any(|(_, judgments)| differs(*metric, judgments));
    match rules.iter().map(Rule::metric).find(blind) {
        None => Ok(()),
        Some(metric) if !metric.needs_nuggets() => Err(Nothing::NothingRelevant { metric, wants: metric.wants() }),
        Some(metric) if dataset.with_nuggets() == 0 => Err(Nothing::NoNugget(metric)),
        Some(metric) => Err(Nothing::NoRequiredNugget(metric)),
    }
}

fn differs(metric: Metric, judgments: &Judgments) -> bool {
    metric.counts(judgments) && metric.can_differ(judgments)
}

/// How far the rules that must hold against a baseline reach: over all judged queries, and in each slice.
pub fn reaches(dataset: &Dataset, criteria: &Criteria<'_>) -> (Vec<Reach>, Vec<SliceReach>) {
    let clusters = criteria.statistics.cluster_by.as_deref().map(|key| clusters(dataset, key));
    let rules: Vec<(Rule, Vec<bool>)> =
        criteria.rules.iter().filter(|rule| guarded(rule)).map(tested(dataset)).collect();
    let over = |queries: &[usize]| {
        let of_rule = |(rule, differs): &(Rule, Vec<bool>)| {
            let tested = || queries.iter().copied().filter(|query| differs.get(*query) == Some(&true));
            let grouped = |clusters: &Vec<usize>| {
                distinct(&tested().filter_map(|query| clusters.get(query).copied()).collect::<Vec<_>>()) as u64
            };
            Reach {
                rule: *rule,
                queries: queries.len() as u64,
                tested: tested().count() as u64,
                clusters: clusters.as_ref().map(grouped),
            }
        };
        rules.iter().map(of_rule).collect::<Vec<Reach>>()
    };
    let whole = over(&(0..dataset.judged_count()).collect::<Vec<_>>());
    let of_rules = |rules: &SliceRules| {
        let of_slice = |slice: super::slice::Slice| SliceReach {
            required: is_required(rules, &slice.name),
            rules: over(&slice.queries),
            name: slice.name,
        };
        slices(dataset, rules.by()).into_iter().map(of_slice).collect()
    };
    (whole, criteria.slices.map(of_rules).unwrap_or_default())
}

fn tested(dataset: &Dataset) -> impl Fn(&Rule) -> (Rule, Vec<bool>) {
    |rule| (*rule, dataset.judged().map(|(_, judgments)| differs(rule.metric(), judgments)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::dataset::Files;
    use crate::evaluation::verdict::{Margin, Method, Statistics, Wanted};

    /// Query i has grade `grades[i]`, lies in slice `d=a` if i is even, and in cluster i / 2.
    fn dataset(grades: &[i32], nuggets: &str) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let qrels: String = grades.iter().enumerate().map(|(i, grade)| format!("q{i} 0 d {grade}\n")).collect();
        let labels: String = (0..grades.len())
            .map(|i| format!("q{i}\td\t{}\nq{i}\tc\t{}\n", if i % 2 == 0 { "a" } else { "b" }, i / 2))
            .collect();
        let file = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            Some(dir.path().join(name))
        };
        let files = Files {
            form: crate::evaluation::dataset::Form::ByContent,
            queries: None,
            qrels: file("qrels", &qrels).unwrap(),
            slices: file("slices.tsv", &labels),
            nuggets: file("nuggets.jsonl", nuggets).filter(|_| !nuggets.is_empty()),
        };
        Dataset::read(&files).unwrap()
    }

    fn rule(name: &str, required: bool) -> Rule {
        Rule::new(name, Wanted { margin: Some(Margin::Absolute(0.05)), required, ..Wanted::default() }).unwrap()
    }

    #[test]
    fn only_queries_on_which_lists_can_differ_are_counted() {
        let set = dataset(&[1, 0, 2, 1, -1, 1], r#"{"query_id":"q0","nugget_id":"n","doc_ids":["d"]}"#);
        let rules = [rule("mrr", true), rule("mrr(rel=2)", true), rule("taskRecall@5", true), rule("map", false)];
        let slices = SliceRules::new(vec!["d".into()], 10, None, vec!["d=b".into()], &rules).unwrap();
        let counted = |cluster_by: Option<&str>| {
            let statistics = Statistics::new(Method::PairedT, 0.05, cluster_by.map(str::to_owned)).unwrap();
            let criteria =
                Criteria { rules: &rules, statistics: &statistics, slices: Some(&slices), max_cumulative_drop: None };
            reaches(&set, &criteria)
        };
        let tested = |found: &[Reach]| found.iter().map(|r| (r.queries, r.tested, r.clusters)).collect::<Vec<_>>();
        let (whole, found) = counted(None);
        assert_eq!(tested(&whole), [(6, 4, None), (6, 1, None), (6, 1, None)]);
        assert_eq!((found[0].name.as_str(), found[0].required), ("d=a", false));
        assert_eq!(tested(&found[0].rules), [(3, 2, None), (3, 1, None), (3, 1, None)]);
        assert_eq!((found[1].name.as_str(), found[1].required), ("d=b", true));
        assert_eq!(tested(&found[1].rules), [(3, 2, None), (3, 0, None), (3, 0, None)]);
        // q0 of cluster 0, q2 and q3 of cluster 1, q5 of cluster 2.
        assert_eq!(tested(&counted(Some("c")).0), [(6, 4, Some(3)), (6, 1, Some(1)), (6, 1, Some(1))]);
    }

    #[test]
    fn a_metric_that_has_one_value_for_every_list_is_refused() {
        let told = |set: &Dataset, name: &str| check(set, &[rule(name, false)]).map_err(|error| error.to_string());
        let nothing = dataset(&[0, 0, -1], "");
        assert!(told(&nothing, "success@1").unwrap_err().starts_with(
            "success@1 cannot tell two answers apart: no judged query has a relevant document, so that every answer"
        ));
        let set = dataset(&[0, 1], r#"{"query_id":"q1","nugget_id":"n","required":false,"doc_ids":["d"]}"#);
        assert_eq!((told(&set, "ndcg@10"), told(&set, "taskRecall@5")), (Ok(()), Ok(())));
        assert!(told(&set, "recall(rel=2)@5").unwrap_err().contains("has a document of grade 2 or above"));
        assert!(
            told(&set, "taskSuccess@5").unwrap_err().contains("counts required nuggets, and the data set has none")
        );
        assert!(told(&nothing, "taskSuccess@5").unwrap_err().contains("counts nuggets, and the data set has none"));
        let unjudged = Rule::new("unj@10", Wanted { max: Some(0.1), ..Wanted::default() }).unwrap();
        assert_eq!(check(&nothing, &[unjudged]), Ok(()), "the share of unjudged documents can differ");
    }
}
