//! Measuring retrieval on labelled queries, and turning numbers into a verdict.
//!
//! Why a room of its own: a pod measures, the operator judges, and a laptop does both; all three call the
//! same functions, so the same numbers give the same verdict everywhere.
//!
//! Layout: [`dataset`] queries and judgments; [`run`] what an arm answered; [`metric`] one number a query;
//! [`compare`] the numbers of two arms; [`sample`] what of them is independent; [`paired`] and [`bounded_mean`] bounds
//! and tests of their difference, [`reach`] how many queries enter them, [`inference`] those that a gate asks for; [`slice`] and [`holm`] groups of queries;
//! [`condensed`] lists without unjudged documents; [`likeness`] of two lists, without judgments; [`mixed`] and
//! [`silhouette`] facts of sets with several domains; [`verdict`] rules; [`sequence`] live shares, looked at again and
//! again.
//!
//! Invariants: no network, no clock, no Kubernetes; files are only read. Equal inputs give equal bits: sums
//! run in bytewise order of the query ids, draws come from a named generator with a derived seed.

pub mod bounded_mean;
mod by_query;
pub mod compare;
pub mod condensed;
pub mod dataset;
#[cfg(test)]
pub(crate) mod domains;
pub mod holm;
pub mod inference;
pub mod likeness;
pub mod lines;
pub mod metric;
pub mod mixed;
mod number;
pub mod paired;
pub mod reach;
pub mod run;
pub mod sample;
pub mod sequence;
pub mod signs;
pub mod silhouette;
pub mod slice;
pub mod verdict;
