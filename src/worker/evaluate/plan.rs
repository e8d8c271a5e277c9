//! What a run has to do, checked before anything is read: from flags or from a gate's file.

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::directory::{Directory, Model};
use super::stopped::Stopped;
use crate::api::gate::{Baseline, Compat, EvalGate, Metric, Missing, Slices, Statistics};
use crate::api::release::Mode;
use crate::evaluation::condensed;
use crate::evaluation::dataset::Dataset;
use crate::evaluation::verdict::SliceRules;
use crate::evaluation::{reach, slice};
use crate::worker::job::{self, Counting, Foreseen, Judging};
use crate::yaml;

/// What must hold, and how it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    pub metrics: Vec<Metric>,
    pub statistics: Statistics,
    pub slices: Option<Slices>,
    /// The same, checked.
    pub judging: Judging,
    /// How answers are read.
    pub counting: Counting,
    /// Whether the gate wants a comparison.
    pub baseline: Baseline,
    /// Digest of what was asked for: of a gate's file the one that the operator takes, so that equal inputs draw equal
    /// numbers.
    pub spec_digest: String,
}

/// What an arm is asked for, and how its answers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Documents.
    pub depth: usize,
    pub counting: Counting,
    /// Whether every document of a run file must keep its id: a metric asks which are judged for any query at all, or the
    /// list is written.
    pub all_ids: bool,
}

impl Gate {
    /// Checks what a gate asks for.
    pub fn new(
        metrics: Vec<Metric>,
        statistics: Statistics,
        slices: Option<Slices>,
        max_cumulative_drop: Option<f64>,
        baseline: Baseline,
    ) -> Result<Self, String> {
        let judging = Judging::of(&metrics, &statistics, slices.as_ref(), max_cumulative_drop)
            .map_err(|(field, problem)| format!("{field}: {problem}"))?;
        let gate = Self {
            metrics,
            statistics,
            slices,
            judging,
            counting: Counting::default(),
            baseline,
            spec_digest: String::new(),
        };
        Ok(gate.counting(Counting::default()))
    }

    /// Of metrics as flags: one that demands nothing is reported.
    pub fn of_flags(metrics: Vec<Metric>, counting: Counting) -> Result<Self, String> {
        let gate = Self {
            judging: Judging::of_metrics(&metrics).map_err(|problem| format!("metrics: {problem}"))?,
            metrics,
            statistics: Statistics::default(),
            slices: None,
            counting,
            baseline: Baseline::Stable,
            spec_digest: String::new(),
        };
        Ok(gate.counting(counting))
    }

    /// The same gate with another reading of answers.
    pub fn counting(self, counting: Counting) -> Self {
        let spec_digest = job::digest(&(&self.metrics, &self.statistics, &self.slices, &counting));
        Self { counting, spec_digest, ..self }
    }

    /// Reads the EvalGate of a YAML file; of several documents the one that can be measured offline.
    pub fn read(file: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let gates: Vec<Option<EvalGate>> =
            yaml::read_all(&text).map_err(|e| wrong(format!("is not an EvalGate: {e}")))?;
        let mut retrievals = gates.into_iter().flatten().filter_map(|gate| {
            let digest = job::spec_digest(&gate.spec);
            Some((gate.spec.retrieval?, digest))
        });
        let (retrieval, spec_digest) = retrievals.next().ok_or_else(|| {
            wrong("is a gate without spec.retrieval; only a retrieval gate can be measured offline".to_owned())
        })?;
        if retrievals.next().is_some() {
            return Err(wrong(
                "holds several retrieval gates; write the one that is meant into a file of its own".to_owned(),
            ));
        }
        let counting = Counting::of(&retrieval);
        let (slices, most) = (retrieval.slices, retrieval.max_cumulative_drop);
        let gate = Self::new(retrieval.metrics, retrieval.statistics, slices, most, retrieval.baseline);
        gate.map(|gate| Self { spec_digest, ..gate.counting(counting) }).map_err(wrong)
    }

    /// What is left unjudged where a gate that wants a comparison has nothing to compare with. Its margins then decide
    /// nothing: right for a first release, and else a mistake that would look like a Pass.
    pub fn not_compared(&self, compared: bool) -> Option<String> {
        let wanted = match self.baseline {
            Baseline::Stable => !compared,
            Baseline::None => false,
        };
        let rules = self.judging.rules.iter().filter(|rule| wanted && rule.margin().is_some());
        let names: Vec<String> = rules.map(|rule| rule.metric().to_string()).collect();
        (!names.is_empty()).then(|| {
            format!(
                "not compared: no --baseline was given, so margins of {} were not judged; unless this is a first release, \
                 give --baseline",
                names.join(", ")
            )
        })
    }

    /// Looks whether the data set has what the metrics read and what queries are grouped by: the same in a check and in a run,
    /// and before anything is left out.
    pub fn fits(&self, dataset: &Dataset) -> Result<(), Stopped> {
        reach::check(dataset, &self.judging.rules)?;
        let slices = self.judging.slices.as_ref();
        let by = slices.map(SliceRules::by).unwrap_or_default();
        let required = slices.map(SliceRules::required).unwrap_or_default();
        slice::check(dataset, by, required, self.judging.statistics.cluster_by.as_deref())?;
        Ok(())
    }

    /// What can be said of a comparison over the data set before there is one.
    pub fn foreseen(&self, dataset: &Dataset) -> Foreseen {
        self.judging.advice(dataset, self.baseline == Baseline::Stable)
    }

    /// What the arms are asked for, if the data set fits the gate.
    pub fn asking(&self, dataset: &Dataset, compared: bool) -> Result<Asking, Stopped> {
        self.fits(dataset)?;
        let all_ids = self.judging.rules.iter().any(|rule| rule.metric().needs_pool());
        Ok(Asking { depth: self.depth(dataset, compared), counting: self.counting, all_ids })
    }

    /// Documents that the deepest metric needs; where unjudged ones can explain a drop, as many as are searched for
    /// them.
    pub fn depth(&self, dataset: &Dataset, compared: bool) -> usize {
        let unjudged = (compared && condensed::pooled(dataset)).then_some(condensed::DEPTH);
        self.judging.rules.iter().map(|rule| rule.metric().depth()).chain(unjudged).max().unwrap_or(1)
    }
}

/// `zero` or `drop`.
pub fn missing_flag(text: &str) -> Result<Missing, String> {
    match text {
        "zero" => Ok(Missing::Zero),
        "drop" => Ok(Missing::Drop),
        _ => Err("write zero or drop".to_owned()),
    }
}

/// `trec_eval_10` or `trec_eval_9`.
pub fn compat_flag(text: &str) -> Result<Compat, String> {
    match text {
        "trec_eval_10" => Ok(Compat::TrecEval10),
        "trec_eval_9" => Ok(Compat::TrecEval9),
        _ => Err("write trec_eval_10 or trec_eval_9".to_owned()),
    }
}

/// A metric as a flag: `ndcg@10:margin=0.02,floor=0.4`. What demands nothing is reported only.
pub fn metric_flag(text: &str) -> Result<Metric, String> {
    let (name, settings) = text.split_once(':').unwrap_or((text, ""));
    let mut metric = Metric {
        name: name.to_owned(),
        margin: None,
        relative_margin: None,
        floor: None,
        confident: false,
        max: None,
        required: true,
    };
    let mut required = None;
    let mut seen = Vec::new();
    for setting in settings.split(',').filter(|s| !s.is_empty()) {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| format!("`{setting}` has no value; write key=value"))?;
        if seen.contains(&key) {
            return Err(format!("`{key}` stands twice; write it once"));
        }
        seen.push(key);
        let number = || value.parse::<f64>().map(Some).map_err(|_| format!("{key} `{value}` is not a number"));
        let yes_or_no = || value.parse().map_err(|_| format!("{key} is true or false; got `{value}`"));
        match key {
            "margin" => metric.margin = number()?,
            "relativeMargin" => metric.relative_margin = number()?,
            "floor" => metric.floor = number()?,
            "max" => metric.max = number()?,
            "confident" => metric.confident = yes_or_no()?,
            "required" => required = Some(yes_or_no()?),
            other => {
                return Err(format!(
                    "`{other}` is unknown; write margin, relativeMargin, floor, confident, max or required"
                ));
            }
        }
    }
    let limits = [metric.margin, metric.relative_margin, metric.floor, metric.max];
    metric.required = required.unwrap_or_else(|| limits.iter().any(Option::is_some));
    job::rule(&metric)?;
    Ok(metric)
}

/// Where the answers of an arm come from.
pub enum Arm {
    /// A `rag serve`.
    Url(Url),
    /// An index version, searched in this process.
    Directory(Directory),
    /// A TREC run file.
    Run(RunFile),
}

/// A TREC run file, and what it may leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFile {
    pub path: PathBuf,
    /// Whether queries that it does not name found nothing, however many they are.
    pub allow_missing: bool,
}

impl Arm {
    /// A URL, or a directory or file that is there. `mode`: how a directory is searched; `allow_missing`: see
    /// [`RunFile`].
    pub fn parse(text: &str, mode: Option<Mode>, models: &[Model], allow_missing: bool) -> Result<Self, String> {
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
        if !path.exists() {
            return Err(format!(
                "`{text}` is neither a URL (http://…) nor an index directory or a run file that is there"
            ));
        }
        Ok(Self::Run(RunFile { path, allow_missing }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::dataset::Files;
    use crate::evaluation::verdict;

    #[test]
    fn a_metric_flag_is_read() {
        let metric = metric_flag("ndcg@10:margin=0.02,floor=0.4,max=0.9,required=false").unwrap();
        assert_eq!((metric.name.as_str(), metric.margin, metric.floor), ("ndcg@10", Some(0.02), Some(0.4)));
        assert_eq!((metric.max, metric.required), (Some(0.9), false));
        for flag in ["map", "map:", "map:required=false"] {
            let metric = metric_flag(flag).unwrap();
            assert!(!metric.required && job::rules(&[metric]).unwrap_err().contains("at least one of"), "{flag}");
        }
        for (flag, expected) in [
            ("ndcg@10:required=true", "at least one of margin, floor and max"),
            ("ndcg@10:margin", "`margin` has no value"),
            ("ndcg@10:margin=x", "margin `x` is not a number"),
            ("ndcg@10:margin=0.02,margin=1", "`margin` stands twice"),
            ("ndcg@10:margin=NaN", "margin must be at least"),
            ("ndcg@10:mergin=0.1", "`mergin` is unknown; write margin"),
            ("ndcg@10:margin=0.1,relativeMargin=0.1", "exclude each other"),
            ("ndcg@10:relativeMargin=1", "relativeMargin must be above 0 and below 1"),
            ("ndcg@10:margin=0.1,confident=true", "confident needs a floor"),
            ("ndgc@10:margin=0.1", "`ndgc@10` is no metric"),
            ("map:floor=0.1,required=yes", "required is true or false"),
        ] {
            let error = metric_flag(flag).unwrap_err();
            assert!(error.contains(expected), "{flag}: {error}");
        }
    }

    fn pool(qrels: &str) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        std::fs::write(files.queries.as_ref().unwrap(), "{\"_id\":\"q\",\"text\":\"t\"}\n").unwrap();
        std::fs::write(&files.qrels, format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
        Dataset::read(&files).unwrap()
    }

    #[test]
    fn ten_documents_are_asked_where_unjudged_ones_could_explain_a_drop() {
        let metric = metric_flag("success@1:margin=0.1").unwrap();
        let gate = Gate::new(vec![metric], Statistics::default(), None, None, Baseline::Stable).unwrap();
        let (pooled, positives) = (pool("q\td\t1\nq\te\t0\n"), pool("q\td\t1\n"));
        assert_eq!((gate.depth(&pooled, true), gate.depth(&pooled, false), gate.depth(&positives, true)), (10, 1, 1));
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
        assert_eq!(read.judging.rules.len(), 2);
        assert_eq!(read.depth(&pool("q\td\t1\n"), true), 100);
        assert_eq!(read.judging.statistics.method, verdict::Method::PairedT);
        for (metrics, expected) in [
            ("[]", "metrics must have 1 to 8 entries; got 0"),
            ("[{name: map, floor: 0.1}, {name: map, max: 0.9}]", "`map` stands twice"),
            ("[{name: map, required: false}]", "at least one of margin, floor and max must be set"),
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
