//! Commands: annotations whose value takes effect once, as every kind reads them and keeps them in its status.
//!
//! Invariants: a value of any length fits into the status; the last of each command always stays there, or its
//! annotation would take effect again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;

use crate::api::release::HandledCommand;

/// Most commands kept in status.
pub const KEPT: usize = 20;
/// Most characters of a value, of an outcome and of a field manager in status.
const VALUE: usize = 256;
const OUTCOME: usize = 300;
const MANAGER: usize = 128;

/// The value of a command on an object, as long as status can keep it.
pub fn given<K: ResourceExt>(object: &K, annotation: &str) -> Option<String> {
    let value: String = object.annotations().get(annotation)?.chars().take(VALUE).collect();
    (!value.trim().is_empty()).then_some(value)
}

/// A command as status lists it: without the prefix of its annotation.
pub fn word(annotation: &str) -> &str {
    annotation.strip_prefix("ragops.dev/").unwrap_or(annotation)
}

/// A command with what came of it.
pub fn handled<K: ResourceExt>(
    object: &K,
    annotation: &str,
    value: String,
    outcome: &str,
    at: String,
) -> HandledCommand {
    HandledCommand {
        command: word(annotation).to_owned(),
        value,
        manager: manager(object, annotation),
        outcome: outcome.chars().take(OUTCOME).collect(),
        at,
    }
}

/// The field manager that last wrote an annotation: several may own one value.
fn manager<K: ResourceExt>(object: &K, annotation: &str) -> String {
    let field = format!("f:{annotation}");
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|f| &f.0);
        fields.and_then(|f| f.pointer("/f:metadata/f:annotations")).is_some_and(|a| a.get(&field).is_some())
    };
    let entries = object.managed_fields().iter().filter(wrote);
    let last = entries.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    let manager = last.and_then(|entry| entry.manager.as_deref()).unwrap_or("unknown");
    manager.chars().take(MANAGER).collect()
}

/// Keeps the newest; the last of each command always stays.
pub fn remember(commands: &mut Vec<HandledCommand>, handled: HandledCommand) {
    commands.push(handled);
    while commands.len() > KEPT {
        let superseded = commands
            .iter()
            .enumerate()
            .position(|(i, c)| commands.iter().skip(i.saturating_add(1)).any(|l| l.command == c.command));
        match superseded {
            Some(i) => drop(commands.remove(i)),
            None => break,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    const ANNOTATION: &str = "ragops.dev/retry";

    fn object(value: &str, writers: &[(&str, &str)]) -> ConfigMap {
        let entries: Vec<_> = writers
            .iter()
            .map(|(manager, time)| {
                let fields = json!({"f:metadata": {"f:annotations": {format!("f:{ANNOTATION}"): {}}}});
                json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields})
            })
            .collect();
        let metadata = json!({"name": "c", "annotations": {ANNOTATION: value}, "managedFields": entries});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn who_wrote_last_gave_the_command() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        for writers in [[("a", early), ("b", late)], [("b", late), ("a", early)]] {
            assert_eq!(handled(&object("r", &writers), ANNOTATION, "r".to_owned(), "done", String::new()).manager, "b");
        }
        assert_eq!(manager(&object("r", &[]), ANNOTATION), "unknown");
        assert_eq!(manager(&object("r", &[("a", early)]), "ragops.dev/abort"), "unknown");
    }

    #[test]
    fn texts_of_any_length_fit() {
        let long = "ü".repeat(2_000);
        let object = object(&long, &[(&long, "2026-01-01T00:00:00Z")]);
        let value = given(&object, ANNOTATION).unwrap();
        let kept = handled(&object, ANNOTATION, value, &long, String::new());
        let lengths = [&kept.value, &kept.outcome, &kept.manager].map(|text| text.chars().count());
        assert_eq!((kept.command.as_str(), lengths), ("retry", [256, 300, 128]));
        assert_eq!(given(&self::object(" ", &[]), ANNOTATION), None);
        assert_eq!(given(&object, "ragops.dev/abort"), None);
    }
}
