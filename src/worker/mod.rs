//! The programs that run in pods and on laptops: index, evaluate, probe, serve, embed, receive.
//!
//! Invariant: no kube client here. [`job`] (input) and [`receipt`] (result) are the contract with the operator.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

pub mod embed;
pub mod encoder;
pub mod evaluate;
pub mod exit;
pub mod http;
pub mod index;
pub mod job;
mod path;
pub mod probe;
pub mod receipt;
pub mod receive;
pub mod serve;
pub mod signals;
mod store;
