//! The CRDs as YAML: what `rag crds` prints and `crds/` holds.

use std::io::Write as _;
use std::process::ExitCode;

use kube::CustomResourceExt;

use crate::api::{EmbeddingModel, EvalGate, RagRelease, VectorIndex};

/// File name and YAML of each CRD.
pub fn all() -> Result<Vec<(&'static str, String)>, serde_yaml::Error> {
    [
        ("embeddingmodels.yaml", EmbeddingModel::crd()),
        ("vectorindexes.yaml", VectorIndex::crd()),
        ("evalgates.yaml", EvalGate::crd()),
        ("ragreleases.yaml", RagRelease::crd()),
    ]
    .into_iter()
    .map(|(file, crd)| Ok((file, serde_yaml::to_string(&crd)?)))
    .collect()
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
