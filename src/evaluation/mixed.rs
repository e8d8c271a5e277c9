//! Facts of a data set that holds several domains: answers out of another domain, and means that hide one.
//!
//! Why facts and no rules: a hit of another domain may answer the question, and a gap between two means is no loss. They
//! say where to look; slices decide.
//!
//! Invariants: what has no label is in no share; without a label on either side there is no number, never 0.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::compare::Values;
use super::dataset::Dataset;
use super::lines::{Lines, ReadError};
use super::metric::Metric;
use super::run::Run;
use super::slice::slices;
use crate::metadata::Metadata;

/// Key of the metadata of queries and documents that names their domain.
pub const KEY: &str = "domain";
/// How many documents of a list are looked at.
pub const DEPTH: usize = 10;
/// A share beyond this is said aloud.
pub const MOST_CONTAMINATION: f64 = 0.20;

/// Domain of each document that has one.
pub type Domains = BTreeMap<String, String>;

/// Share of the first ten documents that are of another domain than their query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contamination {
    pub share: f64,
    /// Documents of a known domain among the first ten of queries of a known one: what the share is of.
    pub hits: usize,
}

/// The domain that the metadata of a document tells.
pub fn of_document(metadata: &Metadata) -> Option<&str> {
    metadata.get(KEY)?.as_str()
}

/// Whether a judged query names its domain.
pub fn labelled(dataset: &Dataset) -> bool {
    dataset.judged().any(|(query, _)| domain(dataset, query).is_some())
}

fn domain<'a>(dataset: &'a Dataset, query: &str) -> Option<&'a str> {
    dataset.metadata(query)?.get(KEY).map(String::as_str)
}

/// Looks at the lists of an arm; `None`: no query and document with a domain stand together.
pub fn contamination(dataset: &Dataset, run: &Run, domains: &Domains) -> Option<Contamination> {
    let (mut hits, mut other) = (0_usize, 0_usize);
    for (query, _) in dataset.judged() {
        let Some((of_query, list)) = domain(dataset, query).zip(run.list(query)) else { continue };
        for of_hit in list.iter().take(DEPTH).filter_map(|at| domains.get(at.document)) {
            hits = hits.saturating_add(1);
            other = other.saturating_add(usize::from(of_hit != of_query));
        }
    }
    (hits > 0).then(|| Contamination { share: other as f64 / hits as f64, hits })
}

/// The mean of one metric over the queries that have a key, and over the slices that the key makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Means {
    /// Each query counts the same: large slices weigh more.
    pub micro: f64,
    /// Each slice counts the same.
    pub macro_: f64,
}

impl Means {
    /// macroMicroGap: below 0 where the small slices are the bad ones.
    pub fn gap(self) -> f64 {
        self.macro_ - self.micro
    }
}

/// Whether the mean of the queries and the mean of the slices moved in opposite directions (Simpson, *The interpretation
/// of interaction in contingency tables*, JRSS B 1951).
pub fn opposed(candidate: Means, baseline: Means) -> bool {
    let (micro, macro_) = (candidate.micro - baseline.micro, candidate.macro_ - baseline.macro_);
    micro.abs() > 1e-9 && macro_.abs() > 1e-9 && (micro > 0.0) != (macro_ > 0.0)
}

/// Both means of each metric; a metric that counts on no query of a slice has none. `values`: of one arm.
pub fn means(dataset: &Dataset, key: &str, metrics: &[Metric], values: &Values) -> Vec<Option<Means>> {
    let groups = slices(dataset, &[key.to_owned()]);
    let counts: Vec<Vec<bool>> = dataset
        .judged()
        .map(|(_, judgments)| metrics.iter().map(|metric| metric.counts(judgments)).collect())
        .collect();
    let of_metric = |metric: usize| {
        let value = |query: &usize| {
            counts.get(*query)?.get(metric).filter(|counts| **counts)?;
            values.get(*query)?.get(metric).copied()
        };
        let sums: Vec<(f64, f64)> = groups
            .iter()
            .map(|group| group.queries.iter().filter_map(value).fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0)))
            .filter(|(_, n)| *n > 0.0)
            .collect();
        let (sum, n) = sums.iter().fold((0.0, 0.0), |(sum, n), (s, k)| (sum + s, n + k));
        let of_slices: f64 = sums.iter().map(|(sum, n)| sum / n).sum();
        (!sums.is_empty()).then(|| Means { micro: sum / n, macro_: of_slices / sums.len() as f64 })
    };
    (0..metrics.len()).map(of_metric).collect()
}

/// Why a file of documents is none.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(
        "{}:{line}: {said}; a line is a document, such as {{\"_id\": \"d1\", \"metadata\": {{\"domain\": \"legal\"}}}}",
        file.display()
    )]
    Line { file: PathBuf, line: u64, said: String },
}

#[derive(Deserialize)]
struct DocumentLine {
    #[serde(rename = "_id")]
    id: String,
    /// Where the index reads it too, before the metadata.
    domain: Option<serde_json::Value>,
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
}

/// The documents whose domain is asked for: the first ten of each judged query.
pub fn shown<'a>(dataset: &Dataset, run: &'a Run) -> BTreeSet<&'a str> {
    let lists = dataset.judged().filter_map(|(query, _)| run.list(query));
    lists.flat_map(|list| list.iter().take(DEPTH).map(|at| at.document)).collect()
}

/// The domains that a BEIR corpus file, a JSON object a line, tells of these documents.
pub fn read(file: &Path, wanted: &BTreeSet<&str>) -> Result<Domains, CorpusError> {
    let mut lines = Lines::open(file)?;
    let mut domains = Domains::new();
    while let Some((line, text)) = lines.next_line()? {
        let refused = |said: String| CorpusError::Line { file: file.to_owned(), line, said };
        let found: DocumentLine = serde_json::from_str(text).map_err(|e| refused(format!("is no document: {e}")))?;
        if let Some(serde_json::Value::String(domain)) = found.domain.as_ref().or_else(|| found.metadata.get(KEY))
            && wanted.contains(found.id.as_str())
            && domains.insert(found.id.clone(), domain.clone()).is_some()
        {
            return Err(refused(format!("document `{}` stands twice", super::lines::short(&found.id))));
        }
    }
    Ok(domains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::domains;
    use crate::evaluation::run::Hit;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
    }

    #[test]
    fn hits_of_another_domain_are_counted_among_those_with_a_label() {
        let set = domains::dataset();
        let mut run = Run::default();
        let list = |documents: &[&str]| {
            let hits = documents.iter().enumerate();
            hits.map(|(i, d)| Hit { document: (*d).to_owned(), score: -(i as f64) }).collect::<Vec<_>>()
        };
        // q000 is of finance, q120 of legal; `?` has no label, and the eleventh place is too deep.
        run.insert("q000".to_owned(), list(&["f1", "f2", "l1", "?"]));
        run.insert("q120".to_owned(), list(&["l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8", "f1", "?", "f2"]));
        let mut known: Domains = (1..9).map(|i| (format!("l{i}"), "legal".to_owned())).collect();
        known.extend(["f1", "f2"].map(|d| (d.to_owned(), "finance".to_owned())));
        let found = contamination(&set, &run, &known).unwrap();
        assert_eq!(found.hits, 12);
        close(found.share, 2.0 / 12.0);
        assert_eq!(contamination(&set, &run, &Domains::new()), None);
        assert_eq!(contamination(&set, &Run::default(), &known), None);
        assert!(labelled(&set));
    }

    #[test]
    fn the_mean_of_slices_weighs_small_ones_like_large_ones() {
        let set = domains::dataset();
        let metric: Metric = "P@20".parse().unwrap();
        // 60 queries each: both means are the same.
        let values: Values = (0..300).map(|i| vec![if i < 60 { 0.0 } else { 1.0 }]).collect();
        let even = means(&set, "domain", &[metric], &values)[0].unwrap();
        close(even.micro, 0.8);
        close(even.gap(), 0.0);
        // Sources have two queries each; none has the key `language`.
        close(means(&set, "source", &[metric], &values)[0].unwrap().macro_, 0.8);
        assert_eq!(means(&set, "language", &[metric], &values), [None]);
    }

    #[test]
    fn means_that_move_apart_are_opposed() {
        let means = |micro, macro_| Means { micro, macro_ };
        assert!(opposed(means(0.6, 0.4), means(0.5, 0.5)));
        assert!(!opposed(means(0.6, 0.6), means(0.5, 0.5)));
        assert!(!opposed(means(0.5, 0.4), means(0.5, 0.5)), "one that stands still does not move");
        close(means(0.6, 0.4).gap(), -0.2);
    }

    #[test]
    fn a_corpus_file_tells_the_domains_and_bad_lines_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("corpus.jsonl");
        let written = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(&file, &BTreeSet::from(["a", "b", "c"])).map_err(|e| e.to_string())
        };
        let line = "{\"_id\":\"a\",\"title\":\"t\",\"text\":\"x\",\"metadata\":{\"domain\":\"legal\",\"year\":3}}\n";
        let found = written(&format!("{line}{{\"_id\":\"b\",\"text\":\"x\"}}\n{{\"_id\":\"c\",\"domain\":3}}\n"));
        assert_eq!(found, Ok(Domains::from([("a".to_owned(), "legal".to_owned())])));
        let twice = written(&format!("{line}{line}")).unwrap_err();
        assert!(twice.contains("corpus.jsonl:2: document `a` stands twice"), "{twice}");
        let other = written(&format!("{}{line}", line.replace("\"a\"", "\"z\"")));
        assert_eq!(other.unwrap().len(), 1, "only what is asked for is kept");
        let broken = written(&format!("{line}{{\"id\":\"b\"}}\n")).unwrap_err();
        assert!(broken.contains("corpus.jsonl:2: is no document") && broken.contains("\"_id\": \"d1\""), "{broken}");
    }
}
