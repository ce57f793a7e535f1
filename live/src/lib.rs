//! Load generator and live suites.
