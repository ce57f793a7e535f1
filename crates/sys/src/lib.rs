//! What several crates need of the operating system, in one place each: durable writes, locks, sockets by long paths,
//! processes and the ports that they own, programs of others.

#[cfg(not(target_os = "linux"))]
compile_error!("deployctl runs on Linux: it needs pidfd, flock, /proc and SCM_RIGHTS as Linux has them");

pub mod crash;
mod diag;
pub mod disk;
pub mod durable;
pub mod lock;
pub mod ports;
pub mod process;
pub mod program;
pub mod socket;
