//! Where the files of a data set lie.

use std::path::{Path, PathBuf};

use crate::evaluation::lines::packed_or_plain;

/// How the files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `queries.jsonl`, tab-separated judgments with a header.
    Beir,
    /// Queries as `query-id⇥text` or JSON, judgments as `query 0 document grade`.
    Trec,
    /// One file: a JSON object a query, with its judgments.
    Jsonl,
    /// Each file is what its first line says.
    ByContent,
}

/// The files of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub form: Form,
    /// `None`: the judgments bring the texts with them, or nothing will be asked.
    pub queries: Option<PathBuf>,
    pub qrels: PathBuf,
    /// Further metadata of the queries: `query-id⇥name⇥value`.
    pub slices: Option<PathBuf>,
    /// Pieces of the answers.
    pub nuggets: Option<PathBuf>,
}

impl Files {
    /// A directory in the BEIR layout: `queries.jsonl` and `qrels/<split>.tsv`.
    pub fn beir(directory: &Path, split: &str) -> Self {
        let qrels = directory.join("qrels").join(format!("{split}.tsv"));
        Self::found(directory, Form::Beir, Some("queries.jsonl"), qrels)
    }

    /// The keys of a ConfigMap as files: `queries.jsonl` and `qrels.tsv`.
    pub fn config_map(directory: &Path) -> Self {
        Self::found(directory, Form::Beir, Some("queries.jsonl"), directory.join("qrels.tsv"))
    }

    /// A directory with `queries.tsv` and `qrels/<split>.txt`.
    pub fn trec(directory: &Path, split: &str) -> Self {
        let qrels = directory.join("qrels").join(format!("{split}.txt"));
        Self::found(directory, Form::Trec, Some("queries.tsv"), qrels)
    }

    /// The keys `queries.tsv` and `qrels.txt` of a ConfigMap.
    pub fn trec_config_map(directory: &Path) -> Self {
        Self::found(directory, Form::Trec, Some("queries.tsv"), directory.join("qrels.txt"))
    }

    /// A directory with `<split>.jsonl`.
    pub fn jsonl(directory: &Path, split: &str) -> Self {
        Self::found(directory, Form::Jsonl, None, directory.join(format!("{split}.jsonl")))
    }

    /// The key `dataset.jsonl` of a ConfigMap.
    pub fn jsonl_config_map(directory: &Path) -> Self {
        Self::found(directory, Form::Jsonl, None, directory.join("dataset.jsonl"))
    }

    /// Every file may be packed; slices and nuggets may be absent.
    fn found(directory: &Path, form: Form, queries: Option<&str>, qrels: PathBuf) -> Self {
        let at = |name: &str| packed_or_plain(directory.join(name));
        let optional = |name: &str| Some(at(name)).filter(|file| file.exists());
        Self {
            form,
            queries: queries.map(at),
            qrels: packed_or_plain(qrels),
            slices: optional("slices.tsv"),
            nuggets: optional("nuggets.jsonl"),
        }
    }
}
