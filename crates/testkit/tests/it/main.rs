//! The decisions, tried in a simulated world against everything that goes wrong; and the contract of drivers.

mod contract;
mod simulation;
