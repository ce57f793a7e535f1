/// What runs the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Processes.
    Processes,
    /// Containers, on a Docker Engine of the proof's own.
    Docker,
    /// The same as a service of a Compose file, with a published port.
    Compose,
}
