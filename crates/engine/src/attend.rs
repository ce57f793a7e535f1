//! A state that several engines can reach: one has the seat and changes things, the others look on, and take over when
//! who has it is dead.
//!
//! The seat is taken by need: for a command that changes something, and for as long as a deployment is open.

use crate::Engine;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::deployment::Deployment;
use deployctl_core::deployment::step::{Evidence, Outcome, step};
use deployctl_core::id::DeploymentId;
use deployctl_core::journal::Batch;
use deployctl_core::lease::{Life, Seat, Sits};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Who has the seat says so often that it lives, and who has not looks so often.
const BEAT: Duration = Duration::from_secs(1);
/// A command that waits for the seat looks this often.
const LOOK: Duration = Duration::from_millis(300);

/// Who lives and has nothing under way is waited for so many beats.
const PATIENCE: u32 = 15;

/// Whether this engine may change the state.
#[derive(Default)]
pub(crate) struct Attendance {
    /// Held while that changes.
    changing: tokio::sync::Mutex<()>,
    seated: AtomicBool,
    /// How many commands change something now.
    busy: AtomicUsize,
}

/// The seat is kept as long as this is.
pub(crate) struct Sitting(Arc<Engine>);

impl Drop for Sitting {
    fn drop(&mut self) {
        self.0.attendance.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine {
    /// Whether this engine may change the state now.
    pub(crate) fn is_seated(&self) -> bool {
        self.ports.seat.is_none() || self.attendance.seated.load(Ordering::SeqCst)
    }

    /// Begins to look on, and to take over. Instead of [`Engine::recover`], where others reach the state too.
    pub async fn attend(self: &Arc<Self>) -> Result<(), Refused> {
        self.ledger.refresh().await?;
        self.spawn_collector();
        let engine = self.clone();
        tokio::spawn(async move {
            let Some(seat) = engine.ports.seat.clone() else { return };
            loop {
                let changing = engine.attendance.changing.lock().await;
                engine.round(&*seat).await;
                drop(changing);
                tokio::time::sleep(BEAT).await;
            }
        });
        Ok(())
    }

    /// Leaves the seat to others, at the end.
    pub async fn retire(&self) {
        let _changing = self.attendance.changing.lock().await;
        if let Some(seat) = &self.ports.seat {
            self.attendance.seated.store(false, Ordering::SeqCst);
            // Who cannot say so is found dead by the others.
            let _ = seat.leave().await;
        }
    }

    /// Takes the seat, or keeps it. Waits until it is known whether who has it lives; refused if so.
    pub(crate) async fn sit(self: &Arc<Self>) -> Result<Sitting, Refused> {
        self.attendance.busy.fetch_add(1, Ordering::SeqCst);
        let sitting = Sitting(self.clone());
        let Some(seat) = &self.ports.seat else { return Ok(sitting) };
        let _changing = self.attendance.changing.lock().await;
        if self.is_seated() {
            return Ok(sitting);
        }
        let mut alive = 0_u32;
        loop {
            match seat.take().await? {
                Sits::Me => break,
                // Seen for the first time, everybody seems to be.
                Sits::Other { life: Life::Alive, .. } if alive == 0 => alive = 1,
                Sits::Other { who, life: Life::Alive } => {
                    alive += 1;
                    self.ledger.renew().await?;
                    let open = self.ledger.open().into_iter().next();
                    // Who has nothing under way leaves in a moment.
                    if open.is_some() || alive > PATIENCE {
                        return Err(taken(&who, open));
                    }
                }
                Sits::Other { .. } | Sits::Nobody => {}
            }
            tokio::time::sleep(LOOK).await;
        }
        self.seated(&**seat).await?;
        Ok(sitting)
    }

    /// Goes on with what is open, now that the seat is ours. If that cannot be, the seat is left: who has it does the work.
    async fn seated(self: &Arc<Self>, seat: &dyn Seat) -> Result<(), Refused> {
        self.attendance.seated.store(true, Ordering::SeqCst);
        let done = async {
            // An append that writes nothing takes in all that was written before, whatever reads make do with.
            self.ports.journal.append(Batch::default()).await?;
            self.ledger.renew().await?;
            self.take_up().await
        };
        let done = done.await;
        match done {
            // Those who had it before may have been too short here for it.
            Ok(()) => self.garbage.notify_one(),
            Err(_) => {
                self.attendance.seated.store(false, Ordering::SeqCst);
                let _ = seat.leave().await;
            }
        }
        done
    }

    /// Says that it lives, or leaves the seat if nothing is to be done; or looks on. Trouble is the next round's business.
    async fn round(self: &Arc<Self>, seat: &dyn Seat) {
        if self.is_seated() {
            let needed = self.attendance.busy.load(Ordering::SeqCst) > 0 || !self.ledger.open().is_empty();
            match needed {
                true => {
                    let lost = matches!(seat.beat().await, Ok(Sits::Other { .. } | Sits::Nobody));
                    self.attendance.seated.store(!lost, Ordering::SeqCst);
                }
                false if seat.leave().await.is_ok() => self.attendance.seated.store(false, Ordering::SeqCst),
                false => {}
            }
            return;
        }
        if self.ledger.renew().await.is_err() {
            return;
        }
        let open = self.ledger.open();
        if !open.is_empty() && seat.take().await == Ok(Sits::Me) {
            let _ = self.seated(seat).await;
            return;
        }
        self.show_others(&open).await;
    }

    /// What others do, for those who watch it here.
    async fn show_others(&self, open: &[DeploymentId]) {
        let watched: Vec<DeploymentId> = crate::lock(&self.live).keys().cloned().collect();
        for id in watched {
            let Ok(fold) = self.ledger.deployment(&id).await else { continue };
            let Some(state) = &fold.state else { continue };
            match &state.closed {
                Some(closed) => self.finish_view(state, closed, self.ports.clock.now()).await,
                None if open.contains(&id) => self.show_other(state).await,
                None => {}
            }
        }
    }
}

impl Engine {
    /// How a deployment stands that another one walks, and what it waits for, as far as that is seen by looking.
    async fn show_other(&self, state: &Deployment) {
        let (id, mut evidence) = (&state.plan.id, Evidence { settled: true, ..Evidence::default() });
        let leg = state.order.iter().copied().find(|leg| state.legs[*leg].waypoint().is_some());
        let Some(leg) = leg.filter(|leg| state.legs[*leg].binding.is_some()) else {
            return self.show(state, &evidence).await;
        };
        let now = self.ports.clock.now();
        match self.ports.driver.observe(&state.plan.legs[leg].scope).await {
            Ok(observed) => evidence.see(observed, now),
            Err(fault) => {
                self.show(state, &evidence).await;
                return self.note(id, &fault.to_string());
            }
        }
        self.show(state, &evidence).await;
        if let Outcome::Wait { why, .. } = step(state, leg, &evidence, now) {
            self.note(id, &why);
        }
    }
}

fn taken(who: &str, open: Option<DeploymentId>) -> Refused {
    let message = match &open {
        Some(id) => format!("{who} changes something in this state: deployment {id} is under way there"),
        None => format!("{who} changes something in this state"),
    };
    let hint = "nothing was changed; wait for it with --wait 10m, or look at `deployctl status`";
    Refused { blocked_by: open, ..Refused::new(RefusedKind::Conflict, "state-held", message).hint(hint) }
}
