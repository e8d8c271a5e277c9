//! What a run has to do, checked before anything is read: from flags or from a gate's file.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::directory::{Directory, Model};
use crate::api::gate::{Baseline, EvalGate, Metric, Statistics};
use crate::api::release::Mode;
use crate::evaluation::verdict;
use crate::worker::job;
use crate::yaml;

/// What must hold, and how it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub metrics: Vec<Metric>,
    pub statistics: Statistics,
    pub rules: Vec<verdict::Rule>,
    pub judging: verdict::Statistics,
    /// Whether the gate wants a comparison.
    pub baseline: Baseline,
}

impl Gate {
    /// Checks metrics and statistics.
    pub fn new(metrics: Vec<Metric>, statistics: Statistics, baseline: Baseline) -> Result<Self, String> {
        let (rules, judging) = (job::rules(&metrics)?, job::judging(&statistics)?);
        Ok(Self { metrics, statistics, rules, judging, baseline })
    }

    /// Reads the EvalGate of a YAML file; of several documents the one that can be measured offline.
    pub fn read(file: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let gates: Vec<Option<EvalGate>> =
            yaml::read_all(&text).map_err(|e| wrong(format!("is not an EvalGate: {e}")))?;
        let mut retrievals = gates.into_iter().flatten().filter_map(|gate| gate.spec.retrieval);
        let retrieval = retrievals.next().ok_or_else(|| {
            wrong("is a gate without spec.retrieval; only a retrieval gate can be measured offline".to_owned())
        })?;
        if retrievals.next().is_some() {
            return Err(wrong(
                "holds several retrieval gates; write the one that is meant into a file of its own".to_owned(),
            ));
        }
        Self::new(retrieval.metrics, retrieval.statistics, retrieval.baseline).map_err(wrong)
    }

    /// Documents that the deepest metric needs.
    pub fn depth(&self) -> usize {
        self.rules.iter().map(|rule| rule.metric().depth()).max().unwrap_or(1)
    }

    /// The margins.
    pub fn margins(&self) -> Vec<f64> {
        self.rules.iter().filter_map(|rule| rule.margin()).collect()
    }
}

/// A metric as a flag: `ndcg@10:margin=0.02,floor=0.4`.
pub fn metric_flag(text: &str) -> Result<Metric, String> {
    let (name, settings) = text.split_once(':').unwrap_or((text, ""));
    let mut metric = Metric { name: name.to_owned(), margin: None, floor: None, max: None, required: true };
    for setting in settings.split(',').filter(|s| !s.is_empty()) {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| format!("`{setting}` has no value; write key=value"))?;
        let number = || value.parse::<f64>().map(Some).map_err(|_| format!("{key} `{value}` is not a number"));
        match key {
            "margin" => metric.margin = number()?,
            "floor" => metric.floor = number()?,
            "max" => metric.max = number()?,
            "required" => {
                metric.required = value.parse().map_err(|_| format!("required is true or false; got `{value}`"))?
            }
            other => return Err(format!("`{other}` is unknown; write margin, floor, max or required")),
        }
    }
    verdict::Rule::new(&metric.name, metric.margin, metric.floor, metric.max, metric.required)
        .map_err(|e| e.to_string())?;
    Ok(metric)
}

/// Where the answers of an arm come from.
pub enum Arm {
    /// A `rag serve`.
    Url(Url),
    /// An index version, searched in this process.
    Directory(Directory),
    /// A TREC run file.
    Run(PathBuf),
}

impl Arm {
    /// A URL, or a directory or file that is there. `mode`: how a directory is searched.
    pub fn parse(text: &str, mode: Option<Mode>, models: &[Model]) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let url = text.starts_with("http://") || text.starts_with("https://");
        if !url && path.is_dir() {
            return Directory::find(path, mode.unwrap_or_default(), models).map(Self::Directory);
        }
        if mode.is_some() {
            return Err(format!(
                "`{text}` is no directory, and only the mode of an index directory can be chosen here; remove \
                 --candidate-mode or --baseline-mode"
            ));
        }
        if url {
            return text.parse().map(Self::Url).map_err(|e| format!("`{text}` is no URL: {e}"));
        }
        if !path.is_file() {
            return Err(format!(
                "`{text}` is neither a URL (http://…) nor an index directory or a run file that is there"
            ));
        }
        Ok(Self::Run(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_flag_is_read() {
        let metric = metric_flag("ndcg@10:margin=0.02,floor=0.4,max=0.9,required=false").unwrap();
        assert_eq!((metric.name.as_str(), metric.margin, metric.floor), ("ndcg@10", Some(0.02), Some(0.4)));
        assert_eq!((metric.max, metric.required), (Some(0.9), false));
        for (flag, expected) in [
            ("ndcg@10", "at least one of margin, floor and max"),
            ("ndcg@10:margin", "`margin` has no value"),
            ("ndcg@10:margin=x", "margin `x` is not a number"),
            ("ndcg@10:margin=NaN", "margin must be at least"),
            ("ndcg@10:mergin=0.1", "`mergin` is unknown; write margin"),
            ("ndgc@10:margin=0.1", "`ndgc@10` is no metric"),
            ("map:floor=0.1,required=yes", "required is true or false"),
        ] {
            let error = metric_flag(flag).unwrap_err();
            assert!(error.contains(expected), "{flag}: {error}");
        }
    }

    #[test]
    fn a_gate_is_read_from_yaml_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gate.yaml");
        let gate = |metrics: &str| {
            let text = format!(
                "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {{name: g}}\nspec:\n  retrieval:\n    \
                 dataset: {{from: {{volume: {{claimName: c}}}}}}\n    metrics: {metrics}\n    statistics: {{method: PairedT}}\n"
            );
            std::fs::write(&file, text).unwrap();
            Gate::read(&file)
        };
        let read = gate("[{name: ndcg@10, margin: 0.05, floor: 0.4}, {name: recall@100, margin: 0.05}]").unwrap();
        assert_eq!((read.depth(), read.margins()), (100, vec![0.05, 0.05]));
        assert_eq!(read.judging.method, verdict::Method::PairedT);
        for (metrics, expected) in [
            ("[]", "metrics must have 1 to 8 entries; got 0"),
            ("[{name: map, floor: 0.1}, {name: map, max: 0.9}]", "`map` stands twice"),
            ("[{name: map, floor: 2}]", "floor must lie between 0 and 1; got 2"),
            ("[{name: map, flor: 0.2}]", "unknown field `flor`"),
        ] {
            let error = gate(metrics).unwrap_err();
            assert!(error.contains(expected) && error.contains("gate.yaml"), "{error}");
        }
        std::fs::write(&file, "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec:\n  online:\n    objectives: []\n").unwrap();
        assert!(Gate::read(&file).unwrap_err().contains("without spec.retrieval"));
    }

    #[test]
    fn the_retrieval_gate_is_found_beside_an_online_gate_and_two_are_one_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gates.yaml");
        let head = "---\napiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec:\n";
        let online = format!("{head}  online:\n    objectives: [{{name: e, signal: ErrorRate, max: 0.1}}]\n");
        let retrieval = format!(
            "{head}  retrieval:\n    dataset: {{from: {{volume: {{claimName: c}}}}}}\n    metrics: [{{name: map, floor: 0.1}}]\n"
        );
        std::fs::write(&file, format!("{online}{retrieval}---\n")).unwrap();
        assert_eq!(Gate::read(&file).unwrap().metrics[0].name, "map");
        std::fs::write(&file, format!("{retrieval}{online}{retrieval}")).unwrap();
        assert!(Gate::read(&file).unwrap_err().contains("holds several retrieval gates"));
    }
}
