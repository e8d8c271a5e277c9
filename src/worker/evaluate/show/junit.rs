//! The result as JUnit XML, which the test views of CI systems read.
//!
//! Invariants: the suite is green exactly where the exit code is 0: Fail is a failure, Inconclusive and Error are
//! errors; what is only reported never turns it red. The file is well-formed whatever names it holds.

use std::fmt::Write as _;

use crate::evaluation::verdict::Verdict;
use crate::worker::evaluate::report::page::{MetricLine, Numbers, Page, SliceLine};

/// One test of the suite.
struct Case {
    name: String,
    outcome: Outcome,
    /// Numbers and sentences.
    text: String,
}

enum Outcome {
    Passed,
    /// It did not hold, and nothing depends on it.
    Skipped(String),
    Failed {
        reason: String,
        message: String,
    },
    Errored {
        reason: String,
        message: String,
    },
}

/// The result as JUnit XML.
pub fn junit(page: &Page) -> String {
    let mut cases = vec![Case {
        name: "gate".to_owned(),
        outcome: outcome(page.verdict, page.reason, &page.sentence, true),
        text: told(page),
    }];
    cases.extend(page.metrics.iter().map(metric));
    cases.extend(page.slices.iter().map(|line| slice(page, line)));
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        cases.len(),
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. })).count(),
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Errored { .. })).count(),
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped(_))).count(),
    );
    let name = if page.subject.is_empty() { "rag evaluate" } else { &page.subject };
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n");
    let _ = writeln!(xml, "  <testsuite name=\"{}\" {counts}>", escaped(name));
    if let Some(seen) = &page.seen {
        let counting = page.counting_in_words().map(|text| ("counting", text));
        let properties =
            [("inputs", seen.inputs.clone()), ("dataset", seen.dataset.clone())].into_iter().chain(counting);
        let properties = properties
            .map(|(name, value)| format!("      <property name=\"{name}\" value=\"{}\"/>\n", escaped(&value)));
        let _ = writeln!(xml, "    <properties>\n{}    </properties>", properties.collect::<String>());
    }
    cases.iter().for_each(|case| write(&mut xml, case));
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// The sentence, and what deserves a look.
fn told(page: &Page) -> String {
    let warnings = page.facts.iter().flat_map(|facts| facts.warnings());
    warnings.fold(page.sentence.clone(), |text, warning| format!("{text} Warning: {warning}"))
}

fn metric(line: &MetricLine) -> Case {
    Case {
        name: format!("{}: {}", line.name, line.rule),
        outcome: outcome(line.verdict, line.reason, &line.sentence, line.required),
        text: format!("{} {}", line.sentence, numbers(&line.numbers)),
    }
}

/// A slice alone never makes the verdict, unless it broke its floor or the gate's reason is its own: then the gate is red,
/// and so is it.
fn slice(page: &Page, line: &SliceLine) -> Case {
    let floor = line.floor.and_then(|_| line.rule()).map(|rule| format!(": {rule}"));
    let told = format!("{} in the slice {}={}. {}", line.metric, line.key, line.value, numbers(&line.numbers));
    Case {
        name: format!("{} in {}={}{}", line.metric, line.key, line.value, floor.unwrap_or_default()),
        outcome: line.verdict.map_or(Outcome::Passed, |verdict| {
            outcome(verdict, line.reason, &told, line.floor.is_some() || line.reason == page.reason)
        }),
        text: told,
    }
}

fn outcome(verdict: Verdict, reason: &str, message: &str, required: bool) -> Outcome {
    let (reason, message) = (reason.to_owned(), message.to_owned());
    match verdict {
        Verdict::Pass => Outcome::Passed,
        Verdict::Fail | Verdict::Inconclusive | Verdict::Error if !required => {
            Outcome::Skipped(format!("reported only: {verdict} ({reason})"))
        }
        Verdict::Fail => Outcome::Failed { reason, message },
        Verdict::Inconclusive | Verdict::Error => Outcome::Errored { reason, message },
    }
}

fn numbers(numbers: &Numbers) -> String {
    let mut text = format!("n {}, candidate {:.6}", numbers.n, numbers.candidate);
    for (what, x) in [
        ("baseline", numbers.baseline),
        ("difference", numbers.difference),
        ("lower bound", numbers.lower),
        ("upper bound", numbers.upper),
    ] {
        if let Some(x) = x {
            let _ = write!(text, ", {what} {x:.6}");
        }
    }
    text
}

fn write(xml: &mut String, case: &Case) {
    let _ = writeln!(xml, "    <testcase classname=\"rag.evaluate\" name=\"{}\">", escaped(&case.name));
    let _ = match &case.outcome {
        Outcome::Passed => Ok(()),
        Outcome::Skipped(why) => writeln!(xml, "      <skipped message=\"{}\"/>", escaped(why)),
        Outcome::Failed { reason, message } => problem(xml, "failure", reason, message),
        Outcome::Errored { reason, message } => problem(xml, "error", reason, message),
    };
    let _ = writeln!(xml, "      <system-out>{}</system-out>\n    </testcase>", escaped(&case.text));
}

fn problem(xml: &mut String, element: &str, reason: &str, message: &str) -> std::fmt::Result {
    let (reason, message) = (escaped(reason), escaped(message));
    writeln!(xml, "      <{element} type=\"{reason}\" message=\"{reason}: {message}\">{message}</{element}>")
}

/// A text as XML: what no XML 1.0 document may hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::*;
    use crate::worker::evaluate::report::sample;

    fn counted(document: &Document<'_>, attribute: &str) -> usize {
        document.root_element().attribute(attribute).unwrap().parse().unwrap()
    }

    fn elements(document: &Document<'_>, name: &str) -> usize {
        document.descendants().filter(|node| node.has_tag_name(name)).count()
    }

    #[test]
    fn it_is_well_formed_and_its_counts_are_those_of_its_elements() {
        for page in [
            sample::regressed(),
            sample::hostile(),
            sample::stopped(),
            sample::passed(),
            sample::undecided(),
            sample::without_baseline(),
            sample::below_its_floor(),
        ] {
            let xml = junit(&page);
            let document = Document::parse(&xml).unwrap_or_else(|e| panic!("{e}\n{xml}"));
            for (attribute, element) in
                [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
            {
                assert_eq!(counted(&document, attribute), elements(&document, element), "{element}\n{xml}");
            }
            let red = elements(&document, "failure") + elements(&document, "error") > 0;
            assert_eq!(red, page.verdict != Verdict::Pass, "{xml}");
        }
    }

    #[test]
    fn a_metric_that_is_only_reported_turns_nothing_red() {
        let mut page = sample::passed();
        page.metrics[1].required = false;
        (page.metrics[1].verdict, page.metrics[1].reason) = (Verdict::Fail, "RegressionProven");
        let xml = junit(&page);
        let document = Document::parse(&xml).unwrap();
        assert_eq!((counted(&document, "failures"), counted(&document, "skipped")), (0, 1));
    }

    #[test]
    fn hostile_names_come_back_as_they_were() {
        let page = sample::hostile();
        let xml = junit(&page);
        let document = Document::parse(&xml).unwrap();
        let names: Vec<&str> = document.descendants().filter_map(|node| node.attribute("name")).collect();
        let expected = page.slices[0].value.replace(['\n', '\t', '\r'], " ").replace(['\u{0}', '\u{1b}'], "\u{fffd}");
        assert!(names.iter().any(|name| name.contains(&expected)), "{names:?}");
    }
}
