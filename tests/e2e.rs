//! End to end, on a real cluster: the story of the demo, step by step, and what goes wrong around it.
//!
//! Why a runner of its own: the cases share one cluster and one operator, some of them disturb it, and their
//! order is part of the story. Invariant: a missing cluster fails with one sentence; nothing is skipped.

#[path = "../dev/demo/mod.rs"]
mod demo;

#[path = "e2e/admission.rs"]
mod admission;
#[path = "e2e/bench.rs"]
mod bench;
#[path = "e2e/canary.rs"]
mod canary;
#[path = "e2e/commands.rs"]
mod commands;
#[path = "e2e/data.rs"]
mod data;
#[path = "e2e/foreign.rs"]
mod foreign;
#[path = "e2e/gates.rs"]
mod gates;
#[path = "e2e/hostile.rs"]
mod hostile;
#[path = "e2e/refused.rs"]
mod refused;
#[path = "e2e/report.rs"]
mod report;
#[path = "e2e/rights.rs"]
mod rights;
#[path = "e2e/scheduled.rs"]
mod scheduled;
#[path = "e2e/story.rs"]
mod story;
#[path = "e2e/window.rs"]
mod window;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use bench::Bench;

/// Cases that read what another cluster does not show, and what that is.
const OWN: [(&str, &str); 2] =
    [("report::a_report_reads_back_from_its_claim", "the volumes"), ("rights::the_role_is_exact", "the audit log")];

/// The cases in their order: the story, what users get wrong, what happens in a canary, what disturbs the
/// operator, and at last what the audit log says of all of it.
fn trials(runtime: &Arc<Runtime>, bench: &Arc<Bench>) -> Vec<Trial> {
    macro_rules! in_order {
        ($($module:ident::$case:ident),+ $(,)?) => {
            vec![$({
                let (runtime, bench) = (Arc::clone(runtime), Arc::clone(bench));
                Trial::test(concat!(stringify!($module), "::", stringify!($case)), move || {
                    let outcome = runtime.block_on($module::$case(&bench));
                    bench.ran();
                    outcome.map_err(|error| Failed::from(format!("{error:#}")))
                })
            }),+]
        };
    }
    in_order![
        admission::kubectl_takes_what_the_readme_installs,
        admission::wrong_specs_are_refused_with_what_to_write_instead,
        admission::an_identity_never_changes,
        story::a_first_release,
        story::b_good_change,
        story::c_poor_change,
        story::d_change_that_turns_bad,
        story::e_operator_killed,
        story::every_request_is_accounted_for,
        foreign::a_route_of_somebody_else_is_named_and_left_alone,
        data::missing_gate_data_is_named_and_nothing_moves,
        data::a_malformed_line_is_named_by_file_and_number,
        data::a_bad_source_is_named_and_its_correction_builds,
        data::a_spec_changed_in_mid_build_wins,
        canary::an_edited_weight_is_put_back,
        canary::an_edited_deployment_is_put_back,
        canary::a_deleted_route_comes_back_at_its_weights,
        canary::a_release_deleted_in_mid_canary_leaves_nothing,
        canary::an_index_in_use_outlives_its_deletion,
        commands::a_candidate_obeys_its_commands_and_no_others,
        window::a_promoted_revision_that_turns_bad_goes_back,
        foreign::a_service_of_somebody_else_keeps_only_the_candidate,
        foreign::a_release_goes_on_when_its_name_is_free,
        canary::the_same_yaml_fifty_times_makes_no_job,
        refused::a_refused_host_name_is_told_and_blocks_no_way_back,
        refused::pods_over_the_limit_of_their_namespace_are_told,
        hostile::a_poison_object_stops_nobody,
        hostile::images_that_cannot_be_pulled_are_named,
        gates::a_dataset_edited_after_its_check_is_read_again,
        gates::a_domain_that_was_lost_is_named,
        report::a_report_reads_back_from_its_claim,
        gates::a_run_under_way_outlives_an_edit_and_the_operator,
        scheduled::a_run_that_fails_bars_candidates_until_one_passes,
        rights::the_role_is_exact,
    ]
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let bench = Arc::new(Bench::default());
    let mut trials = trials(&runtime, &bench);
    if std::env::var("CLUSTER").is_ok_and(|c| c == "current") {
        for (name, needs) in OWN {
            eprintln!("Not part of this run: {name} (needs {needs} of the project's own cluster)");
        }
        trials.retain(|trial| OWN.iter().all(|(name, _)| trial.name() != *name));
    }
    bench.expects(trials.len());
    let conclusion = libtest_mimic::run(&arguments, trials);
    // After a failure everything stays for whoever looks for the cause.
    if conclusion.num_failed == 0
        && let Err(error) = runtime.block_on(bench.clean_up())
    {
        eprintln!("the cases' namespaces cannot be removed: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
