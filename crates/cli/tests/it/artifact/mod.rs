//! `artifact`: images in real registries and engines, and files.

mod checks;
mod gate;
mod images;
