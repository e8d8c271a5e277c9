//! rag-operator: a change of a RAG index is a release.
//!
//! Users declare four kinds; four controllers compare what is declared with what they observe, plan with
//! pure functions, and one writer carries the plan out. Everything that touches documents, vectors or
//! models happens in pods that run the same binary with another subcommand.
//!
//! Layout: [`api`] the four kinds as users write them; [`controller`] the only room that knows the cluster;
//! [`worker`] the programs that run in pods; [`corpus`], [`embedding`], [`store`] and [`evaluation`] know no
//! Kubernetes; [`metadata`], [`yaml`], [`hex`] and [`answer`] serve them all. `tests/arrows.rs` holds who may use whom.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::disallowed_methods))]

pub mod answer;
pub mod api;
pub mod args;
pub mod controller;
pub mod corpus;
pub mod embedding;
pub mod evaluation;
pub mod hex;
pub mod metadata;
pub mod store;
pub mod telemetry;
pub mod worker;
pub mod yaml;
