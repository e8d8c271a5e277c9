//! The story of a release on a real cluster, in parts that the demo prints and the end-to-end tests assert.
//!
//! Why one module for both: what the demo shows is what the tests hold, step by step and number by number.
//!
//! Invariants: every wait has a limit and says at its end what was last seen; a cluster that is missing is an
//! error with one sentence, never a skip.

// Two programs are made of these parts, and each leaves some of them unused.
#![allow(dead_code)]

pub mod audit;
pub mod claims;
pub mod cluster;
pub mod data;
pub mod fault;
pub mod install;
pub mod load;
pub mod objects;
pub mod remote;
pub mod scrape;
pub mod story;
pub mod trace;
pub mod web;
