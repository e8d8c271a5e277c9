//! What the spec asks for: a revision, or why there is none.

use kube::ResourceExt;

use super::spec::Validated;
use crate::api::index::{IndexVersion, VersionState};
use crate::api::release::Mode;
use crate::api::{ConditionType, RagRelease, Reason};
use crate::controller::condition;
use crate::controller::read::Referred;
use crate::controller::release::observe::Observed;
use crate::controller::release::revision::{Snapshot, Tuple};
use crate::controller::spec::Invalid;

/// What the spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Revision(Box<Snapshot>),
    /// Something that is still to come.
    Waiting {
        reason: Reason,
        message: String,
    },
    /// The spec cannot be met as it stands.
    Wrong {
        reason: Reason,
        message: String,
    },
    /// The world could not be read in this pass.
    Unknown,
}

/// Resolves the spec.
pub fn resolve(release: &RagRelease, seen: &Observed, spec: &Result<Validated, Invalid>) -> Target {
    if let Err(invalid) = spec {
        return wrong(Reason::InvalidSpec, format!("{invalid}."));
    }
    let Some(world) = &seen.world else { return Target::Unknown };
    let name = &release.spec.index_ref.name;
    let index = match &world.index {
        Referred::Here(index) => index,
        Referred::Absent => {
            let text = format!("VectorIndex {name}, named in spec.indexRef, does not exist in this namespace.");
            return waiting(Reason::RefNotFound, text);
        }
        Referred::Unreadable(why) => {
            return waiting(Reason::RefNotFound, format!("VectorIndex {name} cannot be read: {why}."));
        }
    };
    let status = index.status.clone().unwrap_or_default();
    let version = match pick(release, &status.versions) {
        Ok(version) => version,
        Err(Missing::Never(why)) => {
            let text = format!(
                "VectorIndex {name} {why}: it will never serve. Name another version in `spec.version`, or leave the field \
                 out for the newest Ready one."
            );
            return wrong(Reason::InvalidSpec, text);
        }
        Err(Missing::Yet(none)) => {
            let told = condition::find(&status.conditions, ConditionType::Ready);
            let told = told.map(|c| format!(" It says: {}", c.message)).unwrap_or_default();
            return waiting(Reason::Preparing, format!("VectorIndex {name} {none}.{told}"));
        }
    };
    let mode = release.spec.retrieval.mode;
    let needs_keyword = match mode {
        Mode::Vector => false,
        Mode::Keyword | Mode::Hybrid => true,
    };
    if needs_keyword && !version.keyword {
        let text = format!(
            "`spec.retrieval.mode` is {mode:?}, but version {} of VectorIndex {name} has no keyword side. Set \
             `spec.keyword.enabled: true` in the index, or use mode Vector.",
            version.name
        );
        return wrong(Reason::InvalidSpec, text);
    }
    let Some(content_digest) = version.content_digest.clone() else {
        let text = format!("Version {} of VectorIndex {name} has no content digest; rebuild the index.", version.name);
        return waiting(Reason::Preparing, text);
    };
    let tuple = Tuple {
        content_digest,
        fingerprint: version.fingerprint.clone(),
        search: index.spec.search.clone(),
        retrieval: release.spec.retrieval.clone(),
    };
    Target::Revision(Box::new(Snapshot {
        revision: tuple.revision(),
        tuple,
        index: index.name_any(),
        version: version.name.clone(),
        physical: version.physical.clone(),
        // A version stays on the claim that it was built on, whatever the spec says by now.
        claim: version.claim.clone(),
        model: version.model.clone(),
        image: seen.config.image.clone(),
    }))
}

/// Why there is no version, in words that follow the name of the index.
enum Missing {
    Yet(String),
    Never(String),
}

/// The pinned version, or the newest Ready one.
fn pick<'a>(release: &RagRelease, versions: &'a [IndexVersion]) -> Result<&'a IndexVersion, Missing> {
    let Some(pinned) = &release.spec.version else {
        let newest = versions.iter().rev().find(|v| v.state == VersionState::Ready);
        return newest.ok_or_else(|| Missing::Yet("has no Ready version yet".to_owned()));
    };
    let found = versions.iter().find(|v| v.name == *pinned);
    let found = found.ok_or_else(|| Missing::Yet(format!("has no version {pinned}, which spec.version names")))?;
    let but = format!("has version {pinned}, but it is {:?}", found.state);
    match found.state {
        VersionState::Ready => Ok(found),
        VersionState::Building | VersionState::Verifying => Err(Missing::Yet(but)),
        VersionState::Failed | VersionState::Retiring => Err(Missing::Never(but)),
    }
}

fn waiting(reason: Reason, message: String) -> Target {
    Target::Waiting { reason, message }
}

fn wrong(reason: Reason, message: String) -> Target {
    Target::Wrong { reason, message }
}
