//! Who may use whom: the rooms of the house, held by reading every path that a file names.
//!
//! Why a test and not crates: one crate builds faster, and forty lines hold the arrows as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test stops at the first surprise.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that begin with one of these, and what they must not name.
const FORBIDDEN: &[(&[&str], &[&str])] = &[
    (
        &["evaluation/"],
        &[
            "kube",
            "k8s_openapi",
            "tokio",
            "reqwest",
            "axum",
            "crate::api",
            "crate::controller",
            "crate::corpus",
            "crate::embedding",
            "crate::store",
            "crate::worker",
        ],
    ),
    (
        &["corpus/", "embedding/", "store/"],
        &["kube", "k8s_openapi", "crate::api", "crate::controller", "crate::worker"],
    ),
    (
        &["api/"],
        &[
            "kube::Client",
            "kube::Api",
            "kube::client",
            "tokio",
            "reqwest",
            "crate::controller",
            "crate::corpus",
            "crate::embedding",
            "crate::store",
            "crate::worker",
            "crate::evaluation",
        ],
    ),
    (&["worker/"], &["kube", "k8s_openapi", "crate::controller"]),
    (
        &["answer.rs", "hex.rs", "metadata.rs", "yaml.rs"],
        &[
            "kube",
            "k8s_openapi",
            "axum",
            "crate::api",
            "crate::controller",
            "crate::corpus",
            "crate::embedding",
            "crate::evaluation",
            "crate::store",
            "crate::worker",
        ],
    ),
    (&["hex.rs", "metadata.rs", "yaml.rs"], &["tokio", "reqwest"]),
    (
        PURE,
        &[
            "tokio",
            "reqwest",
            "axum",
            "tracing",
            "futures",
            "kube::Client",
            "kube::Api",
            "kube::client",
            "std::env",
            "std::fs",
            "std::net",
            "std::thread",
            "rand_pcg",
            "rand_core",
            "Timestamp::now",
            "Instant::now",
            "SystemTime",
            "super::context",
            "controller::context",
            "controller::apply",
        ],
    ),
    (
        &["controller/"],
        &[
            "crate::corpus",
            "crate::store",
            "crate::embedding",
            "crate::worker::index",
            "crate::worker::serve",
            "crate::worker::embed",
            "crate::worker::evaluate",
        ],
    ),
];

/// Files of the controllers that decide: no async, client, clock, randomness, environment or logs.
const PURE: &[&str] = &[
    "controller/plan.rs",
    "controller/event.rs",
    "controller/backoff.rs",
    "controller/command.rs",
    "controller/condition.rs",
    "controller/attempt.rs",
    "controller/pod.rs",
    "controller/spec.rs",
    "controller/text.rs",
    "controller/model/plan",
    "controller/index/plan",
    "controller/gate/plan",
    "controller/release/plan",
    "controller/model/render",
    "controller/index/render",
    "controller/gate/render",
    "controller/release/render",
    "controller/release/traffic.rs",
    "controller/release/revision.rs",
];

/// The only file that writes to the cluster.
const WRITER: &str = "controller/apply.rs";
const WRITES: &[&str] = &[
    ".patch(",
    ".patch_",
    ".replace(&",
    ".replace(name",
    ".replace_status(",
    ".replace_subresource(",
    ".replace_scale(",
    ".create(&",
    ".create_subresource(",
    ".delete(&",
    ".delete(name",
    ".delete_opt(",
    ".delete_collection(",
    ".evict(",
    "Request::post(",
    "Request::put(",
    "Request::patch(",
    "Request::delete(",
];

/// The only file that knows the library for YAML.
const YAML: &str = "yaml.rs";

/// A file's path below `src`, and its code without tests and comments.
struct Source {
    path: String,
    code: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path: name, code: code(&fs::read_to_string(&path).unwrap()) });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn code(text: &str) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| {
            !line.starts_with("#[cfg(test)]") || !text.lines().any(|l| l.starts_with("mod tests {"))
        })
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(i, line)| (i + 1, line.to_owned()))
        .collect()
}

/// Whether a line names a path, also as one of a group: `use kube::{Api as Calls};` names `kube::Api`.
fn names(line: &str, path: &str) -> bool {
    let grouped = path.rsplit_once("::").is_some_and(|(head, last)| {
        let opens = format!("{head}::{{");
        let groups = line.match_indices(&opens).map(|(at, _)| &line[at..]);
        let mut words = groups.flat_map(|group| group.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.any(|word| word == last)
    });
    grouped || written_out(line, path)
}

/// Whether a line names a path: as a whole word, and where it begins a path (`kube` is not `kubelet`).
fn written_out(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let begins =
            before.is_none_or(|c| !word(c) && (path.contains("::") || c != ':' || line[..at].ends_with("use ::")));
        let ends = after.is_none_or(|c| !word(c));
        // Without `::` in the pattern it is a crate: it must be used as the head of a path.
        let head = path.contains("::") || line[at + path.len()..].starts_with("::");
        begins && ends && head
    })
}

fn breaches(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        if source.path.contains("/tests") {
            continue;
        }
        for (rooms, forbidden) in FORBIDDEN {
            if !rooms.iter().any(|room| source.path.starts_with(room)) {
                continue;
            }
            for (number, line) in &source.code {
                for path in forbidden.iter().filter(|path| names(line, path)) {
                    found.push(format!("src/{}:{number} names {path}: {}", source.path, line.trim()));
                }
                if rooms == &PURE && line.contains("async ") {
                    found.push(format!("src/{}:{number} is async: {}", source.path, line.trim()));
                }
            }
        }
        if source.path.starts_with("controller/") && source.path != WRITER {
            for (number, line) in &source.code {
                if WRITES.iter().any(|write| line.contains(write)) {
                    found.push(format!("src/{}:{number} writes to the cluster: {}", source.path, line.trim()));
                }
            }
        }
        if source.path != YAML {
            for (number, line) in source.code.iter().filter(|(_, line)| names(line, "serde_yaml")) {
                found.push(format!("src/{}:{number} uses the library behind src/{YAML}: {}", source.path, line.trim()));
            }
        }
        let bad = ["utils", "common", "helpers", "manager", "handler", "types"];
        if source.path.split(['/', '.']).any(|part| bad.contains(&part)) {
            found.push(format!("src/{}: a name that says nothing", source.path));
        }
    }
    found
}

#[test]
fn nobody_uses_a_room_that_is_not_open_to_them() {
    let found = breaches(&sources());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_test_sees_a_breach() {
    let breach = |path: &str, line: &str| {
        let source = Source { path: path.to_owned(), code: vec![(1, line.to_owned())] };
        !breaches(&[source]).is_empty()
    };
    assert!(breach("evaluation/metric.rs", "use kube::Api;"));
    assert!(breach("worker/serve/mod.rs", "use kube::Client;"));
    assert!(breach("store/mod.rs", "let x = crate::worker::job::digest(&y);"));
    assert!(breach("controller/release/plan/machine.rs", "let now = Timestamp::now();"));
    assert!(breach("controller/release/plan/machine.rs", "async fn x() {"));
    assert!(breach("controller/release/observe.rs", "api.patch(&name, &params, &patch)"));
    assert!(breach("controller/release/observe.rs", "api.patch_metadata(&name, &params, &patch)"));
    assert!(breach("controller/release/observe.rs", "api.delete_opt(name, &params)"));
    assert!(breach("controller/release/observe.rs", "api.replace(name, &params, &object)"));
    assert!(breach("api/index.rs", "use kube::{Api as Calls, CustomResource};"));
    assert!(!breach("api/index.rs", "use kube::{CustomResource, KubeSchema};"));
    assert!(breach("controller/utils.rs", ""));
    assert!(breach("yaml.rs", "use crate::corpus::Mapping;"));
    assert!(breach("controller/config.rs", "serde_yaml::from_str(text)"));
    assert!(!breach("yaml.rs", "serde_yaml::from_str(text)"));
    assert!(!breach("evaluation/metric.rs", "use std::fmt;"));
    assert!(!breach("worker/serve/mod.rs", "let kubelet = 1;"));
    assert!(!breach("controller/apply.rs", "call.patch(&name, &params, &patch)"));
}
