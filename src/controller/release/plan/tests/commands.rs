//! Commands: each takes effect once, and what is listed is what happened.

use super::sim::{Run, Sim};
use super::world::release;
use crate::api::release::{CandidateStatus, Stage};

const STEPS: [(i32, &str); 3] = [(5, "1h"), (50, "1h"), (100, "1h")];
const GATES: [(&str, &str); 1] = [("quality", "BeforeTraffic")];

/// In its first step, the hold running.
fn holding() -> Sim {
    let mut sim = Sim::moving(release(&GATES, &STEPS), |c| c.step_started_at.is_some());
    sim.tick();
    sim
}

fn at(stage: Stage, run: Run) -> Sim {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.runs.insert("quality".to_owned(), run);
    sim.version_ready("v2");
    match stage {
        Stage::Preparing => drop(sim.pass()),
        Stage::Verifying | Stage::Stepping | Stage::RollingBack => sim.settle(),
    }
    sim
}

fn last(sim: &Sim) -> String {
    sim.status().commands.last().map(|c| format!("{} {}: {}", c.command, c.value, c.outcome)).unwrap_or_default()
}

fn step_of(sim: &Sim) -> Option<(i32, i32)> {
    sim.status().candidate.map(|c: CandidateStatus| (c.step, c.weight))
}

#[test]
fn promote_passes_a_hold_once() {
    let mut sim = holding();
    let revision = sim.candidate().revision;
    sim.annotate("promote", revision.clone());
    sim.tick();
    assert_eq!(step_of(&sim), Some((2, 50)));
    assert!(last(&sim).contains("on to the next step"), "{}", last(&sim));
    sim.ticks(20);
    assert_eq!(step_of(&sim), Some((2, 50)), "the same value twice does nothing");
    sim.annotate("promote", format!("{revision}@again"));
    sim.tick();
    assert_eq!(step_of(&sim), Some((3, 100)));
    sim.ticks(5);
    assert_eq!(step_of(&sim), Some((3, 100)), "the last step holds, too");
    sim.annotate("promote", format!("{revision}@last"));
    sim.settle();
    assert_eq!((sim.stable(), sim.status().commands.len()), (revision, 3));
}

#[test]
fn promote_to_the_end_goes_straight_to_100() {
    let mut sim = holding();
    sim.annotate("promote", format!("{}!", sim.candidate().revision));
    sim.tick();
    assert_eq!(step_of(&sim), Some((3, 100)));
    assert!(last(&sim).contains("straight to 100 %"));
}

#[test]
fn promote_lets_an_inconclusive_gate_pass_and_no_other() {
    for (run, value, weight, outcome) in [
        (Run::Inconclusive, "", 5, "on to the next step"),
        (Run::Inconclusive, "!", 100, "straight to 100 %"),
        (Run::Never, "", 0, "ignored: it finds nothing to let pass"),
        (Run::Error, "!", 0, "ignored: it finds nothing to let pass"),
    ] {
        let mut sim = at(Stage::Verifying, run);
        sim.annotate("promote", format!("{}{value}", sim.candidate().revision));
        sim.settle();
        assert_eq!(sim.candidate().weight, weight, "{run:?}{value}");
        assert!(last(&sim).contains(outcome), "{run:?}{value}: {}", last(&sim));
    }
}

#[test]
fn promote_never_passes_a_failed_gate() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.edit(|r| r.spec.rollback.on.clear());
    sim.runs.insert("quality".to_owned(), Run::Fail);
    sim.version_ready("v2");
    sim.settle();
    sim.annotate("promote", format!("{}!", sim.candidate().revision));
    sim.ticks(5);
    assert_eq!((sim.candidate().weight, sim.reason().as_str()), (0, "GateFailed"));
    assert!(last(&sim).contains("ignored"));
}

#[test]
fn promote_that_comes_too_early_says_so_and_is_not_kept() {
    let mut sim = at(Stage::Preparing, Run::Inconclusive);
    sim.not_ready.push(sim.candidate().revision);
    sim.annotate("promote", sim.candidate().revision);
    sim.pass();
    assert!(last(&sim).contains("ignored: it finds nothing to let pass"), "{}", last(&sim));
    sim.not_ready.clear();
    sim.settle();
    assert_eq!((sim.candidate().weight, sim.reason().as_str()), (0, "GateInconclusive"));
}

#[test]
fn commands_that_name_another_revision_or_nothing_do_nothing_and_are_told_once() {
    for command in ["promote", "abort", "retry"] {
        for value in ["0000000000", "0000000000!", "0000000000@x", "!", "@x"] {
            let mut sim = holding();
            let before = step_of(&sim);
            sim.annotate(command, value);
            sim.pass();
            assert!(last(&sim).contains("ignored"), "{command} {value}: {}", last(&sim));
            assert!(sim.events.iter().any(|e| e.warning && e.text.contains("did nothing")));
            let (events, writes) = (sim.events.len(), sim.status_writes);
            sim.pass();
            assert_eq!((sim.events.len(), sim.status_writes, step_of(&sim)), (events, writes, before));
        }
    }
    for command in ["promote", "abort", "retry"] {
        let mut sim = Sim::serving(release(&GATES, &STEPS));
        sim.annotate(command, sim.stable());
        sim.settle();
        assert!(last(&sim).contains("ignored"), "{command}: {}", last(&sim));
        assert_eq!(sim.reason(), "Promoted");
    }
}

/// The value that the message shows for a command.
fn shown(sim: &Sim, command: &str) -> String {
    let message = sim.message();
    let (_, rest) = message.split_once(&format!("ragops.dev/{command}=")).unwrap_or_else(|| panic!("{message}"));
    rest.split(' ').next().unwrap().to_owned()
}

#[test]
fn the_command_of_a_message_takes_effect_however_often_it_is_said() {
    let mut sim = holding();
    let revision = sim.candidate().revision;
    // Too early, it does nothing, and stands there.
    sim.annotate("retry", revision.clone());
    sim.tick();
    assert!(last(&sim).contains("ignored"), "{}", last(&sim));
    for _ in 0..30 {
        sim.annotate("abort", format!("{revision}@{}", sim.now));
        sim.ticks(3);
        assert_eq!((sim.reason().as_str(), sim.stalled()), ("Aborted", true));
        let value = shown(&sim, "retry");
        sim.annotate("retry", value.clone());
        sim.ticks(3);
        assert_eq!(
            sim.status().candidate.map(|c| c.revision).as_ref(),
            Some(&revision),
            "retry={value}: {}",
            last(&sim)
        );
    }
}

#[test]
fn values_of_any_length_fit_and_are_handled_once() {
    let mut sim = holding();
    sim.annotate("abort", "x".repeat(100_000));
    sim.pass();
    let writes = sim.status_writes;
    sim.pass();
    assert_eq!(sim.status_writes, writes);
}

#[test]
fn a_hundred_commands_leave_twenty_and_none_takes_effect_again() {
    let mut sim = holding();
    for i in 0..100 {
        sim.annotate("retry", format!("0000000000@{i}"));
        sim.annotate("promote", "0000000000");
        sim.pass();
    }
    let commands = sim.status().commands;
    assert!(commands.len() <= 20);
    assert_eq!(commands.iter().filter(|c| c.command == "promote").count(), 1);
}

#[test]
fn abort_withdraws_from_every_stage_and_is_remembered() {
    let stages = [(Stage::Preparing, Run::Pass), (Stage::Verifying, Run::Never), (Stage::Stepping, Run::Pass)];
    for (stage, run) in stages {
        let mut sim = at(stage, run);
        let revision = sim.candidate().revision;
        sim.annotate("abort", revision.clone());
        sim.pass();
        assert_eq!(sim.weight(&revision), 0, "{stage:?}: in the same pass");
        sim.settle();
        assert_eq!((sim.reason().as_str(), sim.stalled()), ("Aborted", true), "{stage:?}");
        assert_eq!(sim.status().failed_revisions[0].revision, revision);
        assert_eq!(sim.status().history.last().unwrap().outcome, "Aborted");
        assert_eq!(sim.route_weights(), [(sim.stable(), 100)]);
        assert_eq!(sim.deployments.len(), 1);
    }
}

#[test]
fn abort_is_stronger_than_promote() {
    let mut sim = holding();
    let revision = sim.candidate().revision;
    sim.annotate("abort", revision.clone());
    sim.annotate("promote", revision.clone());
    sim.pass();
    assert_eq!(sim.weight(&revision), 0);
}

#[test]
fn a_pause_of_either_kind_stops_the_way_up_and_only_that() {
    for by_spec in [true, false] {
        let mut sim = Sim::moving(release(&[], &[(5, "0s"), (50, "0s"), (100, "0s")]), |c| c.weight == 5);
        if by_spec {
            sim.edit(|r| r.spec.paused = true);
        } else {
            sim.annotate("pause", "true");
        }
        sim.ticks(50);
        assert_eq!((sim.candidate().weight, sim.reason().as_str()), (5, "Paused"));
        sim.annotate("promote", format!("{}!", sim.candidate().revision));
        sim.ticks(3);
        assert_eq!(sim.candidate().weight, 5);
        assert!(last(&sim).contains("paused"), "{}", last(&sim));
        let mut down = sim.clone();
        down.annotate("abort", down.candidate().revision);
        down.settle();
        assert_eq!(down.reason(), "Aborted");
        if by_spec {
            sim.edit(|r| r.spec.paused = false);
        } else {
            sim.unannotate("pause");
        }
        sim.ticks(20);
        assert_eq!(sim.reason(), "Promoted", "{}", sim.message());
    }
}

#[test]
fn a_paused_release_starts_nothing_and_a_paused_candidate_gets_no_weight() {
    let mut sim = Sim::serving(release(&GATES, &STEPS));
    sim.annotate("pause", "true");
    sim.version_ready("v2");
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.status().candidate), ("Paused", None));
    sim.unannotate("pause");
    sim.pass();
    sim.annotate("pause", "true");
    sim.settle();
    assert_eq!((sim.reason().as_str(), sim.candidate().weight), ("Paused", 0));
    sim.unannotate("pause");
    sim.settle();
    assert_eq!(sim.candidate().weight, 5);
}
