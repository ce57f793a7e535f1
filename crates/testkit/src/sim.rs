//! One seed, played: the world is set up, things go wrong for a while, then nothing does, and everything must come to rest.

use crate::cast::{self, Character};
use crate::engine::Engine;
use crate::engine::ask::Ask;
use crate::rng::Rng;
use crate::world::{Broken, Event, Mishap, Shared, Time, Work, World};
use deployctl_core::config::Strategy;
use deployctl_core::deployment::command::Command;
use deployctl_core::id::{DeploymentId, Scope};
use deployctl_core::release::Release;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How long after the last mishap everything must be at rest: a deployment, its way back, leases, wrong clocks.
const REST: Time = 400_000;

/// How a seed went.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// What was wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    /// How deployments ended.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// How often an engine took over from a dead one.
    pub taken: u64,
    /// How often an engine was killed.
    pub crashes: u64,
    /// What happened, line by line, if asked for.
    pub trace: Vec<String>,
}

struct Task {
    life: usize,
    work: Option<Work>,
}

/// What is played with.
struct Sim {
    world: Shared,
    rng: Rng,
    engines: Vec<Engine>,
    tasks: Vec<Task>,
    scopes: Vec<(Scope, bool)>,
    usual: BTreeMap<Scope, Strategy>,
    made: BTreeMap<Scope, Vec<Arc<Release>>>,
    people: u64,
    quiet_at: Time,
    crashes: u64,
}

/// Plays a seed, with rules broken or not, noting what happens or not.
pub fn run(seed: u64, broken: Broken, trace: bool) -> Played {
    let mut sim = Sim::new(seed, broken, trace);
    sim.play();
    let mut world = sim.world.borrow_mut();
    Played {
        wrong: std::mem::take(&mut world.oracle.wrong),
        verdicts: std::mem::take(&mut world.oracle.verdicts),
        taken: world.oracle.taken,
        crashes: sim.crashes,
        trace: world.trace.take().unwrap_or_default(),
    }
}

impl Sim {
    fn new(seed: u64, broken: Broken, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut world = World::new(rng.next(), broken, trace);
        let mut scopes = vec![(cast::scope("api"), true)];
        if rng.chance(350) {
            scopes.push((cast::scope("db"), rng.chance(300)));
        }
        for (scope, _) in &scopes {
            world.place(scope);
            world.after(500, Event::Target(scope.clone(), crate::target::Turn::Arrives));
        }
        let quiet_at = rng.between(20_000, 120_000);
        world.after(0, Event::Born);
        world.after(rng.between(0, 3_000), Event::Born);
        for at in 0..rng.between(1, 5) {
            let when = if at == 0 { 100 } else { rng.between(500, quiet_at) };
            world.after(when, Event::Person);
        }
        for _ in 0..rng.below(3) {
            world.after(rng.below(quiet_at), Event::Jump);
        }
        world.after(quiet_at, Event::Check);
        let made = BTreeMap::new();
        let (engines, tasks) = (Vec::new(), Vec::new());
        let world = Rc::new(RefCell::new(world));
        let usual = BTreeMap::new();
        Self { world, rng, engines, tasks, scopes, usual, made, people: 0, quiet_at, crashes: 0 }
    }

    fn play(&mut self) {
        loop {
            let event = self.world.borrow_mut().next();
            let Some(event) = event else { break };
            if let Event::Check = event {
                if self.check() {
                    break;
                }
                continue;
            }
            self.happen(event);
            self.poll();
        }
        let quiet_at = self.quiet_at;
        self.world.borrow_mut().last_look(quiet_at);
        // Tasks hold the world, and the world what they wait for.
        self.tasks.clear();
        self.engines.clear();
    }

    /// Whether it is over.
    fn check(&mut self) -> bool {
        let mut world = self.world.borrow_mut();
        if !world.quiet {
            world.quiet = true;
            world.say(|| "from here on nothing goes wrong".into());
            if !world.lives.iter().any(|life| life.alive) {
                world.after(0, Event::Born);
            }
        }
        if world.unsettled().is_none() || world.now > self.quiet_at + REST {
            return true;
        }
        world.after(1_000, Event::Check);
        false
    }

    fn happen(&mut self, event: Event) {
        let mut world = self.world.borrow_mut();
        match event {
            Event::Deliver { call, life, request, lost } => world.deliver(call, life, &request, lost),
            Event::Answer(call) => world.answered(call),
            Event::Timer(task, token) => {
                let life = self.tasks[task].life;
                world.timer(life, task, token);
            }
            Event::Wake(life) => world.wake(life),
            Event::Target(scope, turn) => world.turn(&scope, turn),
            Event::Jump => {
                let life = usize::try_from(self.rng.below(world.lives.len() as u64)).unwrap_or(0);
                let jump = i64::try_from(self.rng.below(16_000)).unwrap_or(0) - 8_000;
                world.lives[life].skew += jump;
            }
            Event::Crash(life) => {
                if !world.lives[life].alive {
                    return;
                }
                world.crash(life);
                self.crashes += 1;
                self.tasks.iter_mut().filter(|task| task.life == life).for_each(|task| task.work = None);
                let delay = if self.rng.chance(700) { self.rng.below(8_000) } else { self.rng.below(40_000) };
                world.after(delay, Event::Born);
            }
            Event::Born => {
                drop(world);
                self.born();
            }
            Event::Person => {
                drop(world);
                self.person();
            }
            Event::Check => {}
        }
    }

    fn born(&mut self) {
        let skew = i64::try_from(self.rng.below(10_000)).unwrap_or(0) - 5_000;
        let quiet = self.world.borrow().quiet;
        let fate = if quiet { Vec::new() } else { self.fate() };
        let life = self.world.borrow_mut().born(skew, fate);
        let engine = Engine::new(self.world.clone(), life);
        engine.begin();
        self.engines.push(engine);
    }

    /// Each call is as likely as any other to be the one at which something happens.
    fn fate(&mut self) -> Vec<(u64, Mishap)> {
        let mut fate = Vec::new();
        for _ in 0..self.rng.below(4) {
            let at = if self.rng.chance(600) { self.rng.below(150) } else { self.rng.below(600) };
            fate.push((
                at,
                match self.rng.below(5) {
                    0 => Mishap::CrashBefore,
                    1 | 2 => Mishap::CrashAfter,
                    3 => Mishap::CrashLate,
                    _ => Mishap::Pause(self.rng.between(100, 30_000)),
                },
            ));
        }
        fate
    }

    /// Somebody does something, by way of an engine that listens.
    fn person(&mut self) {
        let awake: Vec<usize> = (0..self.engines.len()).filter(|life| self.world.borrow().is_awake(*life)).collect();
        if awake.is_empty() {
            return;
        }
        let engine = self.engines[*self.rng.pick(&awake)].clone();
        self.people += 1;
        let Ok(id) = DeploymentId::new(format!("d-{:03}", self.people)) else { return };
        let ask = self.draw();
        if matches!(ask, Ask::Deploy(_)) && self.rng.chance(400) {
            // Second thoughts.
            let delay = self.rng.between(50, 9_000);
            self.world.borrow_mut().after(delay, Event::Person);
        }
        self.world.borrow_mut().say(|| format!("somebody asks {}", shown(&ask)));
        let task = engine.task(ask, id);
        self.world.borrow_mut().spawned.push(task);
    }

    fn draw(&mut self) -> Ask {
        let (scope, routed) = self.rng.pick(&self.scopes).clone();
        let busy = self.world.borrow().running(&scope).is_some();
        if self.people == 1 {
            let scopes = self.scopes.clone();
            return Ask::Deploy(scopes.into_iter().map(|(scope, routed)| self.release(&scope, routed)).collect());
        }
        match self.rng.below(if busy { 30 } else { 12 }) {
            0..=4 => Ask::Deploy(vec![self.release(&scope, routed)]),
            5 => {
                let scopes = self.scopes.clone();
                Ask::Deploy(scopes.into_iter().map(|(scope, routed)| self.release(&scope, routed)).collect())
            }
            6..=8 => Ask::Rollback(scope),
            9 => Ask::Restart(scope),
            10 => Ask::Down(scope),
            11 => match self.made.get(&scope) {
                Some(made) => Ask::Deploy(vec![(scope.clone(), self.rng.pick(made).clone())]),
                None => Ask::Deploy(vec![self.release(&scope, routed)]),
            },
            12..=22 => Ask::Steer(scope, Command::Cancel),
            23..=26 => Ask::Steer(scope, Command::Pause),
            _ => Ask::Steer(scope, Command::Resume),
        }
    }

    fn release(&mut self, scope: &Scope, routed: bool) -> (Scope, Arc<Release>) {
        let made = self.made.entry(scope.clone()).or_default();
        let config = cast::config(&mut self.rng, routed, self.usual.get(scope));
        self.usual.entry(scope.clone()).or_insert_with(|| config.strategy.clone());
        let release = Arc::new(cast::release(scope, made.len() as u64 + 1, config));
        let first = made.is_empty() && self.rng.chance(900);
        let character = if first { Character::Good } else { Character::draw(&mut self.rng) };
        made.push(release.clone());
        let mut world = self.world.borrow_mut();
        world.say(|| format!("{scope} {} is {character:?}", release.version));
        world.releases.insert(release.id(), (release.clone(), character));
        (scope.clone(), release)
    }

    /// Lets every task go on that can.
    fn poll(&mut self) {
        loop {
            let (spawned, due) = {
                let mut world = self.world.borrow_mut();
                (std::mem::take(&mut world.spawned), std::mem::take(&mut world.due))
            };
            if spawned.is_empty() && due.is_empty() {
                return;
            }
            let first = self.tasks.len();
            for (life, work) in spawned {
                self.tasks.push(Task { life, work: Some(work) });
            }
            for task in due.into_iter().chain(first..self.tasks.len()) {
                self.poll_task(task);
            }
        }
    }

    fn poll_task(&mut self, task: usize) {
        let Some(mut work) = self.tasks[task].work.take() else { return };
        self.world.borrow_mut().task = task;
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            self.tasks[task].work = Some(work);
        }
    }
}

fn shown(ask: &Ask) -> String {
    match ask {
        Ask::Deploy(releases) => {
            let names =
                releases.iter().map(|(scope, r)| format!("{} {} ({:?})", scope.app, r.version, r.config.strategy));
            format!("to deploy {}", names.collect::<Vec<_>>().join(" and "))
        }
        other => format!("for {other:?}"),
    }
}
