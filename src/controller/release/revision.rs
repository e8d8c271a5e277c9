//! What a revision is, and the snapshot that can rebuild it.
//!
//! Why a snapshot: the YAML of a stable revision may have changed long ago. Invariants: the same tuple is the
//! same revision, whatever else changes; a snapshot holds no endpoint, so a moved encoder needs no new revision.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use crate::api::RagRelease;
use crate::api::index::Search;
use crate::api::release::Retrieval;
use crate::controller::read::is_owned;
use crate::worker::job::digest;

/// What decides the answers: this and nothing else is the identity of a revision.
///
/// Its JSON is stored and hashed. A field that is added here or in the API's types within must be left out of the JSON
/// while it has its default (`skip_serializing_if`) and be read back without it: else every revision gets another name
/// on an upgrade, and every release begins a candidate at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tuple {
    pub content_digest: String,
    pub fingerprint: String,
    pub search: Search,
    pub retrieval: Retrieval,
}

impl Tuple {
    /// First 10 hex digits of SHA-256 over the canonical JSON.
    pub fn revision(&self) -> String {
        digest(self).chars().take(10).collect()
    }
}

/// A revision as it can be rebuilt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub revision: String,
    pub tuple: Tuple,
    /// VectorIndex and version.
    pub index: String,
    pub version: String,
    /// Directory of the version, and the claim that holds it.
    pub physical: String,
    pub claim: String,
    /// EmbeddingModel that encodes queries.
    pub model: String,
    pub image: String,
}

impl Snapshot {
    /// Index and version as status shows them.
    pub fn version_text(&self) -> String {
        format!("{}/{}", self.index, self.version)
    }

    /// The snapshot that a ControllerRevision holds.
    pub fn read(stored: &ControllerRevision) -> Option<Self> {
        serde_json::from_value(stored.data.as_ref()?.0.clone()).ok()
    }
}

/// What the pods of a release read or may read again: its snapshots among all those `stored`. `None` in place of one
/// that cannot be read: it may name anything.
pub fn kept<'a>(
    release: &RagRelease,
    stored: &'a [ControllerRevision],
) -> impl Iterator<Item = (String, Option<Snapshot>)> + 'a {
    let uid = release.uid().unwrap_or_default();
    let own = stored.iter().filter(move |s| is_owned(&s.metadata, &uid));
    own.map(|s| (s.name_any(), Snapshot::read(s)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::release::Mode;

    /// What the first version of the operator stored, with every field at its default.
    const STORED: &str = concat!(
        r#"{"claim":"c","image":"i","index":"docs","model":"words","physical":"docs-v1","revision":"REV","#,
        r#""tuple":{"contentDigest":"c0ffee","fingerprint":"0123456789ab","#,
        r#""retrieval":{"fusion":{"rrf":{"k":60}},"mode":"Vector","overfetch":10,"topK":10},"#,
        r#""search":{"exactBelow":20000}},"version":"v1"}"#
    );
    /// Its name, then and for ever.
    const NAME: &str = "e6a76324ab";

    #[test]
    fn an_upgrade_gives_no_revision_another_name() {
        let tuple = Tuple {
            content_digest: "c0ffee".to_owned(),
            fingerprint: "0123456789ab".to_owned(),
            search: Search::default(),
            retrieval: Retrieval::default(),
        };
        assert_eq!(tuple.revision(), NAME);
        let stored: Snapshot = serde_json::from_str(&STORED.replace("REV", NAME)).unwrap();
        assert_eq!(stored.tuple, tuple, "what an earlier version stored is read");
        let written = serde_json::to_value(&stored).unwrap().to_string();
        assert_eq!(written, STORED.replace("REV", NAME), "and an earlier version reads what this one stores");
    }

    #[test]
    fn only_the_tuple_makes_a_revision() {
        let tuple = Tuple {
            content_digest: "c".to_owned(),
            fingerprint: "f".to_owned(),
            search: Search::default(),
            retrieval: Retrieval::default(),
        };
        assert_eq!(tuple.revision().len(), 10);
        assert_eq!(tuple.revision(), tuple.clone().revision());
        let mut hybrid = tuple.clone();
        hybrid.retrieval.mode = Mode::Hybrid;
        assert_ne!(hybrid.revision(), tuple.revision());
    }
}
