//! The spec of an index as a checked value: parsed once at the head of a plan, total afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::ResourceExt;

use crate::api::VectorIndex;
use crate::api::index::{Chunking, DataQuality, Source};
use crate::controller::spec::{Invalid, data_from, duration, label, resources};

/// Most versions that status can list.
pub const LISTED: usize = 50;

/// A spec that holds every rule.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    pub sources: &'a [Source],
    pub chunking: &'a Chunking,
    pub keyword: bool,
    pub data_quality: &'a DataQuality,
    pub claim: &'a str,
    pub deadline_seconds: i64,
    /// Ready versions kept beyond those in use.
    pub keep: usize,
    pub exact_below: i64,
}

impl<'a> Spec<'a> {
    /// Checks the rules that CEL states too: stored objects may predate them.
    pub fn of(index: &'a VectorIndex) -> Result<Self, Invalid> {
        let spec = &index.spec;
        label("metadata.name", &index.name_any())?;
        sources(&spec.sources)?;
        chunking(&spec.chunking)?;
        quality(&spec.data_quality)?;
        resources("spec.build.resources", spec.build.resources.as_ref())?;
        let Some(store) = &spec.store.embedded else {
            return Err(Invalid::new(
                "spec.store",
                "holds no store; write `embedded: {claimName: <PersistentVolumeClaim>}`",
            ));
        };
        let deadline = duration(
            "spec.build.deadline",
            &spec.build.deadline,
            Duration::from_secs(60),
            Duration::from_secs(72 * 3600),
        )?;
        let keep = i64::from(spec.retention.versions);
        between("spec.retention.versions", keep, 1, 50)?;
        let exact_below = i64::from(spec.search.exact_below);
        between("spec.search.exactBelow", exact_below, 1, 1_000_000)?;
        Ok(Self {
            sources: &spec.sources,
            chunking: &spec.chunking,
            keyword: spec.keyword.enabled,
            data_quality: &spec.data_quality,
            claim: &store.claim_name,
            deadline_seconds: i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX),
            keep: usize::try_from(keep).unwrap_or(1),
            exact_below,
        })
    }
}

fn sources(sources: &[Source]) -> Result<(), Invalid> {
    let count = i64::try_from(sources.len()).unwrap_or(i64::MAX);
    between("the number of spec.sources", count, 1, 32)?;
    let mut names = BTreeSet::new();
    for (i, source) in sources.iter().enumerate() {
        let field = format!("spec.sources[{i}]");
        label(format!("{field}.name"), &source.name)?;
        if !names.insert(source.name.as_str()) {
            return Err(Invalid::new(
                format!("{field}.name"),
                format!("is `{}`, as is an earlier source's; write a name of its own", source.name),
            ));
        }
        data_from(&format!("{field}.from"), &source.from)?;
    }
    Ok(())
}

fn chunking(chunking: &Chunking) -> Result<(), Invalid> {
    between("spec.chunking.maxTokens", i64::from(chunking.max_tokens), 16, 8192)?;
    if chunking.overlap_tokens < 0 || chunking.overlap_tokens >= chunking.max_tokens {
        return Err(Invalid::new(
            "spec.chunking.overlapTokens",
            format!(
                "is {}; it must be at least 0 and smaller than `spec.chunking.maxTokens` ({})",
                chunking.overlap_tokens, chunking.max_tokens
            ),
        ));
    }
    Ok(())
}

fn quality(quality: &DataQuality) -> Result<(), Invalid> {
    between("spec.dataQuality.minDocuments", quality.min_documents, 0, 1_000_000_000)?;
    let shares = [
        ("maxQuarantinePercent", quality.max_quarantine_percent, 100.0),
        ("shrinkGuardPercent", quality.shrink_guard_percent, 100.0),
        ("selfRetrievalMin", quality.self_retrieval_min, 1.0),
    ];
    for (name, value, most) in shares {
        if !(0.0..=most).contains(&value) {
            return Err(Invalid::new(
                format!("spec.dataQuality.{name}"),
                format!("is {value}; it must be between 0 and {most}"),
            ));
        }
    }
    Ok(())
}

fn between(field: &str, value: i64, least: i64, most: i64) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(field, format!("is {value}; it must be between {least} and {most}")))
}
