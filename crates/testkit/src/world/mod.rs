//! The world: one clock, one queue of what will happen, and the messages between engines, journal and target.

mod message;

pub use message::{Mishap, Reply, Request};

use crate::cast::Character;
use crate::journal::Journal;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::target::{Place, Turn};
use deployctl_core::id::{OwnerId, Scope, Sha256Hex};
use deployctl_core::release::Release;
use deployctl_core::time::Millis;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

/// Milliseconds since the world began.
pub type Time = u64;

/// Wall clocks show about this when the world begins.
pub const EPOCH: u64 = 1_700_000_000_000;

/// The world as everybody in it holds it.
pub type Shared = Rc<RefCell<World>>;

/// Something that an engine does, one call after the other.
pub type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Rules that can be broken on purpose, to see whether the oracle notices. All false in earnest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// The journal appends whatever the fence.
    pub journal_unfenced: bool,
    /// The target acts whatever the fence.
    pub target_unfenced: bool,
    /// A taken-over deployment keeps its fence.
    pub takeover_keeps_fence: bool,
    /// Traffic moves to what is not ready.
    pub routes_before_ready: bool,
    /// What is routed or has requests is stopped.
    pub stops_at_once: bool,
    /// Stops go out in the round that published.
    pub stops_before_acknowledged: bool,
    /// Nobody asks for requests in flight where nothing is published any more.
    pub forgets_requests_of_no_service: bool,
    /// What is there is looked at after converging, not before.
    pub looks_after_converging: bool,
    /// A job is not recorded before it is started.
    pub starts_jobs_unrecorded: bool,
    /// A job whose outcome is unknown is run again whatever it is.
    pub repeats_any_job: bool,
    /// Turning back goes on although a job could not be ended.
    pub ignores_kill_faults: bool,
    /// A job that is killed before it began may begin later.
    pub kills_leave_no_mark: bool,
    /// Nobody takes over.
    pub never_takes_over: bool,
    /// Deadlines do not end anything.
    pub no_deadline: bool,
    /// A fault of the platform condemns the release, and counts as restored.
    pub closes_on_faults: bool,
    /// Nothing is kept true while no deployment runs.
    pub no_keepers: bool,
}

/// One run of an engine, from its start to its crash.
#[derive(Clone, Debug)]
pub struct Life {
    /// Who it is, to others.
    pub owner: OwnerId,
    /// Whether it still runs.
    pub alive: bool,
    /// Stopped until then, and unaware of it.
    pub paused_until: Time,
    /// How far its wall clock is off.
    pub skew: i64,
    /// How many calls it made.
    pub calls: u64,
    /// What befalls it, at which call.
    pub fate: Vec<(u64, Mishap)>,
    held: Vec<Event>,
}

/// What will happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message arrives.
    Deliver {
        /// Its number.
        call: u64,
        /// Who sent it.
        life: usize,
        /// What it asks for.
        request: Box<Request>,
        /// What goes wrong with it.
        lost: Lost,
    },
    /// An answer arrives.
    Answer(u64),
    /// A task has waited long enough.
    Timer(usize, u64),
    /// An engine is killed.
    Crash(usize),
    /// An engine that was stopped goes on.
    Wake(usize),
    /// An engine starts.
    Born,
    /// A clock jumps.
    Jump,
    /// A person does something.
    Person,
    /// The target goes on by itself.
    Target(Scope, Turn),
    /// Somebody looks whether all is done.
    Check,
}

/// What goes wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// It never arrives, and its sender learns that.
    Request,
    /// It arrives, its answer does not, and its sender learns that.
    Answer,
    /// It arrives twice.
    Twice,
    /// It arrives, and its sender dies at that moment.
    Sender,
}

/// Everything there is.
pub struct World {
    /// What time it is.
    pub now: Time,
    /// The dice.
    pub rng: Rng,
    /// The journal.
    pub journal: Journal,
    /// The target, by scope.
    pub places: BTreeMap<Scope, Place>,
    /// Releases and how they behave.
    pub releases: BTreeMap<Sha256Hex, (Arc<Release>, Character)>,
    /// Every engine that ever ran.
    pub lives: Vec<Life>,
    /// Whether nothing goes wrong any more.
    pub quiet: bool,
    /// What must be and is not.
    pub oracle: Oracle,
    /// Rules broken on purpose.
    pub broken: Broken,
    /// What happened, if somebody wants to know.
    pub trace: Option<Vec<String>>,
    /// Tasks to begin, with the engine that they belong to.
    pub spawned: Vec<(usize, Work)>,
    /// Tasks to poll.
    pub due: Vec<usize>,
    /// The task that is polled now.
    pub task: usize,
    queue: BTreeMap<(Time, u64), Event>,
    count: u64,
    calls: BTreeMap<u64, (usize, usize)>,
    answers: BTreeMap<u64, Reply>,
    tokens: BTreeMap<u64, bool>,
    waiting: BTreeMap<Scope, Vec<(usize, u64)>>,
    roads: BTreeMap<(usize, Option<Scope>), Time>,
}

impl World {
    /// An empty world with these dice.
    pub fn new(seed: u64, broken: Broken, trace: bool) -> Self {
        let mut journal = Journal::default();
        journal.unfenced = broken.journal_unfenced;
        Self {
            now: 0,
            rng: Rng::new(seed),
            journal,
            places: BTreeMap::new(),
            releases: BTreeMap::new(),
            lives: Vec::new(),
            quiet: false,
            oracle: Oracle::default(),
            broken,
            trace: trace.then(Vec::new),
            spawned: Vec::new(),
            due: Vec::new(),
            task: 0,
            queue: BTreeMap::new(),
            count: 0,
            calls: BTreeMap::new(),
            answers: BTreeMap::new(),
            tokens: BTreeMap::new(),
            waiting: BTreeMap::new(),
            roads: BTreeMap::new(),
        }
    }

    /// Makes something happen after `delay`.
    pub fn after(&mut self, delay: Time, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + delay, self.count), event);
    }

    /// The next thing that happens, at its time.
    #[expect(clippy::should_implement_trait, reason = "taking an event moves the clock")]
    pub fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = at;
        Some(event)
    }

    /// Notes what happened.
    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.now, what()));
        }
    }

    /// Something is not as it must be.
    pub fn wrong(&mut self, what: String) {
        self.say(|| format!("WRONG {what}"));
        let now = self.now;
        self.oracle.wrong.push(format!("at {now} ms: {what}"));
    }

    /// What an engine's clock on the wall shows.
    pub fn wall(&self, life: usize) -> Millis {
        let now = i64::try_from(EPOCH + self.now).unwrap_or(i64::MAX);
        Millis(u64::try_from(now + self.lives[life].skew).unwrap_or(0))
    }

    /// Whether an engine runs and is not stopped.
    pub fn is_awake(&self, life: usize) -> bool {
        self.lives[life].alive && self.lives[life].paused_until <= self.now
    }

    /// Sends a message for the task that is polled now; its number.
    pub fn send(&mut self, life: usize, request: Request) -> u64 {
        self.count += 1;
        let call = self.count;
        self.calls.insert(call, (life, self.task));
        let at = self.lives[life].calls;
        self.lives[life].calls += 1;
        let mishap = self.lives[life].fate.iter().find(|(when, _)| *when == at).map(|(_, mishap)| *mishap);
        let delay = if self.rng.chance(50) { self.rng.between(5, 400) } else { self.rng.between(1, 4) };
        let road = (life, request.scope().cloned());
        // What one sender asks of one place arrives in the order in which it was sent.
        let arrives = (self.now + delay).max(self.roads.get(&road).copied().unwrap_or(0));
        self.roads.insert(road, arrives);
        let mut delay = arrives - self.now;
        let mut lost = self.draw_loss(&request);
        match mishap.filter(|_| !self.quiet) {
            None => {}
            Some(Mishap::CrashBefore) => {
                self.after(0, Event::Crash(life));
                return call;
            }
            Some(Mishap::CrashAfter) => lost = Lost::Sender,
            Some(Mishap::CrashLate) => {
                self.after(0, Event::Crash(life));
                delay += self.rng.between(0, 12_000);
            }
            Some(Mishap::Pause(ms)) => {
                self.lives[life].paused_until = self.now + ms;
                self.after(ms, Event::Wake(life));
                // Stopped before it was sent, or after: as if it travelled that long.
                if self.rng.chance(500) {
                    delay += ms;
                }
            }
        }
        self.after(delay, Event::Deliver { call, life, request: Box::new(request), lost });
        call
    }

    fn draw_loss(&mut self, request: &Request) -> Lost {
        // Where it hurts most, more goes wrong.
        let (usual, deadly) = match request {
            Request::Kill(..) => (300, 20),
            Request::Publish(..) => (15, 40),
            Request::Job(..) => (15, 15),
            Request::Append(_) | Request::Start(..) | Request::Stop(..) => (15, 3),
            _ => (10, 0),
        };
        if self.quiet || !self.rng.chance(usual + deadly) {
            return Lost::Nothing;
        }
        if self.rng.below(usual + deadly) < deadly {
            return Lost::Sender;
        }
        *self.rng.pick(&[Lost::Request, Lost::Answer, Lost::Twice])
    }

    /// A message arrives: it is done, or lost.
    pub fn deliver(&mut self, call: u64, life: usize, request: &Request, lost: Lost) {
        let (reply, delay) = match lost {
            Lost::Request => (request.lost("the request was lost"), 0),
            _ => self.execute(request, life),
        };
        if !matches!(request, Request::Beat(_)) {
            let lost = if lost == Lost::Nothing { String::new() } else { format!(" ({lost:?} lost)") };
            self.say(|| format!("{life} {request}{lost} = {reply}"));
        }
        let (reply, delay) = match lost {
            Lost::Answer => (request.lost("the answer was lost"), delay),
            Lost::Twice => {
                let _ = self.execute(request, life);
                (reply, delay)
            }
            Lost::Sender => {
                self.after(0, Event::Crash(life));
                (reply, delay + 1)
            }
            Lost::Nothing | Lost::Request => (reply, delay),
        };
        self.answers.insert(call, reply);
        let way = self.rng.between(1, 3);
        self.after(delay + way, Event::Answer(call));
    }

    /// The answer to a message, once it has arrived.
    pub fn answer(&mut self, call: u64) -> Option<Reply> {
        if self.calls.contains_key(&call) { None } else { self.answers.remove(&call) }
    }

    /// An answer arrives; the task that waits for it, if it still does.
    pub fn answered(&mut self, call: u64) {
        let Some(&(life, task)) = self.calls.get(&call) else { return };
        if !self.lives[life].alive {
            self.calls.remove(&call);
            self.answers.remove(&call);
        } else if self.lives[life].paused_until > self.now {
            self.lives[life].held.push(Event::Answer(call));
        } else {
            self.calls.remove(&call);
            self.due.push(task);
        }
    }

    /// Lets the task that is polled now wait so long, or until something changes in `scope`; a token to ask by.
    pub fn wait(&mut self, delay: Time, scope: Option<&Scope>) -> u64 {
        self.count += 1;
        let token = self.count;
        self.tokens.insert(token, false);
        self.after(delay, Event::Timer(self.task, token));
        if let Some(scope) = scope {
            self.waiting.entry(scope.clone()).or_default().push((self.task, token));
        }
        token
    }

    /// Whether a wait is over.
    pub fn is_over(&mut self, token: u64) -> bool {
        let over = self.tokens.get(&token).copied().unwrap_or(true);
        if over {
            self.tokens.remove(&token);
        }
        over
    }

    /// A wait of an engine is over.
    pub fn timer(&mut self, life: usize, task: usize, token: u64) {
        if !self.lives[life].alive {
            self.tokens.remove(&token);
        } else if self.lives[life].paused_until > self.now {
            self.lives[life].held.push(Event::Timer(task, token));
        } else if let Some(over) = self.tokens.get_mut(&token)
            && !*over
        {
            *over = true;
            self.due.push(task);
        }
    }

    /// Something changed in a scope: whoever waits for that looks again.
    pub fn changed(&mut self, scope: &Scope) {
        if let Some(place) = self.places.get_mut(scope) {
            place.version += 1;
        }
        for (task, token) in self.waiting.remove(scope).unwrap_or_default() {
            if self.tokens.get(&token) == Some(&false) {
                self.after(0, Event::Timer(task, token));
            }
        }
    }

    /// An engine is killed: what it asked for may still arrive, or not.
    pub fn crash(&mut self, life: usize) {
        if !self.lives[life].alive {
            return;
        }
        self.say(|| format!("{life} is killed"));
        self.lives[life].alive = false;
        let sent: Vec<(Time, u64)> = self
            .queue
            .iter()
            .filter(|(_, event)| matches!(event, Event::Deliver { life: of, .. } if *of == life))
            .map(|(at, _)| *at)
            .collect();
        for at in sent {
            if self.rng.chance(500) {
                self.queue.remove(&at);
            }
        }
    }

    /// An engine that was stopped goes on, and finds what has come meanwhile.
    pub fn wake(&mut self, life: usize) {
        if self.lives[life].alive && self.lives[life].paused_until <= self.now {
            for event in std::mem::take(&mut self.lives[life].held) {
                self.after(0, event);
            }
        }
    }

    /// A new engine with this fate.
    pub fn born(&mut self, skew: i64, fate: Vec<(u64, Mishap)>) -> usize {
        let life = self.lives.len();
        let owner = OwnerId::new(format!("engine-{life}")).unwrap_or_else(|e| unreachable!("{e}"));
        self.lives.push(Life { owner, alive: true, paused_until: 0, skew, calls: 0, fate, held: Vec::new() });
        life
    }
}
