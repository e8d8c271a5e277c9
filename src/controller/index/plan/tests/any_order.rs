//! Whatever happens, in any order.

use proptest::prelude::*;

use super::*;

/// Something happens to the world; what does not apply happens not.
fn happens(world: &mut World, what: u8, n: i32) {
    let ready = json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []});
    let content = format!("c{}", n % 4);
    let runs = |world: &World, purpose: &str| world.running(purpose).is_some();
    match what {
        0 => _ = world.change(n),
        1 => _ = world.rebuild(&format!("t{n}")),
        2 if runs(world, "build") => _ = world.done("build", &build_report(&content, 10)),
        3 if runs(world, "build") => _ = world.failed("build", "ShrinkGuard", "shrank"),
        4 if runs(world, "verify") => {
            let Task::Verify(task) = world.task("verify") else { panic!("a verification") };
            world.done("verify", &verify_report(&task.content_digest, 10));
        }
        5 if runs(world, "verify") => _ = world.failed("verify", "SelfRetrievalLow", "low"),
        6 if runs(world, "prune") => _ = world.done("prune", &ready),
        7 if runs(world, "prune") => _ = world.failed("prune", "VectorStoreUnavailable", "input/output error"),
        8 => {
            let names: Vec<String> = world
                .index
                .status
                .iter()
                .flat_map(|s| &s.versions)
                .filter(|v| v.state == VersionState::Ready)
                .map(|v| v.name.clone())
                .collect();
            if let Some(name) = names.get(usize::try_from(n).unwrap() % names.len().max(1)) {
                world.used("shop", "stable", name);
            }
        }
        9 => _ = world.unused(),
        10 => world.seen.missing = vec!["ConfigMap `pages`".to_owned()],
        11 => world.seen.missing.clear(),
        12 => world.seen.model = ready_model(if n % 2 == 0 { "aaaaaaaaaaaa" } else { "bbbbbbbbbbbb" }),
        13 => world.seen.model = Referred::Absent,
        14 => world.seen.unreadable = vec!["odd".to_owned()],
        15 => world.seen.unreadable.clear(),
        16 => _ = world.spec(|s| s.retention.versions = 1 + n % 4),
        17 => _ = world.later(i64::from(n)),
        // Finished Jobs reach the end of their time, or somebody deletes one that runs.
        18 => {
            let expired = |j: &&Job| j.spec.as_ref().is_some_and(|s| s.ttl_seconds_after_finished.is_some());
            let names: Vec<String> =
                world.seen.jobs.iter().filter(expired).filter_map(|j| j.metadata.name.clone()).collect();
            names.iter().for_each(|name| world.vanish(name));
        }
        19 => {
            let running = world.running("build").or(world.running("verify")).or(world.running("prune"));
            running.iter().for_each(|name| world.vanish(name));
        }
        20 if runs(world, "build") => _ = world.met("build", "EndpointUnavailable", "no answer"),
        21 if runs(world, "verify") => _ = world.met("verify", "EndpointUnavailable", "no answer"),
        _ => {}
    }
}

fn holds(world: &World) {
    let status = world.status();
    let numbers: Vec<i64> = status.versions.iter().map(|v| v.name[1..].parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|n| *n <= status.last_number));
    assert!(status.versions.len() <= 50 && status.commands.len() <= 20);
    assert_eq!(status.latest_version, newest_ready(status).map(|v| v.name.clone()));
    assert!(world.condition(ConditionType::Ready).is_some());
    let stalled = world.condition(ConditionType::Stalled).is_some();
    assert!(!(stalled && world.condition(ConditionType::Reconciling).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// The checks of `may_be_made` hold at every Job, whatever happens, with passes between or not.
    #[test]
    fn what_is_used_is_never_deleted(steps in prop::collection::vec((0u8..22, 0i32..200, any::<bool>()), 1..60)) {
        let mut world = handbook();
        for (what, n, rests) in steps {
            happens(&mut world, what, n);
            if rests {
                world.rest();
            } else {
                world.pass();
            }
            holds(&world);
        }
        // What users left alone comes to an end: deleted, with everything that it stored.
        world.unused().seen.unreadable.clear();
        world.deleted().rest();
        for _ in 0..60 {
            if world.running("prune").is_none() {
                break;
            }
            world.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).pass();
        }
        world.later(300).pass();
        prop_assert!(world.index.metadata.finalizers.is_none(), "{}", world.versions());
    }
}
