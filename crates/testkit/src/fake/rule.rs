//! Rules of the contract that a fake can be made to break, to try the suite that should notice.

/// What a broken fake does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Starts each instance two times.
    StartsTwice,
    /// Gives all traffic to each revision that has some.
    MiscountsShares,
    /// Does what any owner asks, however often it was replaced.
    IgnoresFences,
    /// Asks for the fence when it starts and stops, not when it moves traffic.
    MovesTrafficForAnybody,
    /// Remembers fences until it dies.
    ForgetsFences,
    /// Starts everything anew whenever it is asked to converge.
    RestartsEachTime,
    /// A new one does not see what the one before started.
    ForgetsWhatRuns,
    /// Starts first and notes it later.
    NotesLate,
    /// Makes a fault of a release that cannot come up.
    FaultsForBadReleases,
    /// Never says that an instance cannot come up.
    WaitsForever,
    /// Loses the last lines.
    LosesLastLines,
    /// A health check restarts what it asks.
    CheckRestarts,
    /// The routes of what is gone stay.
    KeepsShares,
    /// The instances of what is gone stay, and are not shown.
    KeepsInstances,
    /// Takes for true what it made true once.
    TrustsMemory,
    /// Runs a job that has ended again when it is asked for again.
    RunsJobsAgain,
    /// A new one does not know the jobs of the one before.
    ForgetsJobs,
    /// A job that was killed begins when somebody asks late.
    BeginsKilledJobs,
    /// Kills a job and not what it started.
    KillsHalf,
    /// Says that jobs went well, however they ended.
    PraisesJobs,
    /// Says of what it cannot reach that it has failed.
    CondemnsUnseen,
    /// Says of what it cannot reach that nothing runs.
    SeesNothing,
    /// Says that trying again is of no use when it cannot reach its target.
    GivesUp,
    /// Nobody is woken by a change.
    WakesNobody,
}
