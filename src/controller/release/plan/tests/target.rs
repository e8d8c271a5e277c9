//! What the spec asks for: found, waited for, or refused.

use super::sim::Sim;
use super::world::{self, release};
use crate::api::release::Mode;
use crate::api::{ConditionType, RagRelease};
use crate::controller::read::Referred;

const STEPS: [(i32, &str); 1] = [(100, "0s")];

#[test]
fn a_first_release_says_what_it_waits_for() {
    type Change<'a> = &'a dyn Fn(&mut Sim);
    let table: [(&str, Change, &str, bool, &str); 12] = [
        ("index absent", &|s| s.index = Referred::Absent, "RefNotFound", false, "does not exist"),
        ("index unreadable", &|s| s.index = Referred::Unreadable("bad".into()), "RefNotFound", false, "bad"),
        ("no version", &|s| s.index = world::index(&[]), "Preparing", false, "no Ready version"),
        (
            "version building",
            &|s| s.index = world::index(&[world::version("v1", "Building", false)]),
            "Preparing",
            false,
            "no Ready version",
        ),
        ("pinned, absent", &|s| s.edit(|r| r.spec.version = Some("v9".into())), "Preparing", false, "no version v9"),
        (
            "pinned, failed",
            &|s| {
                s.index = world::index(&[world::version("v1", "Ready", false), world::version("v2", "Failed", false)]);
                s.edit(|r| r.spec.version = Some("v2".into()));
            },
            "InvalidSpec",
            true,
            "it is Failed: it will never serve",
        ),
        ("no keyword side", &|s| s.edit(|r| r.spec.retrieval.mode = Mode::Hybrid), "InvalidSpec", true, "keyword"),
        ("keyword mode", &|s| s.edit(|r| r.spec.retrieval.mode = Mode::Keyword), "InvalidSpec", true, "keyword"),
        ("no gateway", &|s| s.edit(|r| r.spec.traffic.gateway = None), "InvalidSpec", true, "traffic.gateway"),
        ("encoder absent", &|s| s.models.clear(), "RefNotFound", false, "EmbeddingModel words"),
        (
            "encoder without an endpoint",
            &|s| {
                let Some(Referred::Here(model)) = s.models.get_mut("words") else { panic!() };
                model.status = None;
            },
            "Preparing",
            false,
            "waits for an endpoint",
        ),
        ("the world unseen", &|s| s.in_view = false, "Progressing", false, "could not be read"),
    ];
    for (what, change, reason, stalled, message) in table {
        let mut sim = Sim::of(release(&[], &STEPS));
        change(&mut sim);
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stalled()), (reason, stalled), "{what}: {}", sim.message());
        assert!(sim.message().contains(message), "{what}: {}", sim.message());
        assert_eq!(sim.condition(ConditionType::Serving), "False", "{what}");
        assert!(sim.route.is_none(), "{what}");
        assert!(sim.pass().requeue.is_some(), "{what}");
    }
}

#[test]
fn specs_that_no_rule_lets_in_today_are_refused_in_words() {
    type Edit<'a> = &'a dyn Fn(&mut RagRelease);
    let table: [(Edit, &str); 11] = [
        (&|r| r.spec.rollout.steps.clear(), "must end with weight 100"),
        (&|r| r.spec.rollout.steps[0].weight = 50, "must end with weight 100; the last is 50"),
        (&|r| r.spec.rollout.steps[0].weight = 101, "at most 100; got 101"),
        (&|r| r.spec.rollout.steps[0].weight = 0, "steps[0].weight"),
        (&|r| r.spec.rollout.steps.push(r.spec.rollout.steps[0].clone()), "steps[1].weight"),
        (&|r| r.spec.rollout.steps[0].hold = "soon".into(), "steps[0].hold"),
        (&|r| r.spec.rollout.progress_deadline = "0s".into(), "progressDeadline"),
        (&|r| r.spec.rollback.window = "-1h".into(), "rollback.window"),
        (&|r| r.spec.rollout.min_requests = -1, "minRequests"),
        (&|r| r.spec.serving.replicas = 0, "replicas"),
        (&|r| r.spec.traffic.gateway.as_mut().unwrap().parent_refs.clear(), "parentRefs"),
    ];
    for (edit, message) in table {
        let mut sim = Sim::serving(release(&[], &STEPS));
        let stable = sim.stable();
        sim.version_ready("v2");
        sim.edit(edit);
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stalled()), ("InvalidSpec", true), "{message}");
        assert!(sim.message().contains(message), "{}", sim.message());
        assert_eq!((sim.stable(), sim.status().candidate), (stable, None));
        assert_eq!(sim.condition(ConditionType::Serving), "True");
    }
}

#[test]
fn the_newest_ready_version_is_the_target_unless_one_is_pinned() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.index = world::index(&[
        world::version("v1", "Ready", false),
        world::version("v2", "Ready", false),
        world::version("v3", "Building", false),
    ]);
    sim.pass();
    assert_eq!(sim.candidate().version, "docs/v2");
    sim.edit(|r| r.spec.version = Some("v1".into()));
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.status().candidate), ("Promoted", None));
}

#[test]
fn a_new_generation_is_not_called_ready_before_it_could_be_looked_up() {
    let mut sim = Sim::serving(release(&[], &STEPS));
    sim.in_view = false;
    sim.edit(|r| r.spec.retrieval.top_k = 5);
    sim.settle();
    assert_eq!(sim.condition(ConditionType::Ready), "True");
    assert_eq!(sim.status().observed_generation, 1, "GitOps tools wait for 2");
    // Nothing else calls: the change was seen once, and what it needs could not be read at that moment.
    assert!(sim.pass().requeue.is_some_and(|after| after.as_secs() <= 5), "{:?}", sim.pass().requeue);
    sim.in_view = true;
    sim.pass();
    assert_eq!((sim.reason().as_str(), sim.status().observed_generation), ("Preparing", 2));
}

#[test]
fn a_corrected_spec_begins_the_deadline_anew() {
    let mut sim = Sim::moving(release(&[], &[(5, "0s"), (100, "0s")]), |c| c.weight == 5);
    sim.edit(|r| r.spec.rollout.steps.clear());
    sim.tick();
    assert_eq!((sim.reason().as_str(), sim.candidate().weight), ("InvalidSpec", 5));
    sim.advance(21_000);
    sim.edit(|r| r.spec.rollout.steps = release(&[], &STEPS).spec.rollout.steps);
    sim.pass();
    sim.advance(1_000);
    sim.pass();
    assert!(sim.status().candidate.is_some_and(|c| c.weight > 0) || sim.reason() == "Promoted", "{}", sim.message());
}

#[test]
fn messages_of_any_length_fit() {
    let mut sim = Sim::of(release(&[], &STEPS));
    sim.index = Referred::Unreadable("x".repeat(50_000));
    sim.settle();
    assert_eq!(sim.reason(), "RefNotFound");
}
