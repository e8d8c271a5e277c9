//! The CRDs in `crds/` are what the types say, and are fit for an API server and for `kubectl explain`.
//!
//! `make crds` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test stops at the first surprise.

use std::fs;
use std::path::Path;

use rag_operator::controller::crds;
use serde_json::Value;

#[test]
fn the_files_are_what_the_types_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let write = std::env::var_os("RAG_WRITE_GOLDENS").is_some();
    for (file, yaml) in crds::all().unwrap() {
        let path = dir.join(file);
        if write {
            fs::write(&path, &yaml).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == yaml, "crds/{file} is not what the types say; run `make crds` and read the difference");
    }
    let count = fs::read_dir(&dir).unwrap().count();
    assert_eq!(count, 4, "crds/ holds one file a kind and nothing else");
}

/// Walks a schema and says what is wrong with it.
fn lint(path: &str, schema: &Value, found: &mut Vec<String>) {
    let mut say = |what: &str| found.push(format!("{path}: {what}"));
    let type_ = schema["type"].as_str();
    if type_.is_none() {
        say("has no type");
    }
    if schema["description"].as_str().unwrap_or_default().is_empty() {
        say("has no description for kubectl explain");
    }
    if schema["format"].as_str().is_some_and(|f| f.starts_with("uint")) {
        say("is unsigned: API servers do not know the format");
    }
    if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
        say("takes unknown fields");
    }
    if schema.get("anyOf").is_some() || schema.get("oneOf").is_some() {
        say("has alternatives that a structural schema cannot hold");
    }
    let status = path.contains(".status");
    match type_ {
        Some("string") if !status && schema.get("enum").is_none() && schema.get("maxLength").is_none() => {
            say("is a string without a bound");
        }
        Some("array") if schema.get("maxItems").is_none() => say("is a list without a bound"),
        Some("integer" | "number") if !status && schema.get("minimum").is_none() => say("is a number without a bound"),
        _ => {}
    }
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            lint(&format!("{path}.{name}"), property, found);
        }
    }
    if let Some(items) = schema.get("items") {
        let mut inner = Vec::new();
        lint(&format!("{path}[]"), items, &mut inner);
        // The list's own description speaks for its items.
        found.extend(inner.into_iter().filter(|f| !f.ends_with("[]: has no description for kubectl explain")));
    }
}

#[test]
fn every_field_has_a_text_a_type_and_a_bound() {
    let mut found = Vec::new();
    for (file, yaml) in crds::all().unwrap() {
        let crd: Value = rag_operator::yaml::read(&yaml).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        lint(&format!("{file}.spec"), &schema["spec"], &mut found);
        lint(&format!("{file}.status"), &schema["status"], &mut found);
        assert!(yaml.len() < 200 * 1024, "{file} is too large for client-side apply");
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn the_lint_sees_a_fault() {
    let schema: Value = serde_json::json!({"type": "object", "description": "d", "properties": {
        "a": {"type": "string", "description": "d"},
        "b": {"type": "integer", "format": "uint32", "minimum": 0},
        "c": {"type": "array", "description": "d", "items": {"type": "string", "maxLength": 3}}
    }});
    let mut found = Vec::new();
    lint("x.spec", &schema, &mut found);
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_new_object_is_in_progress_until_somebody_looked_at_it() {
    for (file, yaml) in crds::all().unwrap() {
        let crd: Value = rag_operator::yaml::read(&yaml).unwrap();
        let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        assert_eq!(status["default"], serde_json::json!({"observedGeneration": -1}), "{file}");
    }
}
