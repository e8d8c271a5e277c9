//! What the story searches: the handbook of this repository, or with `DATASET=DIR` any directory in BEIR
//! layout (corpus.jsonl, queries.jsonl, qrels/test.tsv).

#[path = "../models/place.rs"]
mod place;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::cluster::root;

/// A data set on this machine.
pub struct Dataset {
    directory: PathBuf,
    /// Texts of its queries, in the file's order.
    pub queries: Vec<String>,
}

#[derive(Deserialize)]
struct Query {
    text: String,
}

impl Dataset {
    pub fn open() -> Result<Self> {
        let directory = match std::env::var_os("DATASET") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => root().join("examples/handbook"),
        };
        let file = directory.join("queries.jsonl");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let queries = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(number, line)| {
                let query: Query = serde_json::from_str(line)
                    .with_context(|| format!("{}:{} is no query", file.display(), number.saturating_add(1)))?;
                Ok(query.text)
            })
            .collect::<Result<Vec<_>>>()?;
        ensure!(!queries.is_empty(), "{} holds no query", file.display());
        Ok(Self { directory, queries })
    }

    /// What the claim `corpus` gets: path on the claim, file here.
    pub fn files(&self) -> Vec<(String, PathBuf)> {
        ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]
            .into_iter()
            .map(|name| (format!("handbook/{name}"), self.directory.join(name)))
            .collect()
    }

    pub fn describe(&self) -> String {
        let name = self.directory.file_name().map(|n| n.to_string_lossy().into_owned());
        format!("{} ({} queries)", name.unwrap_or_default(), self.queries.len())
    }
}

/// What the claim `models` gets: the two encoders that `make models` has made.
pub fn models() -> Result<Vec<(String, PathBuf)>> {
    let models = place::models().map_err(anyhow::Error::msg)?;
    let names = ["model.safetensors", "tokenizer.json", "config.json"];
    let of = |model: &str| names.map(|name| (format!("{model}/{name}"), models.join(model).join(name)));
    Ok(["wordllama", "tokenlearn"].into_iter().flat_map(of).collect())
}

/// A file of the repository.
pub fn manifest(path: &str) -> Result<String> {
    let path: &Path = &root().join(path);
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
