//! Parts of specs as checked values: parsed once at the head of a plan, total afterwards.
//!
//! Why again, when CEL states the same rules: stored objects may predate a rule.

use std::time::Duration;

use crate::api::{DataFrom, Resources};

/// A field that breaks a rule: which, what was found, what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct Invalid {
    pub field: String,
    pub problem: String,
}

impl Invalid {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A Go-style duration between two bounds.
pub fn duration(field: &str, text: &str, least: Duration, most: Duration) -> Result<Duration, Invalid> {
    let parsed: kube::core::Duration = text.parse().map_err(|_| {
        Invalid::new(
            field,
            format!("is `{text}`, which is no duration; write a number and a unit, such as `30s`, `10m` or `2h`"),
        )
    })?;
    let duration = Duration::from(parsed);
    if parsed.is_negative() || duration < least || duration > most {
        return Err(Invalid::new(
            field,
            format!("is `{text}`; it must be between {} and {}", words(least), words(most)),
        ));
    }
    Ok(duration)
}

/// A duration in words for people.
pub fn words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, 0) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A name that fits into every name made from it: a DNS label of at most 40 characters that begins with a letter.
pub fn label(field: impl Into<String>, name: &str) -> Result<(), Invalid> {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if inner && first && !name.ends_with('-') && name.len() <= 40 {
        return Ok(());
    }
    let problem = format!("is `{name}`; write a DNS label of at most 40 characters that begins with a letter");
    Err(Invalid::new(field, problem))
}

/// Exactly one of configMap and volume, with a path that stays below its root.
pub fn data_from(field: &str, from: &DataFrom) -> Result<(), Invalid> {
    match (&from.config_map, &from.volume) {
        (Some(_), None) => Ok(()),
        (None, Some(volume)) => below_root(&format!("{field}.volume.path"), &volume.path),
        (Some(_), Some(_)) | (None, None) => {
            Err(Invalid::new(field, "must hold exactly one of `configMap` and `volume`"))
        }
    }
}

/// Requests within limits: the API server refuses a pod that asks for more than it may use.
pub fn resources(field: &str, resources: Option<&Resources>) -> Result<(), Invalid> {
    let Some(Resources { requests: Some(requests), limits: Some(limits) }) = resources else { return Ok(()) };
    let pairs = [("cpu", &requests.cpu, &limits.cpu), ("memory", &requests.memory, &limits.memory)];
    for (what, request, limit) in pairs {
        let (Some(request), Some(limit)) = (request, limit) else { continue };
        if matches!((quantity(request), quantity(limit)), (Some(asked), Some(most)) if asked > most && !about(asked, most))
        {
            let problem = format!("is `{request}`, more than the limit of `{limit}`; lower it, or raise the limit");
            return Err(Invalid::new(format!("{field}.requests.{what}"), problem));
        }
    }
    Ok(())
}

/// Whether two quantities are one amount in different units: 700m is not exactly .7 in binary.
pub fn about(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// A quantity as a number, of what our fields hold; `None`: none of those.
pub fn quantity(text: &str) -> Option<f64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|n| n * factor)
}

/// A relative path without `..`.
pub fn below_root(field: &str, path: &str) -> Result<(), Invalid> {
    let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..");
    if leaves {
        return Err(Invalid::new(field, format!("is `{path}`; write a relative path without `..`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_say_what_is_wrong() {
        let least = Duration::from_secs(1);
        let most = Duration::from_secs(3600);
        assert_eq!(duration("f", "1m30s", least, most).unwrap(), Duration::from_secs(90));
        for (text, word) in
            [("soon", "no duration"), ("2h", "between 1 s and 1 h"), ("0s", "between"), ("-1m", "between")]
        {
            let error = duration("spec.x", text, least, most).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("spec.x") && error.contains(text), "{error}");
        }
    }

    #[test]
    fn labels_begin_with_a_letter_and_have_at_most_40_characters() {
        let longest = "a".repeat(40);
        for name in ["a", "a-1", &longest] {
            assert_eq!(label("f", name), Ok(()), "{name}");
        }
        for name in ["", "-a", "a-", "1a", "A", "a.b", "a_b", "ä", &format!("{longest}a")] {
            assert!(label("metadata.name", name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_request_is_within_its_limit() {
        let read = |text: &str| serde_json::from_str::<Resources>(text).unwrap();
        let good = [
            r#"{}"#,
            r#"{"requests": {"cpu": "4", "memory": "9Gi"}}"#,
            r#"{"limits": {"cpu": "1m"}}"#,
            r#"{"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1073741824"}}"#,
            r#"{"requests": {"memory": "1Gi"}, "limits": {"cpu": "1"}}"#,
            r#"{"requests": {"cpu": "700m"}, "limits": {"cpu": "0.7"}}"#,
            r#"{"requests": {"memory": "1Gi"}, "limits": {"memory": "2e9"}}"#,
        ];
        for text in good {
            assert_eq!(resources("spec.resources", Some(&read(text))), Ok(()), "{text}");
        }
        assert_eq!(resources("spec.resources", None), Ok(()));
        let bad = [
            (r#"{"requests": {"cpu": "1001m"}, "limits": {"cpu": "1"}}"#, "requests.cpu` is `1001m`, more"),
            (r#"{"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}"#, "requests.memory` is `1Gi`, more"),
        ];
        for (text, told) in bad {
            let error = resources("spec.resources", Some(&read(text))).unwrap_err().to_string();
            assert!(error.starts_with("`spec.resources.") && error.contains(told), "{error}");
        }
    }

    #[test]
    fn paths_stay_below_their_root() {
        assert!(below_root("f", "a/b.jsonl").is_ok());
        assert!(below_root("f", "").is_ok());
        for path in ["/etc", "../x", "a/../../b"] {
            assert!(below_root("f", path).is_err(), "{path}");
        }
    }
}
