//! `artifact`: images in real registries, and files.

mod images;
