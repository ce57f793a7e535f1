//! Tests of the decisions: properties from arbitrary states, tables, golden paths, and journals of earlier builds.

mod make;
mod ops;

mod strategy;
