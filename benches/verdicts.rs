//! How often a verdict is wrong, and how often it decides: the table of docs/evaluation.md, whole.
//!
//! Populations with a known truth; the candidate is worse by exactly the margin (a Pass is false), or as good as the
//! baseline (a Pass is right). Rates are shares of the repetitions, so the figures do not depend on the machine.

mod parts;
#[path = "parts/shapes.rs"]
mod shapes;
#[allow(dead_code)] // Parts of the other benches ask over HTTP.
#[path = "../dev/demo/web.rs"]
mod web;

use std::time::Instant;

use anyhow::{Context as _, Result};

use parts::report::Report;
use parts::size;
use rag_operator::evaluation::holm::adjusted;
use rag_operator::evaluation::inference::tested;
use rag_operator::evaluation::paired::{Seed, harm_p};
use rag_operator::evaluation::sample::Sample;
use rag_operator::evaluation::verdict::{Method, Statistics};
use shapes::{MARGIN, Plan, Relative, Shape, exact_floor, exact_lost, passes};

const SIZES: [usize; 8] = [10, 20, 50, 100, 149, 200, 300, 500];
const METHODS: [(Method, &str); 3] =
    [(Method::PairedT, "t"), (Method::PairedSignFlip, "sign-flip"), (Method::BoundedMean, "bounded mean")];

fn main() -> Result<()> {
    let mut report = Report::begin("verdicts")?;
    let repetitions = size(3_000, 20);
    report.note(format!(
        "{repetitions} repetitions, 1,000 draws each, margin {MARGIN}, alpha .05; standard error at 5 %: .4 points."
    ));
    for (method, name) in METHODS {
        let plan = Plan { method, repetitions, draws: 1_000 };
        for shape in Shape::ALL {
            truly_worse(&mut report, plan, name, shape);
            unchanged(&mut report, plan, name, shape);
        }
    }
    exact(&mut report);
    floors(&mut report);
    clusters(&mut report, repetitions)?;
    relative(&mut report, repetitions)?;
    slices(&mut report, size(2_000, 20))?;
    cost(&mut report)?;
    report.finish()
}

fn percent(share: f64) -> Vec<f64> {
    vec![100.0 * share]
}

/// Sign-flip looks at every pattern up to 20 queries, which costs much and tells little more than smaller sizes.
fn sizes(plan: Plan, shape: Shape) -> impl Iterator<Item = usize> {
    let exact = plan.method == Method::PairedSignFlip && shape == Shape::Dense;
    SIZES.into_iter().filter(move |n| !(exact && *n == 20))
}

fn truly_worse(report: &mut Report, plan: Plan, name: &str, shape: Shape) {
    for n in sizes(plan, shape) {
        let rates = plan.rates(shape, -MARGIN, n);
        let alone = if plan.method == Method::PairedSignFlip { rates.test } else { rates.bound };
        let what = format!("false pass, {}, n {n}, {name}", shape.name());
        report.figure(format!("{what} alone"), "%", percent(alone));
        report.figure(format!("{what}, whole verdict"), "%", percent(rates.verdict));
    }
}

fn unchanged(report: &mut Report, plan: Plan, name: &str, shape: Shape) {
    if !shape.moves() {
        return;
    }
    for n in [100, 200, 500] {
        let rates = plan.rates(shape, 0.0, n);
        let what = format!("right pass, {}, n {n}, {name}", shape.name());
        report.figure(format!("{what}, bound alone"), "%", percent(rates.bound));
        report.figure(format!("{what}, whole verdict"), "%", percent(rates.verdict));
    }
}

fn exact(report: &mut Report) {
    for (method, name) in METHODS {
        for n in [149, 200, 300, 500] {
            let (bound, verdict) = exact_lost(n, method);
            let what = format!("false pass, {}, n {n}, {name}, exact", Shape::Lost.name());
            report.figure(format!("{what}, bound alone"), "%", percent(bound));
            report.figure(format!("{what}, whole verdict"), "%", percent(verdict));
        }
    }
}

/// A floor with `confident` that the candidate just meets: how often its lower bound reaches it.
fn floors(report: &mut Report) {
    for (n, floor) in [(100, 0.9), (100, 0.95), (200, 0.9), (200, 0.95)] {
        let what = format!("pass of a confident floor {floor} that is just met, success@1, n {n}, exact");
        report.figure(what, "%", percent(exact_floor(n, floor)));
    }
}

/// Four paraphrases of each question that win and lose together.
fn clusters(report: &mut Report, repetitions: u32) -> Result<()> {
    let plan = Plan { method: Method::PairedT, repetitions, draws: 0 };
    let groups: Vec<usize> = (0..600).map(|i| i / 4).collect();
    let values = |random: &mut rand_pcg::Pcg64| -> Vec<f64> {
        (0..150).flat_map(|_| [Shape::Dense.draw(-MARGIN, random); 4]).collect()
    };
    let ignored = plan.rates_of("paraphrases", |random| Sample::plain(&values(random)));
    let counted = plan.rates_of("paraphrases", |random| Sample::clustered(&values(random), &groups));
    let what = "false pass, 150 questions in 4 paraphrases each, t";
    report.figure(format!("{what}, without clusterBy"), "%", percent(ignored.verdict));
    report.figure(format!("{what}, with clusterBy"), "%", percent(counted.verdict));
    Ok(())
}

/// Margins that are a share of the baseline's mean, which the same queries estimate, and candidates that lost just that.
fn relative(report: &mut Report, repetitions: u32) -> Result<()> {
    for (what, relative) in Relative::ALL {
        let share = relative.passed(repetitions).context("no sample")?;
        report.figure(format!("false pass, relativeMargin, {what}, n 200, t alone"), "%", percent(share));
    }
    Ok(())
}

/// Ten slices of an unchanged index, and one of them broken.
fn slices(report: &mut Report, repetitions: u32) -> Result<()> {
    let (mut any, mut corrected, mut failed, mut found) = (0_u32, 0_u32, 0_u32, 0_u32);
    for i in 0..repetitions {
        let inputs = format!("slices {i}");
        let mut random = Seed::of(&inputs, "sample").generator();
        let mut tests = |broken: f64| -> Result<Vec<(f64, f64)>> {
            (0..10)
                .map(|slice| {
                    let shift = if slice == 0 { broken } else { 0.0 };
                    let values: Vec<f64> = (0..60).map(|_| shift + Shape::Sparse.draw(0.0, &mut random)).collect();
                    let sample = Sample::plain(&values).context("no sample")?;
                    let seed = Seed::of(&inputs, &format!("{slice}"));
                    Ok((harm_p(&sample, seed, 4_000), sample.mean()))
                })
                .collect()
        };
        let still = tests(0.0)?;
        let p: Vec<f64> = still.iter().map(|(p, _)| *p).collect();
        let holm = adjusted(&p);
        any += u32::from(p.iter().any(|p| *p <= 0.05));
        corrected += u32::from(holm.iter().any(|p| *p <= 0.05));
        failed += u32::from(holm.iter().zip(&still).any(|(p, (_, d))| *p <= 0.05 && *d <= -2.0 * MARGIN));
        let broken = tests(-0.12)?;
        let holm = adjusted(&broken.iter().map(|(p, _)| *p).collect::<Vec<_>>());
        found += u32::from(holm.first().is_some_and(|p| *p <= 0.05));
    }
    let share = |count: u32| percent(f64::from(count) / f64::from(repetitions));
    let what = "10 slices of 60 queries, 70 % unchanged";
    report.figure(format!("false fail, {what}: any p ≤ .05"), "%", share(any));
    report.figure(format!("false fail, {what}: after Holm"), "%", share(corrected));
    report.figure(format!("false fail, {what}: after Holm, and 2 margins lost"), "%", share(failed));
    report.figure(format!("right fail, {what}, one lost .12"), "%", share(found));
    Ok(())
}

/// What one metric of 1,000 queries costs with all 10,000 draws.
fn cost(report: &mut Report) -> Result<()> {
    let mut random = Seed::of("cost", "sample").generator();
    for shape in [Shape::Dense, Shape::Sparse] {
        let values: Vec<f64> = (0..1_000).map(|_| shape.draw(0.0, &mut random)).collect();
        let sample = Sample::plain(&values).context("no sample")?;
        for (method, name) in METHODS {
            let statistics = Statistics { method, alpha: 0.05, cluster_by: None };
            let times = (0..size(9, 1)).map(|i| {
                let begin = Instant::now();
                let row = tested(&sample, Some(MARGIN), &statistics, ("cost", &i.to_string()), 10_000);
                std::hint::black_box(passes(&row, &statistics));
                begin.elapsed().as_secs_f64() * 1e3
            });
            report.figure(format!("one metric of 1,000 queries, {}, {name}", shape.name()), "ms", times.collect());
        }
    }
    Ok(())
}
