//! The only room that knows the cluster: four controllers in the form observe → plan → apply.
//!
//! Why this form: what is observed is plain data, what is planned is plain data, so every decision is a table
//! in a test. Invariants: only [`apply`] writes; `plan.rs` files know no async, client or clock; one object's
//! trouble never stops the others.

pub mod apply;
pub mod attempt;
pub mod backoff;
pub mod command;
pub mod condition;
pub mod config;
pub mod context;
pub mod crds;
pub mod error;
pub mod event;
pub mod gate;
mod health;
pub mod index;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod pod;
pub mod read;
pub mod reconcile;
pub mod release;
pub mod route;
pub mod run;
pub mod schedule;
pub mod signals;
pub mod spec;
pub mod text;

pub use run::{Args, run};
