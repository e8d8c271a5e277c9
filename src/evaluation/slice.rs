//! Groups of queries by their metadata: slices that are looked at beside the whole, and clusters that fail together.
//!
//! Invariant: slices stand in bytewise order of key and value, and each holds its queries in the order of the data set.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::dataset::{Dataset, hex};

/// Longest name of a slice, in bytes of a receipt.
const MAX_NAME_BYTES: usize = 63;
/// Digits of its digest in a shortened name.
const DIGITS: usize = 8;

/// Most slices of a gate. More of them are no groups: each has a query or two, and nothing can be said of it.
pub const MAX_SLICES: usize = 1_000;

/// Most keys or values that a message lists.
const MAX_LISTED: usize = 8;

/// What a gate asks of the queries' metadata and does not get.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Keys with more values than can be slices.
    #[error(
        "slices.by makes {found} slices of the judged queries ({by_key}; such as `{example}`), a gate takes at most \
         {MAX_SLICES}; slice by keys with few values, such as a domain or a language, and write coarser values into the \
         queries' metadata or slices.tsv (--slices FILE) where there are none"
    )]
    TooMany {
        found: usize,
        /// How many values each key has.
        by_key: String,
        example: String,
    },
    /// A key that no judged query has: its slices would guard nothing, its clusters would hold a query each.
    #[error(
        "{field} names `{key}`, a key that no judged query has in its metadata, so that {effect}; {there}; correct the \
         key, or write it into the queries' metadata or slices.tsv (--slices FILE) as a text, a number, true or false"
    )]
    NoKey {
        field: &'static str,
        key: String,
        effect: &'static str,
        /// The keys that there are.
        there: String,
    },
    /// A required slice without a query: no run could pass.
    #[error(
        "slices.required names `{slice}`, a value that no judged query has; {there}; correct the value, or add judged \
         queries that have it"
    )]
    NoValue {
        slice: String,
        /// The values that there are.
        there: String,
    },
}

/// Looks whether the judged queries have what a gate groups them by. A key that only some of them have is one: the others
/// are in no slice of it, and each a cluster of its own.
pub fn check(
    dataset: &Dataset,
    by: &[String],
    required: &[String],
    cluster_by: Option<&str>,
) -> Result<(), GroupError> {
    let metadata = || dataset.judged().filter_map(|(query, _)| dataset.metadata(query));
    let mut values: BTreeMap<&str, BTreeSet<&str>> = by.iter().map(|key| (key.as_str(), BTreeSet::new())).collect();
    for metadata in metadata() {
        for (key, values) in &mut values {
            values.extend(metadata.get(*key).map(String::as_str));
        }
    }
    let no_key = |field, key: &str, effect| {
        let keys: BTreeSet<&str> = metadata().flat_map(BTreeMap::keys).map(String::as_str).collect();
        GroupError::NoKey { field, key: short_name(key), effect, there: listed("keys", &keys) }
    };
    if let Some(key) = by.iter().find(|key| values.get(key.as_str()).is_none_or(BTreeSet::is_empty)) {
        return Err(no_key("slices.by", key, "it makes no slice and nothing is guarded by it"));
    }
    if let Some(key) = cluster_by.filter(|key| !metadata().any(|metadata| metadata.contains_key(*key))) {
        return Err(no_key("statistics.clusterBy", key, "every query would count for itself"));
    }
    few(&values)?;
    for slice in required {
        let (key, value) = slice.split_once('=').unwrap_or((slice, ""));
        let there = values.get(key).cloned().unwrap_or_default();
        if !there.contains(value) {
            return Err(GroupError::NoValue { slice: short_name(slice), there: listed("values", &there) });
        }
    }
    Ok(())
}

fn few(values: &BTreeMap<&str, BTreeSet<&str>>) -> Result<(), GroupError> {
    let found = values.values().map(BTreeSet::len).sum();
    if found <= MAX_SLICES {
        return Ok(());
    }
    let largest = values.iter().max_by_key(|(_, values)| values.len());
    let example = largest.and_then(|(key, values)| Some(short_name(&format!("{key}={}", values.first()?))));
    let by_key: Vec<String> =
        values.iter().map(|(key, values)| format!("`{}` has {} values", short_name(key), values.len())).collect();
    Err(GroupError::TooMany { found, by_key: by_key.join(", "), example: example.unwrap_or_default() })
}

/// The first of them, in words.
fn listed(what: &str, names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return format!("there are no {what} at all");
    }
    let first: Vec<String> = names.iter().take(MAX_LISTED).map(|name| format!("`{}`", short_name(name))).collect();
    let more = match names.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the {what} there are: {}{more}", first.join(", "))
}

/// The queries that share a value of a metadata key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// `key=value`, shortened to what a receipt can carry.
    pub name: String,
    /// Indices among the judged queries.
    pub queries: Vec<usize>,
}

/// The slices of a data set by these keys; a query without a key is in no slice of it.
pub fn slices(dataset: &Dataset, keys: &[String]) -> Vec<Slice> {
    let mut found: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (i, (query, _)) in dataset.judged().enumerate() {
        let Some(metadata) = dataset.metadata(query) else { continue };
        for key in keys {
            if let Some(value) = metadata.get(key) {
                found.entry((key, value)).or_default().push(i);
            }
        }
    }
    found
        .into_iter()
        .map(|((key, value), queries)| Slice { name: short_name(&format!("{key}={value}")), queries })
        .collect()
}

/// For each judged query its cluster by a key; a query without the key is a cluster of its own.
pub fn clusters(dataset: &Dataset, key: &str) -> Vec<usize> {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let of_query = |(i, (query, _)): (usize, (&str, _))| {
        let value = dataset.metadata(query).and_then(|metadata| metadata.get(key));
        value.map_or(i, |value| *known.entry(value).or_insert(i))
    };
    dataset.judged().enumerate().map(of_query).collect()
}

/// How many different clusters a list names.
pub fn distinct(clusters: &[usize]) -> usize {
    clusters.iter().collect::<BTreeSet<_>>().len()
}

/// A name that takes at most 63 bytes of a receipt, where all but plain ASCII is escaped: as it is, or where it does not
/// fit its beginning and 8 digits of its digest, so that two names stay two.
pub fn short_name(name: &str) -> String {
    let whole = beginning(name, MAX_NAME_BYTES);
    if whole == name {
        return whole;
    }
    let digest: String = hex(&Sha256::digest(name.as_bytes())).chars().take(DIGITS).collect();
    format!("{}~{digest}", beginning(name, MAX_NAME_BYTES.saturating_sub(DIGITS.saturating_add(1))))
}

fn beginning(name: &str, bytes: usize) -> String {
    let mut left = bytes;
    let cost = |c: char| match c {
        '"' | '\\' => 2,
        ' '..='~' => 1,
        c => c.len_utf16().saturating_mul(6),
    };
    let fits = |c: &char| {
        let after = left.checked_sub(cost(*c));
        left = after.unwrap_or(0);
        after.is_some()
    };
    name.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::dataset::Files;

    fn dataset(metadata: &[&str]) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        let line = |(i, m): (usize, &&str)| format!("{{\"_id\":\"q{i}\",\"text\":\"t\",\"metadata\":{m}}}\n");
        std::fs::write(files.queries.as_ref().unwrap(), metadata.iter().enumerate().map(line).collect::<String>())
            .unwrap();
        let qrels: String = (0..metadata.len()).map(|i| format!("q{i}\td\t1\n")).collect();
        std::fs::write(&files.qrels, format!("query-id\tcorpus-id\tscore\n{qrels}")).unwrap();
        Dataset::read(&files).unwrap()
    }

    #[test]
    fn slices_stand_in_order_of_key_and_value() {
        let set = dataset(&[
            r#"{"domain":"legal","lang":"de"}"#,
            r#"{"domain":"a=b"}"#,
            r#"{"lang":"de","domain":"legal"}"#,
            "{}",
            r#"{"lang":3}"#,
        ]);
        let found = slices(&set, &["lang".to_owned(), "domain".to_owned()]);
        let shown: Vec<(&str, &[usize])> = found.iter().map(|s| (s.name.as_str(), s.queries.as_slice())).collect();
        assert_eq!(
            shown,
            [("domain=a=b", &[1][..]), ("domain=legal", &[0, 2][..]), ("lang=3", &[4][..]), ("lang=de", &[0, 2][..])]
        );
        assert!(slices(&set, &["other".to_owned()]).is_empty());
    }

    #[test]
    fn more_values_than_a_gate_takes_are_refused_with_what_to_write() {
        let metadata = |n: usize| (0..n).map(|i| format!(r#"{{"url":"u{i:06}","lang":"de"}}"#)).collect::<Vec<_>>();
        let set = |n| dataset(&metadata(n).iter().map(String::as_str).collect::<Vec<_>>());
        let keys = ["lang".to_owned(), "url".to_owned()];
        assert_eq!(check(&set(999), &keys, &[], None), Ok(()));
        let many = set(1_000);
        assert_eq!(check(&many, &keys[..1], &[], None), Ok(()));
        let error = check(&many, &keys, &[], None).unwrap_err().to_string();
        for part in [
            "slices.by makes 1001 slices",
            "`lang` has 1 values, `url` has 1000 values",
            "such as `url=u000000`",
            "takes at most 1000",
            "slice by keys with few values",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn keys_and_values_that_no_judged_query_has_are_refused_with_those_that_there_are() {
        let set = dataset(&[r#"{"domain":"legal","lang":"de","tags":["x"]}"#, r#"{"domain":"tax"}"#, "{}"]);
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let found = |by: &[&str], required: &[&str], cluster_by| {
            check(&set, &list(by), &list(required), cluster_by).map_err(|error| error.to_string())
        };
        // A key that one query has is enough.
        assert_eq!(found(&["lang", "domain"], &["lang=de", "domain=tax"], Some("lang")), Ok(()));
        assert_eq!(found(&[], &[], None), Ok(()));
        let told = found(&["domain", "domian"], &[], None).unwrap_err();
        for part in
            ["slices.by names `domian`, a key that no judged query has", "the keys there are: `domain`, `lang`;"]
        {
            assert!(told.contains(part), "{told}");
        }
        // A list is no value.
        let told = found(&["tags"], &[], None).unwrap_err();
        assert!(
            told.contains("slices.by names `tags`") && told.contains("as a text, a number, true or false"),
            "{told}"
        );
        let told = found(&[], &[], Some("souce")).unwrap_err();
        assert!(told.contains("statistics.clusterBy names `souce`"), "{told}");
        assert!(told.contains("every query would count for itself; the keys there are: `domain`, `lang`;"), "{told}");
        let told = found(&["domain"], &["domain=legal", "domain=it"], None).unwrap_err();
        assert!(told.contains("slices.required names `domain=it`, a value that no judged query has"), "{told}");
        assert!(told.contains("the values there are: `legal`, `tax`;"), "{told}");
        let none = check(&dataset(&["{}"]), &list(&["a"]), &[], None).unwrap_err().to_string();
        assert!(none.contains("there are no keys at all"), "{none}");
    }

    #[test]
    fn a_message_about_keys_is_as_long_as_a_receipt_takes_whatever_they_are() {
        let metadata = |i: usize| format!("{{\"{i:03}{}\":1}}", "k".repeat(500));
        let all: Vec<String> = (0..300).map(metadata).collect();
        let set = dataset(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let told = check(&set, &[], &[], Some(&"k".repeat(63))).unwrap_err().to_string();
        assert!(told.contains("`000kkk") && told.contains(" and 292 more;"), "{told}");
        assert!(told.chars().count() <= 1_024, "{}", told.chars().count());
    }

    #[test]
    fn a_query_without_the_key_is_its_own_cluster() {
        let set = dataset(&[r#"{"doc":"a"}"#, r#"{"doc":"b"}"#, r#"{"doc":"a"}"#, "{}", "{}"]);
        let found = clusters(&set, "doc");
        assert_eq!(found, [0, 1, 0, 3, 4]);
        assert_eq!(distinct(&found), 4);
    }

    #[test]
    fn names_fit_into_a_receipt_whatever_they_hold() {
        assert_eq!(short_name("domain=legal"), "domain=legal");
        let long = "x".repeat(80);
        assert_ne!(short_name(&format!("{long}a")), short_name(&format!("{long}b")), "two names stay two");
        assert_ne!(short_name("раздел=налоги"), short_name("раздел=налоговое право"));
        for c in ['a', '"', '\\', '\u{1}', 'é', '語', '🌍', '\u{7f}'] {
            let name = short_name(&std::iter::repeat_n(c, 100).collect::<String>());
            let json = serde_json::to_string(&name).unwrap();
            let escaped: usize = json.chars().map(|c| if c.is_ascii() { 1 } else { 6 * c.len_utf16() }).sum();
            assert!(escaped <= MAX_NAME_BYTES + 2 && !name.is_empty(), "{c:?}: {escaped}");
        }
    }
}
