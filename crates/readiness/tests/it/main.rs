//! Descriptions of what is really there, and what the rules make of them.

mod files;
mod images;
mod make;
mod reports;
