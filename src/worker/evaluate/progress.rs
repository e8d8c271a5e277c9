//! How far a run is, on stderr: a bar on a terminal, else a line each ten seconds, for people or for programs.
//!
//! Invariant: nothing of it reaches stdout, and whether anybody reads it changes no result.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::worker::exit::tell;

const EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{prefix:10} {bar:30} {pos}/{len} queries, {per_sec}, {eta} left";

/// How it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Display {
    /// On a terminal; elsewhere plain.
    #[default]
    Bar,
    Plain,
    /// One object a line.
    Json,
    None,
}

/// `bar`, `plain`, `json` or `none`.
pub fn progress_flag(text: &str) -> Result<Display, String> {
    match text {
        "bar" => Ok(Display::Bar),
        "plain" => Ok(Display::Plain),
        "json" => Ok(Display::Json),
        "none" => Ok(Display::None),
        _ => Err("write bar, plain, json or none".to_owned()),
    }
}

/// Progress of the questions to one arm after the other.
pub struct Progress {
    shown: Shown,
    step: String,
    done: usize,
    total: usize,
    begun: Instant,
    told: Instant,
}

enum Shown {
    Bar(ProgressBar),
    Plain,
    Json,
    Nothing,
}

impl Progress {
    /// On stderr.
    pub fn new(form: Display) -> Self {
        let shown = match form {
            Display::Bar if std::io::stderr().is_terminal() => {
                let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
                Shown::Bar(ProgressBar::new(0).with_style(style))
            }
            Display::Bar | Display::Plain => Shown::Plain,
            Display::Json => Shown::Json,
            Display::None => Shown::Nothing,
        };
        let now = Instant::now();
        Self { shown, step: String::new(), done: 0, total: 0, begun: now, told: now }
    }

    /// Begins with an arm.
    pub fn start(&mut self, step: &str, total: usize) {
        let now = Instant::now();
        (self.step, self.done, self.total, self.begun, self.told) = (step.to_owned(), 0, total, now, now);
        if let Shown::Bar(bar) = &self.shown {
            bar.reset();
            bar.set_length(total as u64);
            bar.set_prefix(step.to_owned());
        }
    }

    /// One more question is done.
    pub fn step(&mut self) {
        self.done = self.done.saturating_add(1);
        match &self.shown {
            Shown::Bar(bar) => bar.inc(1),
            Shown::Plain | Shown::Json if self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                self.tell();
            }
            Shown::Plain | Shown::Json | Shown::Nothing => {}
        }
    }

    /// The arm is done. A program is told so, however short it took.
    pub fn end(&self) {
        match &self.shown {
            Shown::Bar(bar) => bar.finish_and_clear(),
            Shown::Json => self.tell(),
            Shown::Plain | Shown::Nothing => {}
        }
    }

    fn tell(&self) {
        let pace = Pace::of(&self.step, self.done, self.total, self.begun.elapsed());
        match &self.shown {
            Shown::Plain => tell(&pace.in_words()),
            Shown::Json => tell(&serde_json::to_string(&pace).unwrap_or_default()),
            Shown::Bar(_) | Shown::Nothing => {}
        }
    }
}

/// How far a step is, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pace<'a> {
    step: &'a str,
    done: usize,
    total: usize,
    /// Absent before the first is done.
    per_second: Option<f64>,
    seconds_left: Option<f64>,
}

impl<'a> Pace<'a> {
    fn of(step: &'a str, done: usize, total: usize, time: Duration) -> Self {
        // A first answer within a millisecond makes no infinite rate.
        let rate = (done > 0).then(|| done as f64 / time.as_secs_f64().max(0.001));
        let left = total.saturating_sub(done) as f64;
        let tenths = |x: f64| (x * 10.0).round() / 10.0;
        Self { step, done, total, per_second: rate.map(tenths), seconds_left: rate.map(|rate| tenths(left / rate)) }
    }

    fn in_words(&self) -> String {
        let Self { step, done, total, .. } = self;
        let pace = self.per_second.zip(self.seconds_left).map(|(rate, left)| {
            let (minutes, seconds) = ((left / 60.0).floor(), (left % 60.0).floor());
            let left = if minutes > 0.0 { format!("{minutes} min {seconds} s") } else { format!("{seconds} s") };
            format!(", {rate} a second, {left} left")
        });
        format!("{step}: {done} of {total} queries{}", pace.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let pace = |done, seconds| Pace::of("baseline", done, 1000, Duration::from_secs(seconds));
        for (pace, words, json) in [
            (
                pace(30, 20),
                "baseline: 30 of 1000 queries, 1.5 a second, 10 min 46 s left",
                r#"{"step":"baseline","done":30,"total":1000,"perSecond":1.5,"secondsLeft":646.7}"#,
            ),
            (
                pace(1000, 40),
                "baseline: 1000 of 1000 queries, 25 a second, 0 s left",
                r#"{"step":"baseline","done":1000,"total":1000,"perSecond":25.0,"secondsLeft":0.0}"#,
            ),
            (
                pace(0, 10),
                "baseline: 0 of 1000 queries",
                r#"{"step":"baseline","done":0,"total":1000,"perSecond":null,"secondsLeft":null}"#,
            ),
        ] {
            assert_eq!((pace.in_words().as_str(), serde_json::to_string(&pace).unwrap().as_str()), (words, json));
        }
    }
}
