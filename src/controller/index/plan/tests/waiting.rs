//! References that are not there yet.

use super::*;

#[track_caller]
fn waits(world: &mut World, reason: Reason, part: &str) {
    world.rest().says("False", reason, part).reconciling().lists("");
    assert!(world.seen.jobs.is_empty());
    assert_eq!(world.status().last_number, 0);
    assert!(plan(&world.index, &world.seen).requeue.is_some());
}

#[test]
fn for_a_model_that_is_absent() {
    let mut world = handbook();
    world.seen.model = Referred::Absent;
    waits(&mut world, Reason::RefNotFound, "EmbeddingModel `wordllama`");
    world.seen.model = ready_model("aaaaaaaaaaaa");
    world.rest().lists("v1 Building");
}

#[test]
fn for_a_model_that_cannot_be_read() {
    let mut world = handbook();
    world.seen.model = Referred::Unreadable("unknown field `x`".to_owned());
    waits(&mut world, Reason::InvalidObject, "unknown field `x`");
}

#[test]
fn for_a_model_that_is_not_ready() {
    let mut world = handbook();
    world.seen.model = model("False", "its endpoint does not answer.", Some("aaaaaaaaaaaa"));
    waits(&mut world, Reason::Progressing, "its endpoint does not answer.");
}

#[test]
fn for_a_model_without_a_fingerprint() {
    let mut world = handbook();
    world.seen.model = model("False", "Probes.", None);
    waits(&mut world, Reason::Progressing, "Probes.");
}

#[test]
fn for_a_model_whose_status_is_behind_its_spec() {
    let mut world = handbook();
    let Referred::Here(mut model) = ready_model("aaaaaaaaaaaa") else { panic!("a model") };
    model.metadata.generation = Some(2);
    world.seen.model = Referred::Here(model);
    waits(&mut world, Reason::Progressing, "is not ready");
}

#[test]
fn for_a_model_without_an_accepted_endpoint() {
    let mut world = handbook();
    let Referred::Here(mut model) = ready_model("aaaaaaaaaaaa") else { panic!("a model") };
    model.status.as_mut().unwrap().endpoint = None;
    world.seen.model = Referred::Here(model);
    waits(&mut world, Reason::Progressing, "is not ready");
}

#[test]
fn for_what_sources_and_store_name() {
    let mut world = handbook();
    world.seen.missing = vec!["ConfigMap `pages` (named by source `pages`)".to_owned()];
    waits(&mut world, Reason::RefNotFound, "ConfigMap `pages` (named by source `pages`) is not in this namespace");
    world.seen.missing.clear();
    world.rest().lists("v1 Building");
}

#[test]
fn and_names_at_most_five_of_many() {
    let mut world = handbook();
    world.seen.missing = (0..2_000).map(|i| format!("key `k{i}` of ConfigMap `pages`")).collect();
    waits(&mut world, Reason::RefNotFound, "and 1995 more are not in this namespace");
}

#[test]
fn a_missing_reference_stops_no_build_under_way() {
    let mut world = handbook();
    world.rest();
    world.seen.missing = vec!["ConfigMap `pages`".to_owned()];
    world.seen.model = Referred::Absent;
    world.rest().says("False", Reason::Building, "Builds v1");
}

#[test]
fn a_ready_index_whose_model_went_says_so_and_keeps_its_version() {
    let mut world = World::with_ready(1);
    world.seen.model = Referred::Absent;
    world.rest().says("False", Reason::RefNotFound, "v1 stays the newest ready version").lists("v1 Ready");
}

#[test]
fn a_ready_index_does_not_mind_a_model_that_is_measured_again() {
    let mut world = World::with_ready(1);
    world.seen.model = model("False", "Probes.", Some("aaaaaaaaaaaa"));
    world.rest().says("True", Reason::Succeeded, "v1 is ready");
}

#[test]
fn a_verification_waits_for_the_model_too() {
    let mut world = handbook();
    world.rest().done("build", &build_report("c", 10));
    world.seen.model = model("False", "Probes.", Some("aaaaaaaaaaaa"));
    world.rest().says("False", Reason::Progressing, "Probes.").lists("v1 Verifying");
    world.seen.model = ready_model("aaaaaaaaaaaa");
    world.rest().says("False", Reason::Verifying, "Reads v1 back");
    assert!(world.running("verify").is_some());
}

#[test]
fn a_job_that_is_refused_is_told_until_it_is_taken() {
    let mut world = handbook();
    world.refuses = true;
    world.pass();
    world.pass();
    world.says("False", Reason::Refused, "Job team/").says("False", Reason::Refused, "exceeded quota: jobs").stalled();
    world.refuses = false;
    world.pass();
    world.rest().says("False", Reason::Building, "v1").reconciling();
    let mut world = World::with_ready(1);
    world.refuses = true;
    world.change(7).pass();
    world.pass();
    world.says("False", Reason::Refused, "v1 stays the newest ready version; what serves is untouched.").stalled();
}
