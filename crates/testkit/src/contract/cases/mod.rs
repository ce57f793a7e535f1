//! The cases. Each says in its comment what is promised.

mod failing;
mod fences;
mod jobs;
mod looking;
mod walking;

pub use failing::*;
pub use fences::*;
pub use jobs::*;
pub use looking::*;
pub use walking::*;
