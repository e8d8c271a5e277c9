//! Pages for tests: each verdict, hostile names, and as much as there can be.

use super::page::{
    AnswerList, Arm, Counts, MetricLine, Numbers, Page, Ranked, Seen, SliceLine, Spread, Worst, WorstQuery,
};
use crate::evaluation::verdict::Verdict;
use crate::worker::job::Counting;

/// Text that tries everything.
pub const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>|@team`*_[x](javascript:alert(3))\
    </style></title>]]>--><!--&#60;\u{0}\u{1b}\u{202e}evil\u{2066}\n\tnext";

fn numbers(n: u64, baseline: f64, difference: f64, half: f64) -> Numbers {
    Numbers {
        n,
        candidate: baseline + difference,
        baseline: Some(baseline),
        difference: Some(difference),
        lower: Some(difference - half),
        upper: Some(difference + half),
    }
}

fn metric(name: &str, numbers: Numbers, verdict: Verdict, reason: &'static str) -> MetricLine {
    MetricLine {
        name: name.to_owned(),
        numbers,
        p: Some(0.0432),
        margin: Some(0.05),
        floor: None,
        max: None,
        required: true,
        rule: "drop at most 0.05".to_owned(),
        certifiable: Some(0.0487),
        verdict,
        reason,
        sentence: format!("{name} has a sentence."),
        required_queries: None,
    }
}

fn slice(value: &str, numbers: Numbers, verdict: impl Into<Option<Verdict>>, reason: &'static str) -> SliceLine {
    SliceLine {
        key: "domain".to_owned(),
        value: value.to_owned(),
        metric: "ndcg@10".to_owned(),
        numbers,
        margin: Some(0.1),
        floor: None,
        harm: Some(0.2),
        required: false,
        verdict: verdict.into(),
        reason,
    }
}

fn arm(name: &str) -> Arm {
    Arm {
        name: name.to_owned(),
        revision: "6f1c2ab07e".to_owned(),
        content_digest: "9c".repeat(32),
        fingerprint: "6f0d1e2a3b4c".to_owned(),
    }
}

/// Differences of `n` queries: some lost, a few won, most unchanged.
fn spread(n: usize) -> Spread {
    let of = |i: usize| match i % 10 {
        0 => -0.15 - 0.08 * ((i * 7) % 11) as f64,
        1 | 2 => -0.02 * ((i * 3) % 13) as f64,
        3 => 0.03 * ((i * 5) % 9) as f64,
        _ => 0.0,
    };
    let mut values: Vec<f64> = (0..n).map(of).collect();
    values.sort_by(f64::total_cmp);
    Spread { values, differences: true }
}

fn answers(relevant: Option<usize>, of: usize, name: &str) -> AnswerList {
    let document = |i: usize| Ranked {
        document: format!("{name}{i}"),
        grade: match i {
            i if Some(i) == relevant => Some(2),
            3 => Some(0),
            _ => None,
        },
        elsewhere: (2..5).contains(&i).then_some(i + 2),
    };
    AnswerList { arm: "candidate", documents: (1..=of.min(10)).map(document).collect(), of }
}

fn query(id: &str, name: &str) -> WorstQuery {
    let baseline = AnswerList { arm: "baseline", ..answers(Some(1), 100, name) };
    WorstQuery {
        id: id.to_owned(),
        text: Some("how many days of leave do I have in the first year?".to_owned()),
        candidate: 0.0,
        baseline: Some(0.95),
        lists: vec![answers(None, 10, name), baseline],
    }
}

fn page(verdict: Verdict, reason: &'static str, sentence: &str, metrics: Vec<MetricLine>) -> Page {
    Page {
        subject: "gate answers-stay-good, release handbook".to_owned(),
        verdict,
        reason,
        sentence: sentence.to_owned(),
        required_queries: None,
        confidence_percent: 95.0,
        method: "paired differences, bounds of Student's t, sign-flip test",
        counting: Counting::default(),
        seen: Some(Seen {
            inputs: "a1".repeat(32),
            dataset: "b2".repeat(32),
            evaluator: "1".to_owned(),
            candidate: arm("b07e915d20"),
            baseline: Some(arm("6f1c2ab07e")),
            counts: Counts {
                judged: 230,
                answered_by_candidate: 230,
                answered_by_baseline: Some(230),
                missing_in_candidate: 0,
                missing_in_baseline: 2,
                unjudged: 12,
                without_relevant_document: 5,
            },
        }),
        slices: Vec::new(),
        facts: None,
        spreads: metrics.iter().map(|_| spread(225)).collect(),
        worst: None,
        repeat: vec![
            "kubectl get gate answers-stay-good -o yaml > gate.yaml".to_owned(),
            "rag evaluate --queries queries.jsonl --qrels qrels/test.tsv --candidate candidate.run --baseline \
             baseline.run --gate gate.yaml"
                .to_owned(),
        ],
        metrics,
    }
}

/// A proven regression, with slices and worst queries.
pub fn regressed() -> Page {
    let metrics = vec![
        metric("ndcg@10", numbers(225, 0.652, -0.0612, 0.0204), Verdict::Fail, "RegressionProven"),
        metric("recall@10", numbers(225, 0.81, -0.012, 0.018), Verdict::Pass, "NonInferior"),
        metric("success@1", numbers(225, 0.55, -0.03, 0.041), Verdict::Inconclusive, "Underpowered"),
    ];
    let sentence = "ndcg@10 changed by -0.0612 (candidate 0.5908, baseline 0.6520, 95 % bounds -0.0816 and -0.0408, \
                    n=225): a proven regression, a drop of at most 0.05 is allowed.";
    let slices = vec![
        slice("benefits", numbers(60, 0.6, -0.14, 0.06), Verdict::Fail, "SliceRegression"),
        slice("travel and expenses abroad", numbers(75, 0.7, 0.012, 0.05), None, "Tolerated"),
        slice("it", numbers(12, 0.7, -0.05, 0.4), Verdict::Inconclusive, "TooFewQueries"),
    ];
    let worst = Worst {
        metric: "ndcg@10".to_owned(),
        differences: true,
        of: 41,
        queries: (0..10).map(|i| query(&format!("handbook-{i:04}"), "policies/leave-and-absence#section-")).collect(),
    };
    Page { slices, worst: Some(worst), ..page(Verdict::Fail, "RegressionProven", sentence, metrics) }
}

/// Everything holds.
pub fn passed() -> Page {
    let metrics = vec![
        metric("ndcg@10", numbers(225, 0.652, 0.004, 0.02), Verdict::Pass, "NonInferior"),
        metric("recall@10", numbers(225, 0.81, 0.03, 0.018), Verdict::Pass, "Superior"),
    ];
    let none = Worst { metric: "ndcg@10".to_owned(), differences: true, of: 0, queries: Vec::new() };
    Page {
        worst: Some(none),
        ..page(
            Verdict::Pass,
            "NonInferior",
            "ndcg@10 changed by +0.0040: a drop of more than 0.05 is ruled out.",
            metrics,
        )
    }
}

/// Everything holds but the floor of the worst slice.
pub fn below_its_floor() -> Page {
    let numbers = Numbers { difference: None, lower: None, upper: None, ..numbers(31, 0.2, 0.01, 0.0) };
    let line = slice("travel", numbers, Verdict::Fail, "WorstGroupBreached");
    let slices = vec![SliceLine { margin: None, floor: Some(0.25), harm: None, required: true, ..line }];
    let sentence = "ndcg@10 of domain=travel is 0.2100, the worst slice must have at least 0.25 (n=31).".to_owned();
    Page { verdict: Verdict::Fail, reason: "WorstGroupBreached", sentence, slices, ..passed() }
}

/// Too few queries.
pub fn undecided() -> Page {
    let mut line = metric("ndcg@10", numbers(24, 0.5, -0.01, 0.09), Verdict::Inconclusive, "TooFewQueries");
    line.required_queries = Some(155);
    let mut page =
        page(Verdict::Inconclusive, "TooFewQueries", "24 queries are too few for a margin of 0.05.", vec![line]);
    page.required_queries = Some(155);
    page.spreads = vec![spread(24)];
    page
}

/// Nothing to compare with.
pub fn without_baseline() -> Page {
    let mut line = metric("ndcg@10", numbers(225, 0.5, 0.0, 0.0), Verdict::Fail, "FloorBreached");
    line.numbers = Numbers { baseline: None, difference: None, lower: None, upper: None, ..line.numbers };
    (line.margin, line.floor, line.p, line.certifiable) = (None, Some(0.55), None, None);
    line.rule = "at least 0.55".to_owned();
    let mut page =
        page(Verdict::Fail, "FloorBreached", "ndcg@10 is 0.5000, must be at least 0.55 (n=225).", vec![line]);
    page.spreads = vec![Spread { values: (0..225).map(|i| f64::from(i * i) / 50_625.0).collect(), differences: false }];
    if let Some(seen) = &mut page.seen {
        seen.baseline = None;
        seen.counts.answered_by_baseline = None;
    }
    let mut lone = query("q-1", "doc-");
    lone.lists.truncate(1);
    lone.baseline = None;
    page.worst = Some(Worst { metric: "ndcg@10".to_owned(), differences: false, of: 180, queries: vec![lone] });
    page
}

/// Nothing was measured.
pub fn stopped() -> Page {
    Page {
        seen: None,
        repeat: Vec::new(),
        ..page(
            Verdict::Error,
            "DatasetInvalid",
            "qrels.tsv:1: found a judgment where the header must stand; add the line",
            Vec::new(),
        )
    }
}

/// Names that try to become markup.
pub fn hostile() -> Page {
    let mut page = regressed();
    page.subject = HOSTILE.to_owned();
    page.sentence = HOSTILE.to_owned();
    page.metrics.truncate(1);
    page.spreads.truncate(1);
    page.slices.truncate(1);
    page.slices[0].key = "do|main".to_owned();
    page.slices[0].value = HOSTILE.to_owned();
    page.repeat = vec![HOSTILE.to_owned()];
    if let Some(seen) = &mut page.seen {
        seen.candidate.name = HOSTILE.to_owned();
        seen.candidate.revision = HOSTILE.to_owned();
        seen.candidate.fingerprint = HOSTILE.to_owned();
    }
    if let Some(worst) = &mut page.worst {
        worst.queries.truncate(2);
        for query in &mut worst.queries {
            query.id = HOSTILE.to_owned();
            query.text = Some(HOSTILE.repeat(3));
            for document in query.lists.iter_mut().flat_map(|list| &mut list.documents) {
                document.document = HOSTILE.to_owned();
            }
        }
    }
    page
}

/// 8 metrics, 100,000 queries, 2,000 slices, ids and texts of 100,000 hostile characters.
pub fn huge() -> Page {
    let mut page = regressed();
    let long = "<&\"'\u{0}語🌍".repeat(16_000);
    let first = page.metrics[0].clone();
    page.metrics = (1..=8).map(|i| MetricLine { name: format!("ndcg@{i}"), ..first.clone() }).collect();
    page.spreads = vec![spread(100_000); 8];
    let line = page.slices[0].clone();
    page.slices = (0..2_000).map(|_| SliceLine { key: long.clone(), value: long.clone(), ..line.clone() }).collect();
    page.sentence = long.clone();
    page.subject = long.clone();
    page.repeat = vec![long.clone(); 4];
    if let Some(worst) = &mut page.worst {
        worst.of = 100_000;
        for query in &mut worst.queries {
            query.id = long.clone();
            query.text = Some(long.clone());
            for document in query.lists.iter_mut().flat_map(|list| &mut list.documents) {
                document.document = long.clone();
            }
        }
    }
    page
}
