//! The store on real files.

use proptest::prelude::*;
use serde_json::json;

use super::scan::{Bits, Codes, length};
use super::*;
use crate::metadata::Metadata;
use crate::store::{BuildCounts, Distance, Filter, Manifest, Scored, StoreError};

const DISTANCES: [Distance; 3] = [Distance::Cosine, Distance::Dot, Distance::Euclidean];

fn stamp() -> Stamp {
    Stamp {
        owner_uid: "uid-1".into(),
        version: "v1".into(),
        fingerprint: "0123456789ab".into(),
        content_digest: "c".into(),
        source_digest: "s".into(),
        normalized: false,
        documents: 1,
        chunking: json!({}),
        build: BuildCounts::default(),
    }
}

struct Row<'a> {
    title: &'a str,
    text: &'a str,
    metadata: serde_json::Value,
    vector: Vec<f32>,
}

fn row<'a>(title: &'a str, text: &'a str, metadata: serde_json::Value) -> Row<'a> {
    Row { title, text, metadata, vector: vec![1.0, 0.5] }
}

fn write(dir: &Path, distance: Distance, rows: &[Row<'_>]) -> Manifest {
    let dimensions = rows.first().map_or(2, |r| r.vector.len());
    let mut builder = Builder::create(dir, dimensions, distance, true).unwrap();
    for (n, row) in rows.iter().enumerate() {
        let metadata: Metadata = row.metadata.as_object().unwrap().clone();
        let embedded = format!("{} {}", row.title, row.text);
        let id = format!("d{n}#0");
        let chunk = NewChunk {
            id: &id,
            document: &format!("d{n}"),
            title: row.title,
            embedded: &embedded,
            text: row.text,
            metadata: &metadata,
        };
        builder.add(&chunk, &row.vector).unwrap();
    }
    builder.finish(stamp(), &[vec![1.0; dimensions]]).unwrap()
}

fn ids(hits: &[Scored]) -> Vec<&str> {
    hits.iter().map(|h| h.id.as_str()).collect()
}

#[test]
fn what_was_written_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a ? name%20#x");
    let rows = [row("T", "one", json!({"year": 2020})), row("", "two", json!({}))];
    let manifest = write(&dir, Distance::Cosine, &rows);
    let index = EmbeddedIndex::open(&dir).unwrap();
    assert_eq!(*index.manifest(), manifest);
    assert_eq!(index.manifest().chunks, 2);
    assert_eq!(index.references(), [vec![1.0, 1.0]]);
    let chunks = index.chunks(&[1, 0]).unwrap();
    assert_eq!((chunks[0].id.as_str(), chunks[0].text.as_str()), ("d1#0", "two"));
    assert_eq!((chunks[1].title.as_str(), chunks[1].metadata["year"].as_i64()), ("T", Some(2020)));
    assert_eq!(index.vector(1).unwrap(), [1.0, 0.5]);
    assert!(matches!(index.chunk(2), Err(StoreError::NoChunk { ordinal: 2, chunks: 2 })));
    assert!(!root.path().join("a ? name%20#x.building").exists());
}

#[test]
fn incomplete_damaged_and_foreign_forms_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    std::fs::create_dir(&dir).unwrap();
    assert!(matches!(EmbeddedIndex::open(&dir), Err(StoreError::Incomplete(_))));
    write(&dir, Distance::Dot, &[row("", "x", json!({}))]);
    let vectors = dir.join("vectors.f32");
    let whole = std::fs::read(&vectors).unwrap();
    std::fs::write(&vectors, &whole[..4]).unwrap();
    let error = EmbeddedIndex::open(&dir).err().unwrap().to_string();
    assert!(error.contains("4 bytes, the manifest says 8"), "{error}");
    std::fs::write(&vectors, [0; 8]).unwrap();
    let error = EmbeddedIndex::open(&dir).err().unwrap().to_string();
    assert!(error.contains("all zeros"), "{error}");
    let manifest = std::fs::read_to_string(dir.join(MANIFEST)).unwrap();
    std::fs::write(dir.join(MANIFEST), manifest.replace("\"format\": 1", "\"format\": 9")).unwrap();
    assert!(matches!(EmbeddedIndex::open(&dir), Err(StoreError::Format { found: 9, .. })));
}

#[test]
fn a_version_is_never_overwritten_and_an_interrupted_build_is() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    let mut cut = Builder::create(&dir, 2, Distance::Dot, false).unwrap();
    let metadata = Metadata::new();
    let chunk = NewChunk { id: "x#0", document: "x", title: "", embedded: "x", text: "x", metadata: &metadata };
    cut.add(&chunk, &[1.0, 1.0]).unwrap();
    assert!(cut.add(&chunk, &[0.0, 0.0]).unwrap_err().to_string().contains("chunk x#0 is all zeros"));
    assert!(root.path().join("v1.building").exists() && !dir.exists());
    drop(cut);
    assert!(!root.path().join("v1.building").exists(), "a build that fails cleans up");
    // A killed one cannot.
    std::fs::create_dir(root.path().join("v1.building")).unwrap();
    std::fs::write(root.path().join("v1.building/index.sqlite"), "half").unwrap();
    write(&dir, Distance::Dot, &[row("", "x", json!({}))]);
    assert!(matches!(Builder::create(&dir, 2, Distance::Dot, false), Err(StoreError::Exists(_))));
}

#[test]
fn vectors_of_the_version_before_are_found_by_text_and_only_for_the_same_encoder() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    write(&dir, Distance::Cosine, &[row("T", "one", json!({}))]);
    let open = |fingerprint| PreviousVectors::open(&dir, fingerprint, 2, Distance::Cosine).unwrap();
    let previous = open("0123456789ab").unwrap();
    assert_eq!(previous.vector("T one").unwrap(), Some(vec![1.0, 0.5]));
    assert_eq!(previous.vector("T two").unwrap(), None);
    assert!(open("ffffffffffff").is_none());
}

#[test]
fn prune_deletes_only_what_carries_the_owners_marker() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    write(&dir, Distance::Cosine, &[row("", "x", json!({}))]);
    std::fs::create_dir(root.path().join("v1.building")).unwrap();
    assert_eq!(prune(root.path(), "v1", "another").unwrap(), Pruned::Foreign);
    assert!(dir.exists());
    assert_eq!(prune(root.path(), "v1", "uid-1").unwrap(), Pruned::Deleted);
    assert_eq!(prune(root.path(), "v1", "uid-1").unwrap(), Pruned::Missing);
    std::fs::create_dir(root.path().join("mine")).unwrap();
    assert_eq!(prune(root.path(), "mine", "uid-1").unwrap(), Pruned::Foreign);
    std::fs::create_dir(root.path().join("v2.deleting")).unwrap();
    assert_eq!(prune(root.path(), "v2", "uid-1").unwrap(), Pruned::Deleted);
    for name in ["", ".", "..", "a/b", "../v1", "/v1"] {
        assert!(matches!(prune(root.path(), name, "uid-1"), Err(StoreError::Name(_))), "{name}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn keywords_find_words_titles_and_cjk() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    let rows = [
        row("Laptops", "How to charge a battery, what's needed", json!({"lang": "en"})),
        row("", "北京大学在北京，手机iPhone15很贵", json!({"lang": "zh"})),
        row("Battery", "Nothing else", json!({"lang": "en"})),
        row("", "東京の大学", json!({"lang": "ja"})),
    ];
    write(&dir, Distance::Cosine, &rows);
    let index = EmbeddedIndex::open(&dir).unwrap();
    let search = |q: &str| {
        let hits = index.search_keyword(q, 10, None).unwrap();
        hits.into_iter().map(|h| h.id).collect::<Vec<_>>()
    };
    assert_eq!(search("batteries"), ["d2#0", "d0#0"], "stemmed, the title counts too");
    assert_eq!(search("what's AND C++ (dev)"), ["d0#0"]);
    assert_eq!(search("北京"), ["d1#0"]);
    assert_eq!(search("大学"), ["d3#0", "d1#0"], "both, the shorter first");
    assert_eq!(search("学"), ["d1#0", "d3#0"].iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(search("学在"), ["d1#0"]);
    assert_eq!(search("iphone15"), ["d1#0"], "words between CJK runs stay words");
    assert!(search("京東").is_empty());
    assert!(search("\" * : ^ ( ) -").is_empty());
    let hits = index.search_keyword("battery", 10, None).unwrap();
    assert!(hits[0].score > hits[1].score && hits[1].score > 0.0, "higher is better: {hits:?}");
    let filter = Filter::parse(&json!({"lang": "ja"})).unwrap();
    assert_eq!(ids(&index.search_keyword("大学", 10, Some(&filter)).unwrap()), ["d3#0"]);
}

#[test]
fn filters_hold_on_every_type() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    let rows = [
        row("", "a", json!({"year": 2019, "tag": "x", "open": true})),
        row("", "b", json!({"year": 2021.5, "tag": "y", "open": false})),
        row("", "c", json!({"year": "2021", "tag": "z", "open": 1})),
        row("", "d", json!({})),
    ];
    write(&dir, Distance::Cosine, &rows);
    let index = EmbeddedIndex::open(&dir).unwrap();
    for (filter, expected) in [
        (json!({}), vec!["d0#0", "d1#0", "d2#0", "d3#0"]),
        (json!({"year": 2019}), vec!["d0#0"]),
        (json!({"year": {"gte": 2019}}), vec!["d0#0", "d1#0"]),
        (json!({"year": {"gte": 2020, "lte": 2021.5}}), vec!["d1#0"]),
        (json!({"year": {"gte": "2000"}}), vec!["d2#0"]),
        (json!({"tag": ["x", "z"], "open": true}), vec!["d0#0"]),
        (json!({"open": 1}), vec!["d2#0"]),
        (json!({"open": false}), vec!["d1#0"]),
        (json!({"none": "x"}), vec![]),
        (json!({"tag'; DROP TABLE chunk; --": "x"}), vec![]),
    ] {
        let parsed = Filter::parse(&filter).unwrap();
        let hits = index.search_vector(&[1.0, 1.0], 10, Some(&parsed)).unwrap();
        assert_eq!(ids(&hits), expected, "{filter}");
    }
}

#[test]
fn ties_follow_the_id_by_bytes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    let rows: Vec<Row<'_>> = (0..12).map(|_| row("", "same", json!({}))).collect();
    write(&dir, Distance::Cosine, &rows);
    let index = EmbeddedIndex::open(&dir).unwrap();
    let expected = ["d0#0", "d10#0", "d11#0", "d1#0"];
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(ids(&index.search_vector(&[1.0, 0.0], 4, None).unwrap()), sorted);
    assert_eq!(ids(&index.search_keyword("same", 4, None).unwrap()), sorted);
}

#[test]
fn queries_that_cannot_be_compared_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    write(&dir, Distance::Cosine, &[row("", "x", json!({}))]);
    let index = EmbeddedIndex::open(&dir).unwrap();
    for (query, part) in [
        (vec![1.0], "has 1 numbers, expected 2"),
        (vec![0.0, 0.0], "all zeros"),
        (vec![f32::NAN, 1.0], "not finite"),
        (vec![f32::INFINITY, 1.0], "not finite"),
    ] {
        let error = index.search_vector(&query, 1, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn long_queries_stay_within_the_engines_limits() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    write(&dir, Distance::Cosine, &[row("", "w7 北京", json!({}))]);
    let index = EmbeddedIndex::open(&dir).unwrap();
    let words: String = (0..4000).map(|n| format!("w{n} ")).collect();
    assert_eq!(index.search_keyword(&words, 5, None).unwrap().len(), 1);
    let han: String = (0x4e00..0x5a00).filter_map(char::from_u32).collect();
    assert!(index.search_keyword(&(han + "北京"), 5, None).unwrap().len() == 1);
}

#[test]
fn searches_run_side_by_side() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    write(&dir, Distance::Cosine, &[row("", "alpha", json!({})), row("", "beta", json!({}))]);
    let index = EmbeddedIndex::open(&dir).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(ids(&index.search_keyword("beta", 2, None).unwrap()), ["d1#0"]);
                }
            });
        }
    });
}

/// Scores every vector: what the two passes must equal.
fn full_scan(distance: Distance, query: &[f32], vectors: &[Vec<f32>], k: usize) -> Vec<(usize, f64)> {
    let query_length = length(query, query.len()).unwrap();
    let mut all: Vec<(usize, f64)> = vectors
        .iter()
        .enumerate()
        .map(|(n, v)| (n, exact_score(distance, query, query_length, v, length(v, v.len()).unwrap())))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

fn numbers(dimensions: usize) -> impl Strategy<Value = Vec<f32>> {
    let number = prop_oneof![
        4 => -1.0_f32..1.0,
        1 => Just(0.0_f32),
        1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL,
        1 => prop::sample::select(vec![1.0_f32, -1.0, 0.5, 1e-38, 1e30]),
    ];
    prop::collection::vec(number, dimensions).prop_filter("zero", |v| v.iter().any(|x| *x != 0.0))
}

/// Vectors with exact copies and copies that differ in the last bit: the hardest for codes.
fn family(dimensions: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
    prop::collection::vec((numbers(dimensions), 0_usize..4), 1..24).prop_map(|seeds| {
        seeds
            .into_iter()
            .flat_map(|(vector, copies)| {
                let mut near = vector.clone();
                let last = near.len() - 1;
                near[last] = f32::from_bits(near[last].to_bits() ^ 1);
                let near = if near.iter().all(|x| *x == 0.0) { vector.clone() } else { near };
                std::iter::once(near).chain(std::iter::repeat_n(vector, copies))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn two_passes_equal_a_full_scan(
        (query, vectors) in (1_usize..40).prop_flat_map(|n| (numbers(n), family(n))),
        k in 1_usize..12,
        mask in any::<u64>(),
    ) {
        for distance in DISTANCES {
            let mut codes = Codes::new(distance, query.len());
            vectors.iter().for_each(|v| codes.push(v).unwrap());
            let kept = codes.candidates(&query, k, None).unwrap();
            for (n, _) in full_scan(distance, &query, &vectors, k) {
                prop_assert!(kept.contains(&(n as u32)), "{distance:?} lost {n}");
            }
            let mut bits = Bits::none(vectors.len());
            (0..vectors.len() as u32).filter(|n| mask >> (n % 64) & 1 == 1).for_each(|n| bits.set(n));
            let kept = codes.candidates(&query, k, Some(&bits)).unwrap();
            let allowed = full_scan(distance, &query, &vectors, vectors.len());
            for (n, _) in allowed.into_iter().filter(|(n, _)| bits.has(*n as u32)).take(k) {
                prop_assert!(kept.contains(&(n as u32)), "{distance:?} lost {n} under a filter");
            }
            prop_assert!(kept.iter().all(|n| bits.has(*n)));
        }
    }

    #[test]
    fn any_text_is_a_query(text in any::<String>(), noise in "[\"'*():^{}+\\-\\\\ANDORNT\u{0}\u{301}京ーa-c ]{0,40}") {
        thread_local! {
            static INDEX: (tempfile::TempDir, EmbeddedIndex) = {
                let root = tempfile::tempdir().unwrap();
                let dir = root.path().join("v1");
                write(&dir, Distance::Cosine, &[row("a", "b c 京ー", json!({}))]);
                let index = EmbeddedIndex::open(&dir).unwrap();
                (root, index)
            };
        }
        INDEX.with(|(_, index)| {
            for query in [&text, &noise] {
                index.search_keyword(query, 3, None).unwrap();
            }
        });
    }

    #[test]
    fn every_text_finds_itself(text in "\\PC{1,60}") {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v1");
        write(&dir, Distance::Cosine, &[row("", &text, json!({}))]);
        let index = EmbeddedIndex::open(&dir).unwrap();
        let expected = usize::from(text.chars().any(|c| c.is_ascii_alphanumeric()));
        prop_assert!(index.search_keyword(&text, 1, None).unwrap().len() >= expected);
    }
}

#[test]
fn a_search_equals_a_full_scan_in_order_and_scores() {
    use rand_core::{RngCore as _, SeedableRng as _};
    let root = tempfile::tempdir().unwrap();
    for distance in DISTANCES {
        let mut draw = rand_pcg::Pcg64::seed_from_u64(11);
        let mut number = || (draw.next_u32() % 9) as f32 - 4.25;
        let mut vectors: Vec<Vec<f32>> = (0..300).map(|_| (0..5).map(|_| number()).collect()).collect();
        // Whole families of equal vectors.
        (0..100).for_each(|n| vectors[n + 200] = vectors[n % 7].clone());
        let rows: Vec<Row<'_>> = vectors.iter().map(|v| Row { vector: v.clone(), ..row("", "x", json!({})) }).collect();
        let dir = root.path().join(format!("{distance:?}"));
        write(&dir, distance, &rows);
        let index = EmbeddedIndex::open(&dir).unwrap();
        for n in 0..20 {
            let query = &vectors[n];
            let mut expected: Vec<(String, f64)> =
                full_scan(distance, query, &vectors, 300).into_iter().map(|(n, s)| (format!("d{n}#0"), s)).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            for k in [1, 7, 25, 300, 1000] {
                let hits = index.search_vector(query, k, None).unwrap();
                let hits: Vec<(String, f64)> = hits.into_iter().map(|h| (h.id, h.score)).collect();
                assert_eq!(hits, expected[..k.min(300)], "{distance:?} query {n} k {k}");
            }
        }
    }
}

#[test]
fn the_codes_spare_most_chunks_of_ordinary_vectors() {
    use rand_core::{RngCore as _, SeedableRng as _};
    let mut draw = rand_pcg::Pcg64::seed_from_u64(7);
    let mut vector = || -> Vec<f32> {
        // Sums of uniform draws are close to a Gauss curve.
        let gauss = |draw: &mut rand_pcg::Pcg64| (0..6).map(|_| draw.next_u32() as f32 / 4.3e9 - 0.5).sum();
        (0..256).map(|_| gauss(&mut draw)).collect()
    };
    let mut codes = Codes::new(Distance::Cosine, 256);
    (0..4000).for_each(|_| codes.push(&vector()).unwrap());
    let kept = codes.candidates(&vector(), 10, None).unwrap().len();
    assert!((10..400).contains(&kept), "{kept} of 4000 are scored again");
}

#[test]
fn documents_are_spread_evenly_however_many_chunks_each_has() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v1");
    let mut builder = Builder::create(&dir, 2, Distance::Cosine, false).unwrap();
    // d0 has one chunk, d1 two, … d9 ten: document n begins at chunk n(n + 1) / 2.
    for (document, part) in (0..10).flat_map(|n| (0..=n).map(move |part| (format!("d#{n}"), part))) {
        let (id, metadata, text) = (format!("{document}#{part}"), Metadata::new(), "t");
        let chunk = NewChunk { id: &id, document: &document, title: "", embedded: text, text, metadata: &metadata };
        builder.add(&chunk, &[1.0, 0.0]).unwrap();
    }
    builder.finish(stamp(), &[vec![1.0, 0.0]]).unwrap();
    let index = EmbeddedIndex::open(&dir).unwrap();
    let every = [0, 1, 3, 6, 10, 15, 21, 28, 36, 45];
    assert_eq!(index.first_chunks(10), every);
    assert_eq!(index.first_chunks(2_000), every);
    assert_eq!(index.first_chunks(4), [0, 3, 15, 28], "documents 0, 2, 5 and 7");
    assert_eq!(index.first_chunks(0), [0; 0]);
}
