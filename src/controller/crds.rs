//! The CRDs as YAML: what `rag crds` prints and `crds/` holds.

use std::io::Write as _;
use std::process::ExitCode;

use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::api::{EmbeddingModel, EvalGate, RagRelease, VectorIndex};
use crate::yaml;

/// Why the CRDs cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    #[error("a CRD is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a CRD is no YAML: {0}")]
    Yaml(#[from] yaml::Error),
}

/// File name and YAML of each CRD.
pub fn all() -> Result<Vec<(&'static str, String)>, CrdError> {
    [
        ("embeddingmodels.yaml", EmbeddingModel::crd()),
        ("vectorindexes.yaml", VectorIndex::crd()),
        ("evalgates.yaml", EvalGate::crd()),
        ("ragreleases.yaml", RagRelease::crd()),
    ]
    .into_iter()
    .map(|(file, crd)| {
        let mut crd = with_status_default(serde_json::to_value(crd)?);
        unwrap_descriptions(&mut crd);
        Ok((file, quoted(&yaml::write(&crd)?)))
    })
    .collect()
}

/// `n` and `on` are words to us and truth values to kubectl, which reads YAML 1.1: such keys and entries are quoted.
fn quoted(yaml: &str) -> String {
    const TRUTHS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let line = |line: &str| {
        let content = line.trim_start_matches([' ', '-']);
        let (word, rest) = content
            .split_once(':')
            .map_or((content, ""), |(word, _)| (word, content.strip_prefix(word).unwrap_or_default()));
        if !TRUTHS.contains(&word) {
            return format!("{line}\n");
        }
        let indent = line.strip_suffix(content).unwrap_or_default();
        format!("{indent}\"{word}\"{rest}\n")
    };
    yaml.lines().map(line).collect()
}

/// Lines of a description end where the source code's lines do; `kubectl explain` breaks them anew, so only
/// paragraphs stay.
fn unwrap_descriptions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => {
                        let paragraphs: Vec<String> = text.split("\n\n").map(|p| p.replace('\n', " ")).collect();
                        *text = paragraphs.join("\n\n");
                    }
                    other => unwrap_descriptions(other),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(unwrap_descriptions),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An object that nobody has looked at yet is in progress, not done: kstatus reads a missing status as done.
fn with_status_default(mut crd: Value) -> Value {
    let versions = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        let status = version.pointer_mut("/schema/openAPIV3Schema/properties/status").and_then(Value::as_object_mut);
        if let Some(status) = status {
            status.insert("default".to_owned(), json!({"observedGeneration": -1}));
        }
    }
    crd
}

/// Prints them, separated by `---`.
pub fn print() -> ExitCode {
    match all() {
        Ok(files) => {
            let text: String = files.into_iter().flat_map(|(_, yaml)| ["---\n".to_owned(), yaml]).collect();
            // A reader that closes early (`rag crds | head`) is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: cannot write the CRDs as YAML: {error}");
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_truths_in_yaml_1_1_are_quoted() {
        let yaml =
            "required:\n- candidate\n- n\nproperties:\n  n:\n    type: integer\n  on:\n    x: on the way\n  none: {}\n";
        let told = "required:\n- candidate\n- \"n\"\nproperties:\n  \"n\":\n    type: integer\n  \"on\":\n    x: on the way\n  none: {}\n";
        assert_eq!(quoted(yaml), told);
    }
}
