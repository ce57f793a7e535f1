//! Folding events to a state. Total: an event that does not fit changes nothing.

use super::{Back, Deployment, Event, JobRun, LegState};

/// The state after one more event. The first event must be `Opened`; others without it give no state.
pub fn evolve(state: Option<Deployment>, event: &Event) -> Option<Deployment> {
    let Some(mut state) = state else { return open(event) };
    match event {
        Event::Opened { .. } => {}
        Event::LegStarted { leg, binding } => {
            if let Some(leg) = state.legs.get_mut(*leg) {
                leg.binding = Some(binding.clone());
            }
        }
        Event::JobStarted { leg, gate, job } => {
            if let Some(leg) = state.legs.get_mut(*leg) {
                leg.jobs.push(JobRun { gate: gate.clone(), job: job.clone(), ended: None });
            }
        }
        Event::JobEnded { leg, gate, failure, .. } => {
            let run = state.legs.get_mut(*leg).and_then(|l| l.jobs.iter_mut().find(|run| run.gate == *gate));
            if let Some(run) = run {
                run.ended = Some(failure.clone().map_or(Ok(()), Err));
            }
        }
        Event::HoldStarted { leg, until } => {
            if let Some(leg) = state.legs.get_mut(*leg) {
                leg.hold_until = Some(*until);
            }
        }
        Event::Reached { leg, waypoint } => {
            if let Some(leg) = state.legs.get_mut(*leg) {
                leg.reached = waypoint + 1;
                leg.hold_until = None;
            }
        }
        Event::TurnedBack { reason, cancelled, paths, deadline } => {
            state.back = Some(Back { reason: reason.clone(), cancelled: *cancelled });
            state.deadline = *deadline;
            state.paused = false;
            state.order = paths.iter().map(|(leg, _)| *leg).collect();
            for (leg, path) in paths {
                if let Some(leg) = state.legs.get_mut(*leg) {
                    leg.path.clone_from(path);
                    leg.reached = 0;
                    leg.hold_until = None;
                }
            }
        }
        Event::Paused => state.paused = true,
        Event::Resumed => state.paused = false,
        Event::Closed(closed) => state.closed = Some(closed.clone()),
    }
    Some(state)
}

fn open(event: &Event) -> Option<Deployment> {
    let Event::Opened { plan, reason, deadline } = event else { return None };
    let legs = plan.legs.iter().map(|leg| LegState {
        path: leg.path.clone(),
        reached: 0,
        binding: None,
        hold_until: None,
        jobs: Vec::new(),
    });
    Some(Deployment {
        plan: plan.clone(),
        reason: reason.clone(),
        deadline: *deadline,
        order: (0..plan.legs.len()).collect(),
        legs: legs.collect(),
        back: None,
        paused: false,
        closed: None,
    })
}
