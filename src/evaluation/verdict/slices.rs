//! Slices of the queries as guardrails: what must not break while the whole looks well.
//!
//! Why two ways: a slice nobody named fails a gate only on proof that stands after Holm's correction, or the slices of
//! an unchanged index would fail it again and again. A required slice must pass like the whole.
//!
//! Invariant: a required slice without a number, or guardrails without rows, never pass.

use super::comparing::Comparing;
use super::{
    Criteria, Evidence, Judged, MAX_SLICE_ROWS, Reason, Rule, SliceRow, SliceRules, guarded, judged_by, limits, no_data,
};
use crate::evaluation::slice::short_name;

/// How many margins a slice must lose to fail a gate: it is looked at more closely than it is sampled.
pub const SLICE_MARGINS: f64 = 2.0;

/// Judgement of one metric in one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceJudged {
    /// `key=value`.
    pub name: String,
    /// Index of the metric in the gate's order.
    pub metric: usize,
    /// Whether the gate's verdict depends on it.
    pub blocks: bool,
    /// `None`: a guardrail that nothing was proven against.
    pub judged: Option<Judged>,
}

/// Judges every row of a comparison, then what is required and has none.
pub(super) fn judge(criteria: &Criteria<'_>, evidence: &Evidence) -> Vec<SliceJudged> {
    let Some(rules) = criteria.slices.filter(|_| evidence.coverage.baseline.is_some()) else { return Vec::new() };
    let mut judged: Vec<SliceJudged> =
        evidence.slices.iter().take(MAX_SLICE_ROWS).map(|row| one(criteria, rules, evidence, row)).collect();
    judged.extend(missing(criteria, rules, evidence));
    judged
}

/// Judges a row of a slice, also one that the verdict has no room for.
pub fn judge_slice(criteria: &Criteria<'_>, evidence: &Evidence, row: &SliceRow) -> Option<SliceJudged> {
    criteria.slices.map(|rules| one(criteria, rules, evidence, row))
}

fn one(criteria: &Criteria<'_>, rules: &SliceRules, evidence: &Evidence, found: &SliceRow) -> SliceJudged {
    let judged = |blocks: bool, judged: Option<Judged>| SliceJudged {
        name: found.name.clone(),
        metric: found.metric,
        blocks,
        judged,
    };
    let required = is_required(rules, &found.name);
    let large = found.row.n >= rules.min_queries();
    // A slice of questions without an answer has no number at all; small ones are only reported.
    if !required && !large && found.row.n == 0 {
        return judged(false, None);
    }
    let Some(rule) = criteria.rules.get(found.metric).filter(|rule| guarded(rule)) else {
        return judged(true, Some(no_data(&format!("A slice row of {}", found.name))));
    };
    let subject = format!("{} of {}", rule.metric(), found.name);
    let sound = found.row.is_sound() && found.row.n <= evidence.coverage.queries;
    let whole = evidence.rows.get(found.metric);
    let margin = rule.margin().and_then(|margin| margin.against(whole.and_then(|row| row.baseline)));
    let Some(margin) = margin.filter(|_| sound) else { return judged(true, Some(no_data(&subject))) };
    if let Some(breach) = limits(&subject, rule, &found.row).filter(|_| required) {
        return judged(true, Some(breach));
    }
    let comparing = Comparing {
        subject: subject.clone(),
        row: &found.row,
        margin: Some(margin),
        statistics: criteria.statistics,
        unjudged: evidence.unjudged,
        judged_by: judged_by(criteria.rules).map(|(_, metric)| metric),
        cumulative: None,
    };
    match found.harm.filter(|_| large) {
        Some(harm) if !(0.0..=1.0).contains(&harm) => judged(true, Some(no_data(&subject))),
        None if large => judged(true, Some(no_data(&subject))),
        Some(harm) if harm <= criteria.statistics.alpha => match comparing.harmed(SLICE_MARGINS * margin, harm) {
            Some(harmed) => judged(true, Some(harmed)),
            None => judged(required, required.then(|| comparing.judge())),
        },
        Some(_) | None if required => judged(true, Some(comparing.judge())),
        Some(_) => judged(false, None),
        None => judged(false, Some(comparing.too_small(rules.min_queries()))),
    }
}

/// Whether a slice must pass like the whole.
pub fn is_required(rules: &SliceRules, name: &str) -> bool {
    rules.required().iter().any(|required| short_name(required) == name)
}

/// Rows that must be there and are not.
fn missing(criteria: &Criteria<'_>, rules: &SliceRules, evidence: &Evidence) -> Vec<SliceJudged> {
    let nothing = |name: String, metric: usize, sentence: String| SliceJudged {
        name,
        metric,
        blocks: true,
        judged: Some(Judged::new(Reason::NoData, sentence)),
    };
    let guarded = || criteria.rules.iter().enumerate().filter(|(_, rule)| guarded(rule));
    let mut missing = Vec::new();
    for name in rules.required().iter().map(|required| short_name(required)) {
        for (metric, rule) in guarded() {
            if !evidence.slices.iter().any(|row| row.name == name && row.metric == metric) {
                let text = format!(
                    "{} of {name} has no number: no query with a relevant document is in it.",
                    metric_name(rule)
                );
                missing.push(nothing(name.clone(), metric, text));
            }
        }
    }
    let rows = u64::try_from(evidence.slices.len()).unwrap_or(u64::MAX);
    let complete = evidence.guardrails.is_some_and(|guardrails| rows >= guardrails.min(MAX_SLICE_ROWS as u64));
    if !complete && guarded().next().is_some() {
        missing.push(nothing(String::new(), 0, "The numbers of the slices are missing.".to_owned()));
    }
    missing
}

fn metric_name(rule: &Rule) -> String {
    rule.metric().to_string()
}

/// The floor of the worst slice; `None`: there is no floor, or it holds.
pub(super) fn worst(criteria: &Criteria<'_>, evidence: &Evidence) -> Option<Judged> {
    let rules = criteria.slices?;
    let floor = rules.worst_group_floor()?;
    let name = criteria.rules.first().map(metric_name)?;
    let Some(worst) = evidence.worst.as_ref() else {
        let text = format!(
            "No slice has {} queries, so that the floor {floor} of the worst one cannot be judged; add queries or lower \
             minQueries.",
            rules.min_queries()
        );
        return Some(Judged::new(Reason::TooFewQueries, text));
    };
    if worst.n < rules.min_queries() || !(0.0..=1.0).contains(&worst.candidate) {
        return Some(no_data(&format!("{name} of the worst slice")));
    }
    (worst.candidate < floor).then(|| {
        let text = format!(
            "{name} of {} is {:.4}, the worst slice must have at least {floor} (n={}).",
            worst.name, worst.candidate, worst.n
        );
        Judged::new(Reason::WorstGroupBreached, text)
    })
}

/// What a Pass says of the slices.
pub(super) fn told(criteria: &Criteria<'_>, evidence: &Evidence) -> Option<String> {
    let rules = criteria.slices?;
    let looked_at = evidence.guardrails.filter(|_| evidence.coverage.baseline.is_some());
    let held = criteria.rules.iter().any(guarded);
    let harm = looked_at.map(|n| match n {
        _ if !held => "Slices are reported only: no required metric has a margin.".to_owned(),
        0 => format!("No slice was looked at: none has {} queries.", rules.min_queries()),
        n => format!("No slice is proven worse ({n} looked at)."),
    });
    let worst = evidence.worst.as_ref().zip(criteria.rules.first()).map(|(worst, rule)| {
        format!("Worst slice: {} with {} {:.4} (n={}).", worst.name, rule.metric(), worst.candidate, worst.n)
    });
    let parts: Vec<String> = [harm, worst].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}
