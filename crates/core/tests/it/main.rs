//! Tests of the decisions: properties from arbitrary states, tables, golden paths, and journals of earlier builds.

mod deployment;
mod journal;
mod make;
mod ops;
mod paths;
mod planner;
mod rollback;
mod step;
mod strategy;
mod wholes;
