//! The operator's configuration file: YAML, unknown keys refused.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::spec;
use crate::api::Resources;
use crate::yaml;

/// What the administrator sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Image of every pod that the operator makes: its own.
    pub image: String,
    /// `Always`, `IfNotPresent` (default) or `Never`.
    #[serde(default = "if_not_present")]
    pub image_pull_policy: PullPolicy,
    /// Which namespaces are looked after.
    #[serde(default)]
    pub scope: Scope,
    /// CPU and memory of worker pods whose object names none.
    #[serde(default)]
    pub resources: Option<Resources>,
}

/// When the kubelet pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Which namespaces are looked after: `Cluster`, or `namespaces: [a, b]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scope {
    #[default]
    #[serde(with = "cluster_word")]
    Cluster,
    Namespaces {
        namespaces: Vec<String>,
    },
}

mod cluster_word {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("Cluster")
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == "Cluster" { Ok(()) } else { Err(serde::de::Error::custom("expected `Cluster`")) }
    }
}

fn if_not_present() -> PullPolicy {
    PullPolicy::IfNotPresent
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("the configuration {path} is wrong: {source}")]
    Parse { path: String, source: yaml::Error },
    #[error("the configuration {path} is wrong: `image` must name the operator's own image")]
    NoImage { path: String },
    #[error(
        "the configuration {path} is wrong: `scope.namespaces` must name at least one namespace, or write `scope: Cluster`"
    )]
    NoNamespace { path: String },
    #[error("the configuration {path} is wrong: {problem}")]
    Resources { path: String, problem: spec::Invalid },
}

/// Reads and checks the file.
pub fn read(path: &Path) -> Result<Config, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
    parse(&text, &shown)
}

fn parse(text: &str, path: &str) -> Result<Config, ConfigError> {
    let config: Config = yaml::read(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source })?;
    if config.image.trim().is_empty() {
        return Err(ConfigError::NoImage { path: path.to_owned() });
    }
    spec::resources("resources", config.resources.as_ref())
        .map_err(|problem| ConfigError::Resources { path: path.to_owned(), problem })?;
    match &config.scope {
        Scope::Namespaces { namespaces } if namespaces.is_empty() => {
            Err(ConfigError::NoNamespace { path: path.to_owned() })
        }
        Scope::Cluster | Scope::Namespaces { .. } => Ok(config),
    }
}

#[cfg(test)]
impl Config {
    /// What the tests of all controllers run with.
    pub fn plain() -> Self {
        Self { image: "rag:1".to_owned(), image_pull_policy: PullPolicy::Never, scope: Scope::Cluster, resources: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_scopes_and_refuses_unknown_keys() {
        let config = parse("image: rag:1\nscope: Cluster\n", "f").unwrap();
        assert_eq!(config.scope, Scope::Cluster);
        let config = parse("image: rag:1\nscope: {namespaces: [a]}\n", "f").unwrap();
        assert_eq!(config.scope, Scope::Namespaces { namespaces: vec!["a".to_owned()] });
        assert!(parse("image: rag:1\nimagee: x\n", "f").unwrap_err().to_string().contains("imagee"));
        assert!(parse("image: ''\n", "f").is_err());
        assert!(parse("image: a\nscope: {namespaces: []}\n", "f").is_err());
        let much = "image: a\nresources: {requests: {cpu: '2'}, limits: {cpu: '1'}}\n";
        let told = parse(much, "f").unwrap_err().to_string();
        assert!(told.contains("`resources.requests.cpu` is `2`, more than the limit of `1`"), "{told}");
    }
}
