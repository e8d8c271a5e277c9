//! The planner against a cluster in memory: tables of single passes, stories, and exploration.

mod commands;
mod crash;
mod explore;
mod gates;
mod kept;
mod life;
mod nature;
mod route;
mod safety;
mod scheduled;
mod sim;
mod steps;
mod target;
mod watching;
mod world;
