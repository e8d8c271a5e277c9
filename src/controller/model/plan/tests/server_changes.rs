//! A server of our own that changes.

use super::*;

#[test]
fn a_changed_directory_is_measured_in_a_server_of_its_own() {
    let mut w = managed();
    let trial = render::trial_name(&w.model);
    w.apply(local("two")).waits(Reason::Progressing, "model directory before").still_uses(OWN);
    assert_eq!((w.directory("words"), w.directory(&trial)), (Some("/model/one"), Some("/model/two")));
    w.pods_start().waits(Reason::Probing, "");
    assert_eq!(w.probe_input()["task"]["probe"]["encoder"]["url"], format!("http://{trial}.team.svc:8080/v1"));
    w.measured(same());
    assert_eq!((w.directory("words"), w.directory(&trial)), (Some("/model/two"), None));
    assert_eq!(w.objects.len(), 2);
    w.pods_start().serves(OWN).jobs_expire();
}

#[test]
fn a_changed_directory_with_other_vectors_reaches_nobody() {
    let mut w = managed();
    let trial = render::trial_name(&w.model);
    w.apply(local("two")).pods_start().measured(drifted());
    w.stalls(Reason::FingerprintChanged, "directory `two` on claim `models`").still_uses(OWN);
    assert_eq!((w.directory("words"), w.directory(&trial)), (Some("/model/one"), Some("/model/two")));
    w.apply(local("one")).measured(same()).serves(OWN);
    assert_eq!((w.directory("words"), w.directory(&trial), w.objects.len()), (Some("/model/one"), None, 2));
}

#[test]
fn a_trial_that_fails_leaves_the_server_in_use_alone() {
    let mut w = managed();
    w.apply(local("two"))
        .server_pod(waiting("ErrImagePull", "x"))
        .waits(Reason::ImagePullFailed, "rag:1")
        .still_uses(OWN);
    let trial = render::trial_name(&w.model);
    w.objects.remove(&("Deployment", trial.clone()));
    w.objects.insert(("Deployment", trial.clone()), json!({"metadata": {"name": trial, "uid": "x"}}));
    w.settle().stalls(Reason::NotOwned, &trial).still_uses(OWN);
}

#[test]
fn from_our_server_to_another_address_and_back() {
    let mut w = managed();
    w.apply(remote("b")).waits(Reason::Probing, OWN).still_uses(OWN);
    assert!(w.deployment("words").is_some());
    // Pods that were told the old address are still there.
    w.callers = vec!["Deployment handbook-0123456789".to_owned()];
    w.measured(same()).serves("https://b/v1");
    assert!(w.deployment("words").is_some());
    assert_eq!(w.last.requeue, Some(LATER));
    w.callers.clear();
    w.settle();
    assert_eq!(w.objects.len(), 0);
    w.jobs_expire();
    w.apply(local("one")).waits(Reason::Progressing, "https://b/v1").still_uses("https://b/v1");
    w.pods_start().measured(same()).serves(OWN);
}

#[test]
fn a_first_directory_that_was_wrong_is_replaced_in_place() {
    let mut w = world(local("one"));
    w.settle().pods_start().measured(report(8, 1.0, "s", None)).stalls(Reason::DimensionMismatch, "8 dimensions");
    w.apply(local("two")).waits(Reason::Progressing, "starting");
    assert_eq!((w.directory("words"), w.objects.len()), (Some("/model/two"), 2));
    w.pods_start().measured(good()).serves(OWN);
}
