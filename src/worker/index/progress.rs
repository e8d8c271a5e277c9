//! How far a build is: a bar on a terminal, else a line each 10 seconds, on standard error.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// The display of one build.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    begun: Instant,
    shown: Instant,
}

impl Progress {
    /// Begins; `total` counts documents.
    pub fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} documents, {msg}, {eta} left");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self { bar, total, done: 0, begun: now, shown: now }
    }

    /// One more document; `chunks` are all so far, `reused` those of them that were not embedded.
    pub fn document(&mut self, chunks: u64, reused: u64) {
        self.done = self.done.saturating_add(1);
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{chunks} chunks ({reused} reused)"));
                bar.set_position(self.done);
            }
            None if self.shown.elapsed() >= EVERY => {
                self.shown = Instant::now();
                eprintln!("{}", line(self.done, self.total, chunks, reused, self.begun.elapsed()));
            }
            None => {}
        }
    }

    /// Ends the display.
    pub fn finish(self, chunks: u64, reused: u64) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}", line(self.done, self.total, chunks, reused, self.begun.elapsed()));
    }
}

fn line(done: u64, total: u64, chunks: u64, reused: u64, time: Duration) -> String {
    let rate = chunks as f64 / time.as_secs_f64().max(0.001);
    format!("{done} of {total} documents, {chunks} chunks ({reused} reused), {rate:.0} chunks a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let shown = line(3, 10, 40, 5, Duration::from_secs(2));
        assert_eq!(shown, "3 of 10 documents, 40 chunks (5 reused), 20 chunks a second");
    }
}
