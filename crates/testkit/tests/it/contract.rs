//! The contract on the target in memory: that it keeps it, and that the suite notices each rule that is broken.

use async_trait::async_trait;
use deployctl_core::config::{AppConfig, Hooks, LateText, Limits, ProcessConfig, Restart, Strategy, TargetConfig};
use deployctl_core::desired::{JobGate, JobKind};
use deployctl_core::driver::Driver;
use deployctl_core::id::{InstanceId, JobId, RegionName, Scope};
use deployctl_core::instance::InstanceSeen;
use deployctl_core::job::JobState;
use deployctl_core::release::Release;
use deployctl_core::time::Span;
use deployctl_testkit::contract::{Bench, Broken, Character, LAST_LINE, Task, Verdict, cases};
use deployctl_testkit::fake::{Break, Fake};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

struct InMemory(Fake);

impl InMemory {
    fn new(fake: Fake) -> Self {
        let bench = Self(fake);
        bench.0.make_bad(&bench.release(Character::ExitsAtOnce).id());
        bench.0.make_bad(&bench.release(Character::NeverHealthy).id());
        bench.0.job_ends(&bench.job(Task::Ends), JobState::Succeeded);
        let failed = JobState::Failed { reason: "exit 3".into(), last_lines: vec![LAST_LINE.into()] };
        bench.0.job_ends(&bench.job(Task::Fails), failed);
        bench
    }
}

fn config() -> AppConfig {
    AppConfig {
        target: TargetConfig::Process(ProcessConfig {
            command: vec![LateText::plain("./app")],
            env: BTreeMap::new(),
            port: true,
            user: None,
            limits: Limits::default(),
            restart: Restart::default(),
            log_bytes_max: 1 << 20,
        }),
        instances: 2,
        strategy: Strategy::BlueGreen,
        depends_on: Vec::new(),
        route: None,
        health: None,
        smoke: Vec::new(),
        migrate: None,
        hooks: Hooks::default(),
        drain: Span::secs(1),
        deadline: Span::secs(600),
        bake: Span::default(),
    }
}

#[async_trait]
impl Bench for InMemory {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(self.0.again())
    }

    fn scope(&self) -> Scope {
        Scope {
            project: "shop".parse().unwrap(),
            environment: "dev".parse().unwrap(),
            region: RegionName::default_region(),
            app: "api".parse().unwrap(),
        }
    }

    fn release(&self, character: Character) -> Arc<Release> {
        let version = match character {
            Character::Good(number) => format!("v{number}"),
            Character::ExitsAtOnce => "exits".into(),
            Character::NeverHealthy => "silent".into(),
        };
        let scope = self.scope();
        Arc::new(Release {
            project: scope.project,
            environment: scope.environment,
            region: scope.region,
            app: scope.app,
            version: version.parse().unwrap(),
            artifact: None,
            config: config(),
            secrets: BTreeMap::new(),
            built_here: false,
        })
    }

    fn job(&self, task: Task) -> JobGate {
        let number = match task {
            Task::Ends => 0,
            Task::Fails => 1,
            Task::Stays => 2,
        };
        JobGate { what: JobKind::Before(number), release: self.release(Character::Good(1)).id() }
    }

    async fn alive(&self) -> Vec<InstanceId> {
        self.0.alive(&self.scope())
    }

    async fn begun(&self, job: &JobId) -> usize {
        self.0.job(job).0
    }

    async fn working(&self, job: &JobId) -> usize {
        self.0.job(job).1
    }

    async fn take_away(&self, instance: &InstanceSeen) -> bool {
        self.0.take_away(&self.scope(), &instance.id);
        true
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.0.cut_off(!reachable);
        true
    }
}

mod kept {
    use super::{Fake, InMemory};

    deployctl_testkit::driver_contract!(InMemory::new(Fake::default()));
}

type Case = for<'a> fn(&'a dyn Bench) -> Pin<Box<dyn Future<Output = Verdict> + 'a>>;

/// Each rule that can be broken, the case that notices, and what it says.
macro_rules! noticed {
    ($($rule:ident $case:ident $says:literal)*) => {
        [$((Break::$rule, stringify!($case), (|bench| Box::pin(cases::$case(bench))) as Case, $says)),*]
    };
}

#[tokio::test(start_paused = true)]
async fn each_broken_rule_is_noticed() {
    let all = noticed! {
        StartsTwice observe_says_what_was_asked "just what is asked for runs, once"
        MiscountsShares observe_says_what_was_asked "another share of"
        IgnoresFences a_replaced_owner_starts_and_stops_nothing "a start by a replaced owner is refused as a conflict"
        IgnoresFences a_replaced_owner_moves_no_traffic "a switch by a replaced owner is refused as a conflict"
        IgnoresFences a_replaced_owner_runs_and_kills_no_job "a job by a replaced owner is refused as a conflict"
        IgnoresFences who_shows_a_newer_fence_is_the_owner "a stop by a replaced owner is refused as a conflict"
        MovesTrafficForAnybody a_replaced_owner_moves_no_traffic "a switch that is refused changes nothing"
        ForgetsFences a_replaced_owner_starts_and_stops_nothing "a start by a replaced owner is refused as a conflict"
        RestartsEachTime converge_twice_is_converge_once "converging again, by the same, changes nothing"
        ForgetsWhatRuns converge_twice_is_converge_once "converging again, by the next owner, changes nothing"
        NotesLate interrupted_anywhere_it_ends_the_same "just what is asked for runs, once"
        FaultsForBadReleases what_exits_at_once_is_said_with_its_last_lines "is no fault of the target"
        WaitsForever what_never_is_healthy_is_said_with_its_last_lines "is said long before the deadline"
        LosesLastLines what_exits_at_once_is_said_with_its_last_lines "what it printed last is shown"
        CheckRestarts looking_changes_nothing "looking, by the same, changes nothing"
        KeepsShares the_way_down_leaves_nothing "another share of"
        KeepsInstances the_way_down_leaves_nothing "just what is asked for runs, once"
        TrustsMemory what_was_taken_away_is_made_good "converging again and again ends at"
        RunsJobsAgain a_job_begins_once "a job begins once per id; seen: 2"
        ForgetsJobs a_job_begins_once "a job begins once per id; seen: 2"
        BeginsKilledJobs a_job_that_was_killed_before_never_begins "a job that was killed has failed, for good"
        KillsHalf a_killed_job_is_gone_with_all_it_started "nothing is left of a job that was killed; seen: 1"
        PraisesJobs a_job_that_fails_says_how "a job that fails has failed; seen: Succeeded"
        CondemnsUnseen out_of_reach_is_no_verdict "what cannot be reached is not shown as failed"
        SeesNothing out_of_reach_is_no_verdict "what cannot be reached is not shown as gone"
        GivesUp out_of_reach_is_no_verdict "converging where the target cannot be reached is trouble that may pass"
        WakesNobody who_waits_is_woken "whoever waits for a change is woken by one"
    };
    let mut unnoticed = Vec::new();
    for (rule, name, case, says) in all {
        match case(&InMemory::new(Fake::that(rule))).await {
            Err(Broken(why)) if why.contains(says) => {}
            other => unnoticed.push(format!("{rule:?} by {name}: {other:?}, `{says}` was expected")),
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

#[tokio::test]
#[should_panic(expected = "the contract of drivers, a_case: it holds; seen: 7")]
async fn what_is_broken_is_said_with_the_name_of_the_case() {
    deployctl_testkit::contract::keeps("a_case", async { Err(Broken("it holds; seen: 7".into())) }).await;
}
