//! What the newest version is to be made from: content-relevant spec, fingerprint, last rebuild command.
//!
//! Invariant: equal inputs give the same digest, so applying the same YAML again begins nothing; a command is
//! recorded in the pass that carries it out, and each value is carried out once.

use serde::Serialize;

use super::Draft;
use super::spec::Spec;
use crate::api::index::{Chunking, DataQuality, Source, VersionCause};
use crate::api::names;
use crate::controller::command;
use crate::controller::read::Referred;
use crate::worker::job::digest;

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
        let rebuild = command::word(names::COMMAND_REBUILD);
        let handled = || draft.status.commands.iter().rev().filter(|c| c.command == rebuild).map(|c| c.value.as_str());
        let last = digest(&inputs(handled().next()));
        let token = command::given(draft.index, names::COMMAND_REBUILD).filter(|token| !handled().any(|v| v == token));
        let only_token = token.is_some() && draft.status.built_for.as_deref() == Some(&last);
        let digest = token.as_deref().map_or(last, |token| digest(&inputs(Some(token))));
        let cause = if only_token { VersionCause::Rebuild } else { VersionCause::Spec };
        Some(Self { digest, fingerprint, cause, token })
    }
}

/// Records that a rebuild began a version.
pub(super) fn record(draft: &mut Draft<'_>, token: &str, version: &str) {
    let outcome = format!("began {version}");
    let handled = command::handled(draft.index, names::COMMAND_REBUILD, token.to_owned(), &outcome, draft.now());
    command::remember(&mut draft.status.commands, handled);
}
