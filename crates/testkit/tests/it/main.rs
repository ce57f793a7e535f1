//! The decisions, tried in a simulated world against everything that goes wrong.

mod simulation;
