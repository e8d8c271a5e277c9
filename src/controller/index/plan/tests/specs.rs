//! What a spec asks for: rules it may break, changes that build and changes that do not.

use super::*;

#[test]
fn that_break_a_rule_say_which_and_build_nothing() {
    type Edit = fn(&mut VectorIndexSpec);
    let cases: [(Edit, &str); 16] = [
        (|s| s.store.embedded = None, "`spec.store` holds no store"),
        (|s| s.sources.clear(), "spec.sources"),
        (|s| s.sources = vec![s.sources[0].clone(); 33], "between 1 and 32"),
        (|s| s.sources.push(s.sources[0].clone()), "`spec.sources[1].name` is `pages`"),
        (|s| s.sources[0].name = "Pages".to_owned(), "`spec.sources[0].name` is `Pages`"),
        (|s| s.sources[0].from.config_map = None, "`spec.sources[0].from` must hold exactly one"),
        (
            |s| {
                let from = json!({"volume": {"claimName": "c", "path": "../x"}});
                s.sources[0].from = serde_json::from_value(from).unwrap();
            },
            "`../x`",
        ),
        (|s| s.chunking.max_tokens = 8, "between 16 and 8192"),
        (|s| s.chunking.overlap_tokens = 256, "smaller than `spec.chunking.maxTokens` (256)"),
        (|s| s.chunking.overlap_tokens = -1, "at least 0"),
        (|s| s.build.deadline = "soon".to_owned(), "no duration"),
        (|s| s.build.deadline = "10s".to_owned(), "between 1 min and 72 h"),
        (|s| s.retention.versions = 0, "between 1 and 50"),
        (|s| s.search.exact_below = 0, "between 1 and 1000000"),
        (|s| s.data_quality.self_retrieval_min = f64::NAN, "`spec.dataQuality.selfRetrievalMin` is NaN"),
        (|s| s.data_quality.min_documents = -1, "spec.dataQuality.minDocuments"),
    ];
    for (edit, part) in cases {
        let mut world = handbook();
        world.spec(edit).rest().says("False", Reason::InvalidSpec, part).stalled().lists("");
        assert!(world.seen.jobs.is_empty());
    }
}

#[test]
fn a_name_that_fits_no_store_is_refused() {
    let mut world = handbook();
    world.index.metadata.name = Some("Handbook".to_owned());
    world.rest().says("False", Reason::InvalidSpec, "`metadata.name` is `Handbook`").stalled();
}

#[test]
fn corrected_go_on() {
    let mut world = handbook();
    world.spec(|s| s.chunking.max_tokens = 8).rest().stalled();
    world.spec(|s| s.chunking.max_tokens = 64).rest().lists("v1 Building").reconciling();
}

#[test]
fn broken_later_leave_versions_alone() {
    let mut world = World::with_ready(1);
    world.spec(|s| s.chunking.max_tokens = 8).rest();
    world.says("False", Reason::InvalidSpec, "v1 stays the newest ready version").lists("v1 Ready");
    world.reliable(Some("True"), Reason::ChecksPassed);
}

#[test]
fn that_change_nothing_of_the_content_build_nothing() {
    let mut world = World::with_ready(1);
    let before = world.seen.jobs.len();
    world
        .spec(|s| {
            s.retention.versions = 5;
            s.search.exact_below = 1_000;
            s.build.deadline = "1h".to_owned();
        })
        .rest()
        .says("True", Reason::Succeeded, "v1 is ready");
    assert_eq!(world.seen.jobs.len(), before);
}

#[test]
fn that_change_the_content_build_a_version() {
    type Edit = fn(&mut VectorIndexSpec);
    let cases: [Edit; 6] = [
        |s| s.chunking.max_tokens = 64,
        |s| s.keyword.enabled = true,
        |s| s.sources[0].exclude = vec!["*.tmp".to_owned()],
        |s| s.sources[0].domain = Some("legal".to_owned()),
        |s| s.data_quality.shrink_guard_percent = 50.0,
        |s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned(),
    ];
    for edit in cases {
        let mut world = World::with_ready(1);
        world.spec(edit).rest().lists("v1 Ready, v2 Building");
        world.says("False", Reason::Building, "v1 stays the newest ready version").reconciling();
    }
}

#[test]
fn another_fingerprint_builds_a_version() {
    let mut world = World::with_ready(1);
    world.seen.model = ready_model("bbbbbbbbbbbb");
    world.rest().lists("v1 Ready, v2 Building");
    assert_eq!(world.status().versions[1].fingerprint, "bbbbbbbbbbbb");
}

#[test]
fn another_claim_takes_over_no_vectors_but_compares_documents() {
    let mut world = World::with_ready(1);
    world.spec(|s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned()).rest();
    let Task::Build(task) = world.task("build") else { panic!("a build") };
    assert_eq!((task.previous, task.previous_documents), (None, Some(10)));
    assert_eq!(world.status().versions[1].claim, "other");
}

#[test]
fn the_next_version_starts_from_the_newest_ready_one() {
    let mut world = World::with_ready(2);
    world.change(3).rest();
    let Task::Build(task) = world.task("build") else { panic!("a build") };
    assert_eq!(task.previous.as_deref(), Some("handbook-0a1b2c3d-v2"));
    assert_eq!((task.previous_documents, task.version.as_str()), (Some(10), "v3"));
    assert_eq!((task.physical.as_str(), task.owner_uid.as_str()), ("handbook-0a1b2c3d-v3", UID));
}
