//! Slices, the worst group, and that no broken number passes.

use super::*;

fn sliced(required: &[&str], floor: Option<f64>, rules: &[Rule]) -> SliceRules {
    let required = required.iter().map(|s| (*s).to_owned()).collect();
    SliceRules::new(vec!["domain".to_owned()], 30, floor, required, rules).unwrap()
}

fn slice(name: &str, harm: Option<f64>, row: Row) -> SliceRow {
    SliceRow { slice: name.len(), name: name.to_owned(), metric: 0, harm, row }
}

fn worst(candidate: f64) -> Worst {
    Worst { slice: 1, name: "domain=legal".to_owned(), n: 60, candidate, baseline: Some(0.5) }
}

/// A passing whole with these slices.
fn run(rules: &SliceRules, slices: Vec<SliceRow>, found: Option<Worst>) -> GateJudged {
    let metric = [margin(0.02)];
    let statistics = Statistics::default();
    let criteria = Criteria { slices: Some(rules), ..criteria(&metric, &statistics) };
    let guardrails = Some(slices.iter().filter(|s| s.harm.is_some()).count() as u64);
    let whole = bounded(500, -0.01, 0.03);
    judge(&criteria, &Evidence { slices, worst: found, guardrails, ..evidence(covered(500), &[whole]) })
}

#[test]
fn a_guardrail_fails_on_proof_of_a_drop_of_twice_the_margin() {
    let rules = sliced(&[], None, &[margin(0.02)]);
    let fall =
        |harm, lower, upper| run(&rules, vec![slice("domain=legal", Some(harm), bounded(60, lower, upper))], None);
    let failed = fall(0.05, -0.08, 0.0);
    assert_eq!((failed.gate.reason, failed.gate.verdict()), (Reason::SliceRegression, Verdict::Fail));
    assert!(failed.gate.sentence.contains("ndcg@10 of domain=legal changed by -0.0400"), "{}", failed.gate.sentence);
    assert_eq!(fall(0.050_001, -0.08, 0.0).gate.reason, Reason::NonInferior);
    assert_eq!(fall(0.001, -0.0798, 0.0).gate.reason, Reason::NonInferior, "a drop of .0399 is less than .04");
    let passed = fall(0.9, -0.08, 0.08);
    assert!(passed.gate.sentence.ends_with("No slice is proven worse (1 looked at)."), "{}", passed.gate.sentence);
    assert_eq!(passed.slices[0].judged, None);
}

#[test]
fn a_slice_below_the_least_number_is_reported_and_does_not_block() {
    let rules = sliced(&[], None, &[margin(0.02)]);
    let small = |n| slice("domain=legal", None, bounded(n, -0.5, -0.3));
    let judged = run(&rules, vec![small(29)], None);
    assert_eq!(judged.gate.reason, Reason::NonInferior);
    assert_eq!(
        (judged.slices[0].blocks, judged.slices[0].judged.as_ref().unwrap().reason),
        (false, Reason::TooFewQueries)
    );
    // With 30 it is a guardrail, and one without p is no data.
    assert_eq!(run(&rules, vec![small(30)], None).gate.reason, Reason::NoData);
    // Even with a p of its own a small slice proves nothing.
    let with_p = SliceRow { harm: Some(0.0), ..small(29) };
    assert_eq!(run(&rules, vec![with_p], None).gate.reason, Reason::NonInferior);
}

#[test]
fn a_required_slice_must_pass_like_the_whole() {
    let rules = sliced(&["domain=legal"], None, &[margin(0.02)]);
    let required = |row: Row| run(&rules, vec![slice("domain=legal", Some(0.5), row)], None);
    assert_eq!(required(bounded(149, -0.02, 0.03)).gate.reason, Reason::NonInferior);
    let few = required(bounded(148, -0.02, 0.03));
    assert_eq!((few.gate.reason, few.gate.required_queries), (Reason::TooFewQueries, Some(155)));
    assert!(few.gate.sentence.starts_with("ndcg@10 of domain=legal changed by"), "{}", few.gate.sentence);
    assert_eq!(required(bounded(200, -0.06, -0.03)).gate.reason, Reason::RegressionProven);
    assert_eq!(required(bounded(200, -0.03, 0.03)).gate.reason, Reason::Underpowered);
    // Small and required: its own floor of queries blocks.
    let small = run(&rules, vec![slice("domain=legal", None, bounded(12, -0.02, 0.03))], None);
    assert_eq!(small.gate.reason, Reason::TooFewQueries);
    let missing = run(&rules, vec![slice("domain=tax", Some(0.5), bounded(200, -0.02, 0.03))], None);
    assert_eq!(missing.gate.reason, Reason::NoData);
    assert!(missing.gate.sentence.contains("ndcg@10 of domain=legal has no number"), "{}", missing.gate.sentence);
}

#[test]
fn the_worst_slice_has_a_floor_of_its_own() {
    let rules = sliced(&[], Some(0.25), &[margin(0.02)]);
    let with = |found| run(&rules, Vec::new(), found);
    let passed = with(Some(worst(0.25)));
    assert_eq!(passed.gate.reason, Reason::NonInferior);
    assert!(
        passed.gate.sentence.ends_with("Worst slice: domain=legal with ndcg@10 0.2500 (n=60)."),
        "{}",
        passed.gate.sentence
    );
    let failed = with(Some(worst(0.249_999)));
    assert_eq!(failed.gate.reason, Reason::WorstGroupBreached);
    assert!(failed.gate.sentence.contains("domain=legal is 0.2500, the worst slice must have at least 0.25"));
    assert_eq!(with(None).gate.reason, Reason::TooFewQueries);
    assert_eq!(with(Some(worst(f64::NAN))).gate.reason, Reason::NoData);
    assert_eq!(with(Some(Worst { n: 29, ..worst(0.9) })).gate.reason, Reason::NoData);
    let unbounded = sliced(&[], None, &[margin(0.02)]);
    assert_eq!(run(&unbounded, Vec::new(), Some(worst(0.0))).gate.reason, Reason::NonInferior);
}

#[test]
fn without_a_baseline_slices_have_their_floor_alone() {
    let metric = [margin(0.02)];
    let rules = sliced(&["domain=legal"], Some(0.25), &metric);
    let statistics = Statistics::default();
    let criteria = Criteria { slices: Some(&rules), ..criteria(&metric, &statistics) };
    let coverage = Coverage { queries: 60, candidate: 60, baseline: None };
    let with = |candidate| {
        let found = Worst { baseline: None, ..worst(candidate) };
        judge(&criteria, &Evidence { worst: Some(found), ..evidence(coverage, &[Row::absolute(60, 0.5)]) }).gate
    };
    assert_eq!(with(0.3).reason, Reason::NoBaseline);
    assert_eq!(with(0.2).reason, Reason::WorstGroupBreached);
}

#[test]
fn unjudged_documents_explain_a_slice_as_they_explain_the_whole() {
    let metric = [margin(0.02)];
    let rules = sliced(&[], None, &metric);
    let statistics = Statistics::default();
    let criteria = Criteria { slices: Some(&rules), ..criteria(&metric, &statistics) };
    let slices = vec![slice("domain=legal", Some(0.001), bounded(60, -0.3, -0.2))];
    let unjudged = Some(Unjudged { candidate: 0.4, baseline: 0.1, difference: 0.0, upper: Some(0.01) });
    let whole = bounded(500, 0.0, 0.03);
    let found = Evidence { slices, unjudged, guardrails: Some(1), ..evidence(covered(500), &[whole]) };
    assert_eq!(judge(&criteria, &found).gate.reason, Reason::UnjudgedBias);
    assert_eq!(judge(&criteria, &Evidence { unjudged: None, ..found }).gate.reason, Reason::SliceRegression);
}

#[test]
fn the_rules_of_slices_are_checked() {
    let metric = [margin(0.02)];
    let new = |by: &[&str], least, floor, required: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        SliceRules::new(owned(by), least, floor, owned(required), &metric).map_err(|e| e.to_string())
    };
    for by in [&[][..], &["a", "b", "c", "d", "e"], &["a", "a"], &["a=b"], &[""], &["a", ""]] {
        assert!(new(by, 30, None, &[]).unwrap_err().contains("1 to 4 different keys"), "{by:?}");
    }
    assert!(new(&["a"], 9, None, &[]).unwrap_err().contains("from 10 to 1000000; got 9"));
    assert!(new(&["a"], 10, Some(1.5), &[]).unwrap_err().contains("worstGroupFloor must lie"));
    for required in ["legal", "b=legal", "a="] {
        assert!(new(&["a"], 30, None, &[required]).unwrap_err().contains("is no slice of this gate"), "{required}");
    }
    assert!(new(&["a"], 30, None, &["a=x", "a=x"]).unwrap_err().contains("stands twice"));
    let names: Vec<String> = (0..8).map(|i| format!("a={i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(new(&["a"], 30, None, &names).unwrap_err().contains("make 8 rows, a receipt has room for 7"));
    assert!(new(&["a"], 30, None, &names[..7]).is_ok());
}

#[test]
fn required_slices_of_which_nothing_is_asked_are_refused() {
    let (floor, limit) =
        (rule(None, Some(0.3), None), Rule::new("Hole@10", Wanted { max: Some(1.0), ..Wanted::default() }));
    let reported = Rule::new("ndcg@10", Wanted { required: false, ..margin(0.02).wanted }).unwrap();
    let new = |rules: &[Rule], floor, required: &[&str]| {
        let required = required.iter().map(|s| (*s).to_owned()).collect();
        SliceRules::new(vec!["a".to_owned()], 30, floor, required, rules).map_err(|e| e.to_string())
    };
    for rules in [[floor], [reported]] {
        for floor in [None, Some(0.2)] {
            assert!(new(&rules, floor, &["a=1"]).unwrap_err().contains("nothing is asked of required slices"));
            assert!(new(&rules, floor, &[]).is_ok());
        }
    }
    let upside_down = [limit.unwrap(), margin(0.02)];
    assert!(new(&upside_down, Some(0.2), &[]).unwrap_err().contains("put a metric first of which a higher one is"));
    assert!(new(&upside_down, None, &["a=1"]).is_ok());
}

#[test]
fn a_required_slice_is_held_to_floors_and_limits_too() {
    let held = Rule::new("ndcg@10", Wanted { floor: Some(0.45), max: Some(0.6), ..margin(0.02).wanted }).unwrap();
    let judged = |required: &[&str], candidate: f64| {
        let rules = sliced(required, None, &[held]);
        let statistics = Statistics::default();
        let gate = [held];
        let criteria = Criteria { slices: Some(&rules), ..criteria(&gate, &statistics) };
        let row = Row { candidate, baseline: Some(candidate - 0.005), ..bounded(200, -0.01, 0.02) };
        let slices = vec![slice("domain=legal", Some(0.5), row)];
        judge(
            &criteria,
            &Evidence { slices, guardrails: Some(1), ..evidence(covered(500), &[bounded(500, -0.01, 0.03)]) },
        )
    };
    let low = judged(&["domain=legal"], 0.44);
    assert_eq!(low.gate.reason, Reason::FloorBreached);
    assert!(low.gate.sentence.contains("ndcg@10 of domain=legal is 0.4400, must be at least 0.45"), "{low:?}");
    assert_eq!(judged(&["domain=legal"], 0.61).gate.reason, Reason::LimitExceeded);
    assert_eq!(judged(&["domain=legal"], 0.46).gate.reason, Reason::NonInferior);
    assert_eq!(judged(&[], 0.44).gate.reason, Reason::NonInferior);
}

#[test]
fn a_pass_says_that_no_slice_was_large_enough() {
    let rules = sliced(&[], None, &[margin(0.02)]);
    let judged = run(&rules, vec![slice("domain=legal", None, bounded(29, -0.1, 0.1))], None);
    let told = "No slice was looked at: none has 30 queries.";
    assert!(judged.gate.sentence.ends_with(told), "{}", judged.gate.sentence);
    // Or that there is nothing to hold them to.
    let floor = [rule(None, Some(0.3), None)];
    let (rules, statistics) = (sliced(&[], None, &floor), Statistics::default());
    let criteria = Criteria { slices: Some(&rules), ..criteria(&floor, &statistics) };
    let found = Evidence { guardrails: Some(0), ..evidence(covered(500), &[bounded(500, -0.01, 0.03)]) };
    let sentence = judge(&criteria, &found).gate.sentence;
    assert!(sentence.ends_with("Slices are reported only: no required metric has a margin."), "{sentence}");
}

/// Numbers of every kind that break a passing run, one at a time.
fn broken() -> Vec<Row> {
    let fine = bounded(200, -0.01, 0.03);
    let mut rows = Vec::new();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -2.0, 2.0] {
        rows.extend([
            Row { candidate: bad, ..fine },
            Row { baseline: Some(bad), ..fine },
            Row { difference: Some(bad), ..fine },
            Row { min: Some(bad), ..fine },
            Row { p: Some(bad), ..fine },
            Row { candidate_lower: Some(bad), ..fine },
        ]);
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        rows.extend([
            Row { lower: Some(bad), ..fine },
            Row { upper: Some(bad), ..fine },
            Row { sd: Some(bad), ..fine },
        ]);
    }
    rows.extend([
        Row { baseline: None, ..fine },
        Row { sd: None, ..fine },
        Row { difference: None, ..fine },
        Row { lower: None, ..fine },
        Row { upper: None, ..fine },
        Row { nonzero: None, ..fine },
        Row { min: None, ..fine },
        Row { n: 0, ..fine },
        // Forged: more than was asked, more changes than queries, bounds on the wrong side, a mean below its least
        // number, a difference where nothing changed, a spread below 0.
        Row { n: 501, ..fine },
        Row { nonzero: Some(201), ..fine },
        Row { clusters: Some(201), ..fine },
        Row { clusters: Some(0), ..fine },
        Row { lower: Some(0.02), ..fine },
        Row { upper: Some(0.0), ..fine },
        Row { min: Some(0.02), ..fine },
        Row { nonzero: Some(0), ..fine },
        Row { sd: Some(-0.1), ..fine },
    ]);
    rows
}

#[test]
fn no_broken_missing_or_forged_number_passes() {
    let whole = |row| gate(covered(500), &[margin(0.02)], &[row]).gate;
    assert_eq!(whole(bounded(200, -0.01, 0.03)).verdict(), Verdict::Pass);
    let rules = sliced(&["domain=legal"], None, &[margin(0.02)]);
    let of_slice = |row| run(&rules, vec![slice("domain=legal", Some(0.5), row)], None).gate;
    assert_eq!(of_slice(bounded(200, -0.01, 0.03)).verdict(), Verdict::Pass);
    for row in broken() {
        for judged in [whole(row), of_slice(row)] {
            assert_ne!(judged.verdict(), Verdict::Pass, "{row:?}");
        }
    }
    // A default gate needs its p, and a slice its harm.
    assert_ne!(whole(Row { p: None, ..bounded(200, -0.01, 0.03) }).verdict(), Verdict::Pass);
    for harm in [None, Some(f64::NAN), Some(-0.1), Some(1.1)] {
        let judged = run(&rules, vec![slice("domain=legal", harm, bounded(200, -0.01, 0.03))], None).gate;
        assert_ne!(judged.verdict(), Verdict::Pass, "{harm:?}");
    }
    assert_eq!(
        gate(covered(500), &[margin(0.02), margin(0.02)], &[bounded(200, -0.01, 0.03)]).gate.reason,
        Reason::NoData
    );
}

#[test]
fn guardrails_without_their_rows_do_not_pass() {
    let metric = [margin(0.02)];
    let rules = sliced(&[], None, &metric);
    let statistics = Statistics::default();
    let criteria = Criteria { slices: Some(&rules), ..criteria(&metric, &statistics) };
    let with = |guardrails, rows: usize| {
        let slices = vec![slice("domain=legal", Some(0.5), bounded(60, -0.02, 0.03)); rows];
        let found = Evidence { guardrails, slices, ..evidence(covered(500), &[bounded(500, -0.01, 0.03)]) };
        judge(&criteria, &found).gate.reason
    };
    assert_eq!(with(Some(2), 2), Reason::NonInferior);
    assert_eq!(with(Some(2), 1), Reason::NoData);
    assert_eq!(with(Some(50), 8), Reason::NonInferior);
    assert_eq!(with(Some(50), 7), Reason::NoData);
    assert_eq!(with(None, 0), Reason::NoData);
    assert_eq!(with(Some(0), 0), Reason::NonInferior);
    // A row of a metric that guards nothing.
    let stray = SliceRow { metric: 3, ..slice("domain=legal", Some(0.5), bounded(60, -0.02, 0.03)) };
    let found =
        Evidence { guardrails: Some(1), slices: vec![stray], ..evidence(covered(500), &[bounded(500, -0.01, 0.03)]) };
    assert_eq!(judge(&criteria, &found).gate.reason, Reason::NoData);
}
