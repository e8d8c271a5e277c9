//! What the benches share: the null encoder, texts from a seed, what a process used, the report.
//!
//! Invariant: nothing here decides whether a figure is good; figures are printed, never asserted.

// Each bench is a program of its own and leaves some of these parts unused.
#![allow(dead_code)]

pub mod encoder;
pub mod process;
pub mod report;
pub mod words;

/// Whether sizes are so small that the run only shows that the bench works (`BENCH_SMALL=1`).
pub fn small() -> bool {
    std::env::var_os("BENCH_SMALL").is_some_and(|value| !value.is_empty())
}

/// A size of the real run, or of the small one.
pub fn size<T>(real: T, small_one: T) -> T {
    if small() { small_one } else { real }
}
