//! A server of our own.

use super::*;

#[test]
fn a_managed_encoder_starts_is_measured_and_serves() {
    let mut w = world(local("one"));
    w.settle().waits(Reason::Progressing, "starting");
    assert_eq!((w.jobs.len(), w.last.requeue), (0, Some(SOON)));
    let args = &w.deployment("words").unwrap()["spec"]["template"]["spec"]["containers"][0]["args"];
    let wanted = "embed --model /model/one --listen 0.0.0.0:8080 --health 0.0.0.0:8082 --max-input-tokens 512";
    assert_eq!(args, &json!(wanted.split(' ').collect::<Vec<_>>()));
    let service = &w.objects[&("Service", "words".to_owned())];
    assert_eq!(
        service["spec"]["selector"],
        json!({"ragops.dev/owner-uid": "model-uid", "ragops.dev/purpose": "embed"})
    );
    assert_eq!(service["spec"]["ports"][0]["name"], "http");
    w.pods_start().waits(Reason::Probing, "");
    assert_eq!(w.probe_input()["task"]["probe"]["encoder"]["url"], OWN);
    w.measured(good()).serves(OWN);
    assert_eq!(w.last.requeue, None);
}

#[test]
fn a_service_never_reaches_pods_of_probes() {
    let mut w = world(local("one"));
    w.settle().pods_start();
    let selector = w.objects[&("Service", "words".to_owned())]["spec"]["selector"].clone();
    let job = w.jobs.values().next().unwrap();
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert!(selector.as_object().unwrap().iter().any(|(key, value)| labels[key] != *value), "{labels}");
}

#[test]
fn a_claim_that_is_missing_is_named_and_waited_for() {
    let mut w = world(local("one"));
    w.claims.clear();
    w.settle().waits(Reason::RefNotFound, "PersistentVolumeClaim `models`");
    assert_eq!(w.last.requeue, Some(LATER));
    w.claims.insert("models".to_owned(), false);
    w.pods_start().measured(good()).serves(OWN);
}

#[test]
fn pods_of_a_server_that_cannot_start_are_told() {
    let ended = |code: i32, reason: &str| {
        let mut status = waiting("CrashLoopBackOff", "back-off");
        status["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": code, "reason": reason}});
        status
    };
    for (status, reason, word) in [
        (waiting("ErrImageNeverPull", "absent"), Reason::ImagePullFailed, "rag:1"),
        (waiting("CreateContainerError", "no space"), Reason::PodConfigError, "no space"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            Reason::PodUnschedulable,
            "0/1 nodes",
        ),
        (ended(42, "Error"), Reason::PodConfigError, "model directory `one` on claim `models`"),
        (ended(137, "OOMKilled"), Reason::PodConfigError, "more memory"),
        (ended(1, "Error"), Reason::PodConfigError, "exit code 1"),
        (waiting("ContainerCreating", ""), Reason::Progressing, "starting"),
    ] {
        let mut w = world(local("one"));
        w.settle().server_pod(status).waits(reason, word).waits(reason, "No pod uses this encoder yet");
        assert_eq!(w.jobs.len(), 0);
        w.pods_start().waits(Reason::Probing, "");
    }
    let mut w = world(local("one"));
    w.settle().server_pod(waiting("ContainerCreating", "")).later(31).waits(Reason::PodConfigError, "claim `models`");
}

#[test]
fn a_server_that_falls_is_told() {
    let mut w = managed();
    w.pods_fall(0).waits(Reason::EndpointUnavailable, "0 of 1 pods").still_uses(OWN);
    assert_eq!(w.last.requeue, Some(SOON));
    w.pods_start().serves(OWN);
    let mut two = local("one");
    two["managed"]["replicas"] = json!(2);
    w.apply(two).pods_start().serves(OWN);
    assert_eq!(w.deployment("words").unwrap()["spec"]["replicas"], 2);
    w.pods_fall(1).says("True", Reason::Progressing, "The others answer");
    w.pods_fall(0).claims.clear();
    w.settle().waits(Reason::RefNotFound, "models");
    assert_eq!(w.jobs.len(), 0, "nothing of this needs a probe");
}

#[test]
fn an_edit_by_hand_is_set_back() {
    let mut w = managed();
    let key = ("Deployment", "words".to_owned());
    w.objects.get_mut(&key).unwrap()["spec"]["replicas"] = json!(0);
    let plan = w.pass();
    assert!(
        matches!(plan.actions.as_slice(), [Action::Apply { kind: ChildKind::Deployment, .. }]),
        "{:?}",
        plan.actions
    );
    w.objects.get_mut(&("Service", "words".to_owned())).unwrap()["spec"]["selector"]["ragops.dev/purpose"] = json!("x");
    let plan = w.pass();
    assert!(matches!(plan.actions.as_slice(), [Action::Apply { kind: ChildKind::Service, .. }]), "{:?}", plan.actions);
    w.objects.remove(&key);
    let plan = w.pass();
    assert!(
        matches!(plan.actions.as_slice(), [Action::Create { kind: ChildKind::Deployment, .. }]),
        "{:?}",
        plan.actions
    );
}

#[test]
fn what_the_server_adds_to_our_objects_is_no_difference() {
    let mut w = managed();
    let key = ("Deployment", "words".to_owned());
    let live = w.objects.get_mut(&key).unwrap();
    live["spec"]["progressDeadlineSeconds"] = json!(600);
    live["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("1");
    w.objects.get_mut(&("Service", "words".to_owned())).unwrap()["spec"]["clusterIP"] = json!("10.0.0.1");
    assert_eq!(w.pass().actions, Vec::new());
}

#[test]
fn objects_of_the_models_name_that_are_not_ours_are_not_touched() {
    for kind in ["Deployment", "Service"] {
        let mut w = world(local("one"));
        w.objects.insert((kind, "words".to_owned()), json!({"metadata": {"name": "words", "uid": "x"}}));
        w.settle().stalls(Reason::NotOwned, kind);
        assert_eq!((w.objects.len(), w.jobs.len()), (1, 0));
        // Somebody's server does not matter to an encoder elsewhere.
        let foreign = w.objects.clone();
        w.apply(remote("a")).measured(good()).serves("https://a/v1");
        assert_eq!(w.objects, foreign);
    }
}

#[test]
fn a_claim_for_one_node_keeps_its_pods_together() {
    let mut w = world(local("one"));
    w.claims.insert("models".to_owned(), true);
    w.settle();
    assert!(w.deployment("words").unwrap()["spec"]["template"]["spec"]["affinity"]["podAffinity"].is_object());
}
