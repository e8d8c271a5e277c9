//! What the operator reads from the metrics page of a retrieval server: names, buckets, and a parser.
//!
//! Why here: the server writes these lines and the operator judges by them, so both compile against the same
//! words. The tenant owns the pods that are read, so the page is hostile input.
//!
//! Invariants: [`parse`] is total and pure: whatever the text, it ends with numbers or with a reason; a page
//! beyond [`MAX_BYTES`], a number that is no count, a series that comes twice or buckets that shrink are refused
//! as a whole; unknown lines are passed over.

/// Largest page that is read.
pub const MAX_BYTES: usize = 1 << 20;

/// Counter: requests of the traffic port by outcome.
pub const REQUESTS: &str = "rag_requests_total";
/// Its label.
pub const OUTCOME: &str = "outcome";
/// Answers with at least one result.
pub const OK: &str = "ok";
/// Answers without a result.
pub const EMPTY: &str = "empty";
/// Answers 4xx: the request was wrong, which says nothing about the service.
pub const CLIENT_ERROR: &str = "client_error";
/// Answers 5xx.
pub const ERROR: &str = "error";
/// Histogram: seconds until an answer 200 or 5xx of the traffic port. Answers 4xx are left out: they are quick
/// and not the service's doing, and would hide slow ones.
pub const DURATION: &str = "rag_request_duration_seconds";
/// Gauge: 1 when the encoder in use puts the probe texts where the encoder of the index put them, else 0;
/// absent until measured.
pub const ENCODER_MATCH: &str = "rag_encoder_match";
/// Gauge: mean cosine of the probe texts; absent until measured.
pub const ENCODER_COSINE_MEAN: &str = "rag_encoder_cosine_mean";
/// Gauge: smallest cosine of the probe texts; absent until measured.
pub const ENCODER_COSINE_MIN: &str = "rag_encoder_cosine_min";
/// Gauge, always 1: its labels say what is served.
pub const REVISION_INFO: &str = "rag_revision_info";
/// Label of [`REVISION_INFO`].
pub const REVISION: &str = "revision";

/// Upper bounds of [`DURATION`]'s buckets in milliseconds; thresholds of SlowRate objectives are among them.
pub const BUCKETS_MS: [u32; 15] = [5, 10, 25, 50, 100, 150, 200, 250, 300, 400, 500, 750, 1000, 2000, 5000];

/// The numbers of one server since it started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    pub ok: u64,
    pub empty: u64,
    pub client_error: u64,
    pub error: u64,
    /// Answers at most as slow as each of [`BUCKETS_MS`]; cumulative.
    pub buckets: [u64; BUCKETS_MS.len()],
    /// Answers in the histogram.
    pub answers: u64,
    /// `None` until measured.
    pub encoder_match: Option<bool>,
    pub cosine_mean: Option<f64>,
    pub cosine_min: Option<f64>,
    pub revision: Option<String>,
}

impl Signals {
    /// Answers slower than a threshold, which must be a bucket's bound.
    pub fn slower_than(&self, threshold_ms: u32) -> Option<u64> {
        let at = BUCKETS_MS.iter().position(|bound| *bound == threshold_ms)?;
        self.buckets.get(at).map(|within| self.answers.saturating_sub(*within))
    }
}

/// Why a page gives no numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the page has {0} bytes, more than the {MAX_BYTES} that are read")]
    TooLarge(usize),
    #[error("line {line}: {name} has a value that is not {expected}")]
    Value { line: usize, name: &'static str, expected: &'static str },
    #[error("line {line}: {name} came twice")]
    Twice { line: usize, name: &'static str },
    #[error("line {line}: the labels of {name} cannot be read")]
    Labels { line: usize, name: &'static str },
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("the buckets of {DURATION} shrink")]
    Shrinking,
}

/// Reads a metrics page.
pub fn parse(text: &str) -> Result<Signals, Refused> {
    if text.len() > MAX_BYTES {
        return Err(Refused::TooLarge(text.len()));
    }
    let mut page = Page::default();
    for (number, line) in (1_usize..).zip(text.lines()) {
        page.line(number, line)?;
    }
    page.finish()
}

/// What was found so far; `None` = not yet.
#[derive(Default)]
struct Page {
    outcomes: [Option<u64>; 4],
    buckets: [Option<u64>; BUCKETS_MS.len()],
    answers: Option<u64>,
    matches: Option<bool>,
    mean: Option<f64>,
    min: Option<f64>,
    revision: Option<String>,
}

const OUTCOMES: [&str; 4] = [OK, EMPTY, CLIENT_ERROR, ERROR];
const BUCKET: &str = "rag_request_duration_seconds_bucket";
const COUNT: &str = "rag_request_duration_seconds_count";

impl Page {
    fn line(&mut self, line: usize, text: &str) -> Result<(), Refused> {
        let Some(sample) = Sample::split(text) else { return Ok(()) };
        let at = |name| At { line, name };
        match sample.name {
            REQUESTS => {
                let at = at(REQUESTS);
                let outcome = at.label(&sample, OUTCOME)?;
                // An outcome that this version does not know is no reason to refuse the page of another one.
                match OUTCOMES.iter().position(|known| *known == outcome) {
                    Some(place) => at.put(self.outcomes.get_mut(place), at.count(sample.value)?),
                    None => Ok(()),
                }
            }
            BUCKET => {
                let at = at(BUCKET);
                let bound = at.label(&sample, "le")?;
                match BUCKETS_MS.iter().position(|ms| same_bound(*ms, &bound)) {
                    Some(place) => at.put(self.buckets.get_mut(place), at.count(sample.value)?),
                    None => Ok(()),
                }
            }
            COUNT => at(COUNT).put(Some(&mut self.answers), at(COUNT).count(sample.value)?),
            ENCODER_MATCH => {
                let at = at(ENCODER_MATCH);
                at.put(Some(&mut self.matches), at.flag(sample.value)?)
            }
            ENCODER_COSINE_MEAN => {
                let at = at(ENCODER_COSINE_MEAN);
                at.put(Some(&mut self.mean), at.cosine(sample.value)?)
            }
            ENCODER_COSINE_MIN => {
                let at = at(ENCODER_COSINE_MIN);
                at.put(Some(&mut self.min), at.cosine(sample.value)?)
            }
            REVISION_INFO => {
                let at = at(REVISION_INFO);
                let revision = at.label(&sample, REVISION)?;
                let word = revision.len() <= 64 && revision.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                if !word {
                    return Err(at.value("a revision name"));
                }
                at.put(Some(&mut self.revision), revision)
            }
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Signals, Refused> {
        let [ok, empty, client_error, error] = self.outcomes;
        let need = |value: Option<u64>, name| value.ok_or(Refused::Missing(name));
        let answers = need(self.answers, COUNT)?;
        let mut buckets = [0; BUCKETS_MS.len()];
        let mut below = 0;
        for (slot, found) in buckets.iter_mut().zip(self.buckets) {
            let found = need(found, BUCKET)?;
            if found < below || found > answers {
                return Err(Refused::Shrinking);
            }
            (*slot, below) = (found, found);
        }
        Ok(Signals {
            ok: need(ok, REQUESTS)?,
            empty: need(empty, REQUESTS)?,
            client_error: need(client_error, REQUESTS)?,
            error: need(error, REQUESTS)?,
            buckets,
            answers,
            encoder_match: self.matches,
            cosine_mean: self.mean,
            cosine_min: self.min,
            revision: self.revision,
        })
    }
}

/// Whether the text of an `le` label names a bound given in milliseconds.
fn same_bound(ms: u32, text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|seconds| (seconds * 1000.0 - f64::from(ms)).abs() < 1e-6)
}

/// A place in the page, for errors.
#[derive(Clone, Copy)]
struct At {
    line: usize,
    name: &'static str,
}

impl At {
    fn value(self, expected: &'static str) -> Refused {
        Refused::Value { line: self.line, name: self.name, expected }
    }

    /// A whole number that f64 holds exactly.
    fn count(self, text: &str) -> Result<u64, Refused> {
        let number = text.parse::<f64>().map_err(|_| self.value("a count"))?;
        if number.is_finite() && number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number) {
            Ok(number as u64)
        } else {
            Err(self.value("a count"))
        }
    }

    fn flag(self, text: &str) -> Result<bool, Refused> {
        match text.parse::<f64>() {
            Ok(1.0) => Ok(true),
            Ok(0.0) => Ok(false),
            Ok(_) | Err(_) => Err(self.value("0 or 1")),
        }
    }

    fn cosine(self, text: &str) -> Result<f64, Refused> {
        text.parse::<f64>().ok().filter(|value| (-1.0..=1.0).contains(value)).ok_or(self.value("a cosine"))
    }

    fn label(self, sample: &Sample<'_>, key: &str) -> Result<String, Refused> {
        let broken = Refused::Labels { line: self.line, name: self.name };
        let labels = read_labels(sample.labels).ok_or(broken.clone())?;
        labels.into_iter().find(|(found, _)| *found == key).map(|(_, value)| value).ok_or(broken)
    }

    fn put<T>(self, slot: Option<&mut Option<T>>, value: T) -> Result<(), Refused> {
        match slot {
            Some(slot @ None) => {
                *slot = Some(value);
                Ok(())
            }
            Some(Some(_)) | None => Err(Refused::Twice { line: self.line, name: self.name }),
        }
    }
}

/// `name{labels} value …`
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: &'a str,
}

impl<'a> Sample<'a> {
    /// `None` for comments, empty lines and what is no sample.
    fn split(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
        let (name, rest) = line.split_at_checked(end)?;
        if name.is_empty() {
            return None;
        }
        let (labels, values) = match rest.strip_prefix('{') {
            Some(inner) => {
                let close = closing_brace(inner)?;
                (inner.get(..close)?, inner.get(close.saturating_add(1)..)?)
            }
            None => ("", rest),
        };
        // After the value may stand a time and an exemplar.
        Some(Self { name, labels, value: values.split_whitespace().next()? })
    }
}

/// The place of the brace that is in no quoted value.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().find_map(|(place, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(place),
            _ => {}
        }
        None
    })
}

/// `key="value",…` with the escapes of the text format.
fn read_labels(mut text: &str) -> Option<Vec<(&str, String)>> {
    let mut labels = Vec::new();
    while !text.trim().is_empty() {
        let (key, rest) = text.split_once('=')?;
        let mut value = String::new();
        let mut escaped = false;
        let rest = rest.trim_start().strip_prefix('"')?;
        let end = rest.char_indices().find_map(|(place, c)| {
            match c {
                'n' if escaped => value.push('\n'),
                _ if escaped => value.push(c),
                '\\' => {}
                '"' => return Some(place),
                _ => value.push(c),
            }
            escaped = c == '\\' && !escaped;
            None
        })?;
        labels.push((key.trim(), value));
        text = rest.get(end.saturating_add(1)..)?.trim_start();
        text = text.strip_prefix(',').unwrap_or(text);
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page() -> String {
        let mut text = String::from("# HELP rag_requests Requests.\n# TYPE rag_requests counter\n");
        for (outcome, count) in OUTCOMES.iter().zip([90, 4, 7, 6]) {
            text.push_str(&format!("{REQUESTS}{{{OUTCOME}=\"{outcome}\"}} {count}\n"));
        }
        for (place, ms) in BUCKETS_MS.iter().enumerate() {
            text.push_str(&format!("{BUCKET}{{le=\"{:?}\"}} {}\n", f64::from(*ms) / 1000.0, place * 7));
        }
        text.push_str(&format!("{BUCKET}{{le=\"+Inf\"}} 100\n{COUNT} 100\nrag_request_duration_seconds_sum 3.5\n"));
        text.push_str("rag_encoder_match 1.0\nrag_encoder_cosine_mean 0.99993\nrag_encoder_cosine_min 0.9981\n");
        text.push_str(
            "rag_revision_info{revision=\"a1b2c3d4e5\",version=\"handbook/v3\"} 1\nsomething_else{x=\"}\"} 2\n",
        );
        text.push_str("# EOF\n");
        text
    }

    #[test]
    fn a_page_gives_its_numbers() {
        let signals = parse(&page()).unwrap();
        assert_eq!((signals.ok, signals.empty, signals.client_error, signals.error), (90, 4, 7, 6));
        assert_eq!(signals.answers, 100);
        assert_eq!(signals.slower_than(250), Some(100 - 49));
        assert_eq!(signals.slower_than(240), None, "240 ms is no bound");
        assert_eq!(signals.encoder_match, Some(true));
        assert_eq!(signals.cosine_min, Some(0.9981));
        assert_eq!(signals.revision.as_deref(), Some("a1b2c3d4e5"));
    }

    #[test]
    fn a_server_that_has_not_measured_says_nothing_of_its_encoder() {
        let text: String = page().lines().filter(|l| !l.contains("encoder")).map(|l| format!("{l}\n")).collect();
        assert_eq!(parse(&text).unwrap().encoder_match, None);
    }

    #[test]
    fn hostile_pages_are_refused() {
        let refused = |from: &str, to: &str| {
            let text = page();
            assert!(text.contains(from), "{from}");
            parse(&text.replacen(from, to, 1)).unwrap_err()
        };
        let ok = "rag_requests_total{outcome=\"ok\"} 90";
        for value in ["-1", "NaN", "1e300", "0.5", "+Inf", "many"] {
            let error = refused(ok, &format!("rag_requests_total{{outcome=\"ok\"}} {value}"));
            assert!(matches!(error, Refused::Value { line: 3, .. }), "{value}: {error}");
        }
        assert!(matches!(refused(ok, &format!("{ok}\n{ok}")), Refused::Twice { line: 4, .. }));
        assert!(matches!(refused(ok, "rag_requests_total{outcome=ok} 90"), Refused::Labels { .. }));
        assert_eq!(refused(ok, ""), Refused::Missing(REQUESTS));
        assert_eq!(refused("_count 100", "_count 90"), Refused::Shrinking);
        assert_eq!(refused("le=\"0.05\"} 21", "le=\"0.05\"} 13"), Refused::Shrinking);
        assert!(matches!(refused("match 1.0", "match 0.5"), Refused::Value { expected: "0 or 1", .. }));
        assert!(matches!(refused("mean 0.99993", "mean 7"), Refused::Value { expected: "a cosine", .. }));
        assert!(matches!(refused("a1b2c3d4e5", "a b<script>"), Refused::Value { .. }));
        assert_eq!(parse(&"x".repeat(MAX_BYTES + 1)), Err(Refused::TooLarge(MAX_BYTES + 1)));
        assert_eq!(parse(""), Err(Refused::Missing(COUNT)));
    }

    #[test]
    fn labels_with_quotes_and_braces_are_read() {
        let labels = read_labels(r#"a="x\"}\\\n", b="y""#).unwrap();
        assert_eq!(labels, [("a", "x\"}\\\n".to_owned()), ("b", "y".to_owned())]);
        let sample = Sample::split(r#"m{a="}",b="\"}"} 4 1700000000 # {trace="x"} 1"#).unwrap();
        assert_eq!((sample.name, sample.labels, sample.value), ("m", r#"a="}",b="\"}""#, "4"));
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "(rag_requests_total|rag_request_duration_seconds_bucket|[a-z{}=\",\\\\ 0-9.\n#]){0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_cut_page_never_reads_as_whole_numbers_beyond_it(cut in 0usize..2000) {
            let text = page();
            if let Some(part) = text.get(..cut.min(text.len())) && let Ok(signals) = parse(part) {
                prop_assert!(signals.answers <= 100 && signals.ok <= 90);
            }
        }
    }
}
