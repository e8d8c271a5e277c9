//! Faults, commands and edits in every order: each pass is checked for safety (`safety.rs`), and when the faults
//! are over the release comes to rest.

use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::sim::{Cut, Gateway, Run, Sim};
use super::world::release;
use crate::api::ConditionType;
use crate::controller::plan::ChildKind;

const STEPS: [(i32, &str); 3] = [(5, "10s"), (50, "20s"), (100, "0s")];
const GATES: [(&str, &str); 2] = [("quality", "BeforeTraffic"), ("live", "DuringTraffic")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Tick,
    Hour,
    PodsOfTheCandidate,
    PodsOfStable,
    Encoder,
    Errors,
    ErrorsOfStable,
    World,
    Gateway,
    RefusingGateway,
    Pause,
    Abort,
    Promote,
    PromoteAll,
    Retry,
    NextVersion,
    PinFirst,
    WrongSpec,
    EditRoute,
    DeleteRoute,
    DeleteChildren,
    /// The spec moves the route to another host, or back.
    Move,
    /// A host name is refused from now on, or taken again.
    RefuseHost(&'static str),
    /// So are all objects of a kind.
    RefuseKind(ChildKind),
    Runs(Run),
    Crash(usize),
    Conflict,
}

/// Where the route stands at first, and where it moves.
const HOSTS: [&str; 2] = ["shop.example.com", "moved.example.com"];

const INPUTS: [Input; 35] = [
    Input::Tick,
    Input::Hour,
    Input::PodsOfTheCandidate,
    Input::PodsOfStable,
    Input::Encoder,
    Input::Errors,
    Input::ErrorsOfStable,
    Input::World,
    Input::Gateway,
    Input::RefusingGateway,
    Input::Pause,
    Input::Abort,
    Input::Promote,
    Input::PromoteAll,
    Input::Retry,
    Input::NextVersion,
    Input::PinFirst,
    Input::WrongSpec,
    Input::EditRoute,
    Input::DeleteRoute,
    Input::DeleteChildren,
    Input::Move,
    Input::RefuseHost(HOSTS[0]),
    Input::RefuseHost(HOSTS[1]),
    Input::RefuseKind(ChildKind::Job),
    Input::RefuseKind(ChildKind::Deployment),
    Input::Runs(Run::Pass),
    Input::Runs(Run::Fail),
    Input::Runs(Run::Inconclusive),
    Input::Runs(Run::Error),
    Input::Runs(Run::Never),
    Input::Crash(0),
    Input::Crash(1),
    Input::Crash(2),
    Input::Conflict,
];

fn toggle<T: PartialEq>(list: &mut Vec<T>, entry: Option<T>) {
    let Some(entry) = entry else { return };
    match list.iter().position(|e| *e == entry) {
        Some(i) => drop(list.remove(i)),
        None => list.push(entry),
    }
}

/// The input, and the pass that follows it.
fn play(sim: &mut Sim, input: Input) {
    let candidate = sim.status().candidate.map(|c| c.revision);
    let token = sim.now.as_second();
    let named = candidate.clone().unwrap_or_else(|| "0000000000".to_owned());
    match input {
        Input::Tick => {}
        Input::Hour => sim.advance(3_600),
        Input::PodsOfTheCandidate => toggle(&mut sim.not_ready, candidate),
        Input::PodsOfStable => {
            let stable = sim.stable();
            toggle(&mut sim.not_ready, Some(stable));
        }
        Input::Encoder => toggle(&mut sim.no_match, candidate),
        Input::Errors => match sim.errors.is_empty() {
            true => {
                let revision = candidate.unwrap_or_else(|| sim.stable());
                sim.errors.insert(revision, 90);
            }
            false => sim.errors.clear(),
        },
        Input::ErrorsOfStable => {
            let stable = sim.stable();
            sim.errors.insert(stable, 90);
        }
        Input::World => sim.in_view = !sim.in_view,
        Input::Gateway => match sim.gateway {
            Gateway::Accepts => sim.silence(),
            Gateway::Silent | Gateway::Refuses => sim.gateway = Gateway::Accepts,
        },
        Input::RefusingGateway => sim.gateway = Gateway::Refuses,
        Input::Pause => sim.edit(|r| r.spec.paused = !r.spec.paused),
        Input::Abort => sim.annotate("abort", format!("{named}@{token}")),
        Input::Promote => sim.annotate("promote", format!("{named}@{token}")),
        Input::PromoteAll => sim.annotate("promote", format!("{named}!@{token}")),
        Input::Retry => {
            let failed = sim.status().failed_revisions.last().map(|f| f.revision.clone()).unwrap_or(named);
            sim.annotate("retry", format!("{failed}@{token}"));
        }
        Input::NextVersion => match sim.has_version("v3") {
            true => {}
            false => sim.version_ready("v3"),
        },
        Input::PinFirst => sim.edit(|r| {
            r.spec.version = if r.spec.version.is_some() { None } else { Some("v1".to_owned()) };
        }),
        Input::WrongSpec => sim.edit(|r| r.spec.rollout.min_requests = -1 - r.spec.rollout.min_requests),
        Input::EditRoute => {
            if let Some(mut route) = sim.route.clone() {
                route.spec.rules[0].backend_refs[0].weight = Some(37);
                route.metadata.generation = route.metadata.generation.map(|g| g + 1);
                sim.route = Some(route);
            }
        }
        Input::DeleteRoute => sim.route = None,
        Input::DeleteChildren => {
            sim.deployments.clear();
            sim.services.clear();
        }
        Input::Move => sim.edit(|r| {
            let hosts = &mut r.spec.traffic.gateway.as_mut().unwrap().hostnames;
            let next = if hosts[0] == HOSTS[0] { HOSTS[1] } else { HOSTS[0] };
            *hosts = vec![next.to_owned()];
        }),
        Input::RefuseHost(host) => toggle(&mut sim.refused_hosts, Some(host.to_owned())),
        Input::RefuseKind(kind) => toggle(&mut sim.refused_kinds, Some(kind)),
        Input::Runs(run) => sim.runs_end(run),
        Input::Crash(actions) => {
            sim.pass_until(Cut::After(actions));
            sim.restart();
            sim.react();
            sim.flow();
            return;
        }
        Input::Conflict => drop(sim.pass_until(Cut::Conflict)),
    }
    sim.tick();
}

/// Faults end; what users declared stays. The release comes to rest and nothing is written any more.
fn comes_to_rest(mut sim: Sim, told: &str) {
    sim.not_ready.clear();
    sim.no_match.clear();
    sim.errors.clear();
    sim.runs.clear();
    sim.refused_hosts.clear();
    sim.refused_kinds.clear();
    sim.in_view = true;
    sim.gateway = Gateway::Accepts;
    sim.requests = 20_000;
    if sim.release.spec.rollout.min_requests < 0 {
        play(&mut sim, Input::WrongSpec);
    }
    sim.release.spec.paused = false;
    // What was refused is told one pass longer than it is.
    let done = |sim: &Sim| sim.refusal.is_none() && (sim.stalled() || sim.condition(ConditionType::Ready) == "True");
    sim.tick();
    for _ in 0..40 {
        sim.tick();
        // Nobody checks the dataset in this world but the test.
        let now = crate::controller::condition::time_text(sim.now);
        super::world::check(sim.gate_mut("quality"), &now);
        if done(&sim) {
            break;
        }
    }
    if !done(&sim) {
        // What waits for a person ends at its deadline.
        sim.advance(40_000);
        sim.ticks(5);
    }
    sim.requests = 0;
    sim.settle();
    assert!(done(&sim), "{told}: {} {}", sim.reason(), sim.message());
    let writes = sim.status_writes;
    for _ in 0..3 {
        assert!(sim.pass().actions.is_empty(), "{told}");
    }
    assert_eq!(sim.status_writes, writes, "{told}");
    let status = sim.status();
    let others = usize::from(status.previous.is_some()) + usize::from(status.candidate.is_some());
    let used = 1 + others;
    assert_eq!((sim.deployments.len(), sim.services.len(), sim.snapshots.len()), (used, used, used), "{told}");
}

#[test]
fn random_walks_are_safe_and_come_to_rest() {
    for seed in 0..60_u64 {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut sim = Sim::serving(release(&GATES, &STEPS));
        sim.requests = 2_000;
        sim.version_ready("v2");
        let mut played = Vec::new();
        for _ in 0..20 {
            // Half of the passes are quiet, so that a candidate gets somewhere.
            let i = usize::try_from(random.next_u32()).unwrap() % (2 * INPUTS.len());
            let input = INPUTS.get(i).copied().unwrap_or(Input::Tick);
            played.push(input);
            // A broken rule names the way to it.
            eprintln!("seed {seed}: {input:?}");
            play(&mut sim, input);
        }
        comes_to_rest(sim, &format!("seed {seed}: {played:?}"));
    }
}

#[test]
fn every_order_of_two_inputs_from_every_stage_is_safe_and_comes_to_rest() {
    let mut starts = vec![Sim::serving(release(&GATES, &STEPS))];
    starts[0].version_ready("v2");
    for weight in [5, 50, 100] {
        starts.push(Sim::moving(release(&GATES, &STEPS), |c| c.weight == weight));
    }
    let mut promoted = Sim::moving(release(&GATES, &STEPS), |c| c.weight == 100);
    promoted.ticks(4);
    let mut next = promoted.clone();
    starts.push(promoted);
    // In the rollback window, with a candidate that stands without weight.
    next.runs_end(Run::Inconclusive);
    next.version_ready("v3");
    next.ticks(4);
    assert!(next.candidate().weight == 0 && next.status().previous.is_some());
    starts.push(next);
    for (s, start) in starts.iter().enumerate() {
        for (i, first) in INPUTS.into_iter().enumerate() {
            let mut once = start.clone();
            play(&mut once, first);
            for (j, second) in INPUTS.into_iter().enumerate() {
                let mut twice = once.clone();
                eprintln!("start {s}: {first:?}, {second:?}");
                play(&mut twice, second);
                // The rest is dear: one in 31, others for each start.
                if (i * INPUTS.len() + j + s).is_multiple_of(31) {
                    comes_to_rest(twice, &format!("start {s}: {first:?}, {second:?}"));
                }
            }
        }
    }
}
