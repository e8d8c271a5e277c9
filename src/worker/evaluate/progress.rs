//! How far a run is, on stderr: a bar on a terminal, else a line each ten seconds.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const EVERY: Duration = Duration::from_secs(10);

/// Progress of the questions to one arm after the other.
pub struct Progress {
    shown: Shown,
    name: String,
    done: usize,
    total: usize,
}

enum Shown {
    Bar(ProgressBar),
    Lines {
        last: Instant,
    },
    #[cfg(test)]
    Nothing,
}

impl Progress {
    /// On stderr.
    pub fn new() -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            if let Ok(style) = ProgressStyle::with_template("{prefix:10} {bar:30} {pos}/{len} queries {eta} left") {
                bar.set_style(style);
            }
            Shown::Bar(bar)
        } else {
            Shown::Lines { last: Instant::now() }
        };
        Self { shown, name: String::new(), done: 0, total: 0 }
    }

    /// Nowhere.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Self { shown: Shown::Nothing, name: String::new(), done: 0, total: 0 }
    }

    /// Begins with an arm.
    pub fn start(&mut self, name: &str, total: usize) {
        (self.name, self.done, self.total) = (name.to_owned(), 0, total);
        if let Shown::Bar(bar) = &self.shown {
            bar.reset();
            bar.set_length(total as u64);
            bar.set_prefix(name.to_owned());
        }
    }

    /// One more question is done.
    pub fn step(&mut self) {
        self.done = self.done.saturating_add(1);
        match &mut self.shown {
            Shown::Bar(bar) => bar.inc(1),
            Shown::Lines { last } => {
                if last.elapsed() >= EVERY {
                    *last = Instant::now();
                    eprintln!("{}: {} of {} queries", self.name, self.done, self.total);
                }
            }
            #[cfg(test)]
            Shown::Nothing => {}
        }
    }

    /// The arm is done.
    pub fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
