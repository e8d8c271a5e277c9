//! What the newest version is to be made from: content-relevant spec, fingerprint, last rebuild command.
//!
//! Invariant: equal inputs give the same digest, so applying the same YAML again begins nothing; a command is
//! recorded in the pass that carries it out, and each value is carried out once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use serde::Serialize;

use super::Draft;
use super::spec::Spec;
use crate::api::index::{Chunking, DataQuality, Source, VersionCause};
use crate::api::release::HandledCommand;
use crate::api::{VectorIndex, names};
use crate::controller::read::Referred;
use crate::worker::job::digest;

const REBUILD: &str = "rebuild";
/// Commands that status lists.
const COMMANDS: usize = 20;

/// What the newest version is to be made from.
pub(super) struct Wanted {
    pub digest: String,
    pub fingerprint: String,
    pub cause: VersionCause,
    /// A rebuild that was not carried out yet.
    pub token: Option<String>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    sources: &'a [Source],
    chunking: &'a Chunking,
    keyword: bool,
    claim: &'a str,
    data_quality: &'a DataQuality,
    fingerprint: &'a str,
    token: Option<&'a str>,
}

impl Wanted {
    /// `None` while the encoder's fingerprint is not known.
    pub fn of(draft: &Draft<'_>, spec: &Spec<'_>) -> Option<Self> {
        let Referred::Here(model) = &draft.seen.model else { return None };
        let fingerprint = model.status.as_ref()?.fingerprint.clone()?;
        let inputs = |token| Inputs {
            sources: spec.sources,
            chunking: spec.chunking,
            keyword: spec.keyword,
            claim: spec.claim,
            data_quality: spec.data_quality,
            fingerprint: &fingerprint,
            token,
        };
        let handled = || draft.status.commands.iter().rev().filter(|c| c.command == REBUILD).map(|c| c.value.as_str());
        let last = digest(&inputs(handled().next()));
        let token = rebuild(draft.index).filter(|token| !handled().any(|v| v == token));
        let only_token = token.is_some() && draft.status.built_for.as_deref() == Some(&last);
        let digest = token.as_deref().map_or(last, |token| digest(&inputs(Some(token))));
        let cause = if only_token { VersionCause::Rebuild } else { VersionCause::Spec };
        Some(Self { digest, fingerprint, cause, token })
    }
}

/// The value of the rebuild command, as long as status can keep it.
fn rebuild(index: &VectorIndex) -> Option<String> {
    let token: String = index.annotations().get(names::COMMAND_REBUILD)?.chars().take(256).collect();
    (!token.is_empty()).then_some(token)
}

/// The field manager that last wrote the rebuild command.
fn rebuild_manager(index: &VectorIndex) -> String {
    let field = format!("f:{}", names::COMMAND_REBUILD);
    let writes = |entry: &&ManagedFieldsEntry| {
        let annotations = entry.fields_v1.as_ref().and_then(|f| f.0.pointer("/f:metadata/f:annotations"));
        annotations.and_then(|a| a.as_object()).is_some_and(|a| a.contains_key(&field))
    };
    index
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(writes)
        .max_by_key(|entry| entry.time.as_ref().map(|t| t.0))
        .and_then(|entry| entry.manager.as_ref())
        .map_or_else(|| "unknown".to_owned(), |manager| manager.chars().take(128).collect())
}

/// Records that a rebuild began a version.
pub(super) fn record(draft: &mut Draft<'_>, token: &str, version: &str) {
    let at = draft.now();
    draft.status.commands.push(HandledCommand {
        command: REBUILD.to_owned(),
        value: token.to_owned(),
        manager: rebuild_manager(draft.index),
        outcome: format!("began {version}"),
        at,
    });
    let over = draft.status.commands.len().saturating_sub(COMMANDS);
    draft.status.commands.drain(..over);
}
