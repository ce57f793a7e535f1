//! The crash matrix: every named point of client, engine, shim and proxy, hit in every flow, by kill and by stop;
//! everything killed at once; a reboot; calls to the kernel that kill; another build that takes over. After each, the
//! same is asked: has every deployment one end, is what runs what status says, is nothing left, does it go on?

mod binaries;
mod case;
mod containers;
mod flow;
mod inject;
mod matrix;
mod moments;
mod notes;
mod objects;
mod oracle;
mod procs;
mod running;
mod table;
mod traffic;
mod upgrade;
mod work;
mod world;

pub use matrix::{Options, Report, run};

/// What the apps are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apps {
    /// Processes.
    Processes,
    /// Containers, on a Docker Engine of the matrix' own.
    Containers,
    /// Objects, of a cluster of the matrix' own.
    Objects,
}

/// Numbers that look random and come again with the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap_or(0)
    }
}
