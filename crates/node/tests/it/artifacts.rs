//! Artifacts of every kind, good and bad.
