//! The client's commands, a file per group.

mod artifact;
mod audit;
mod carry;
mod change;
mod deploy;
mod diff;
mod disk;
mod kubernetes;
mod look;
mod plan;
mod promote;
mod service;
mod setup;
mod show;
mod usage;

use crate::args::{Artifact, Cli, Command, Common, Format, Output};
use crate::fail::Failure;
use crate::state::State;
use crate::{output, wake};
use clap::Parser;
use deployctl_api::Query;
use deployctl_api::client::Client;
use deployctl_core::ask::{Refused, RefusedKind, Selection};
use deployctl_core::id::DeploymentId;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What every command works with.
pub(crate) struct Context {
    common: Common,
    state: State,
    stage: RefCell<Stage>,
}

/// How far a command came, for whoever interrupts it.
#[derive(Clone)]
pub(crate) enum Stage {
    /// Nothing was asked of the engine that changes anything.
    Before,
    /// Something was asked, and the answer is not here yet.
    Asked,
    /// It was accepted and is followed.
    Follows(DeploymentId),
}

impl Context {
    pub(crate) fn output(&self) -> Output {
        match self.common.output {
            Format::Human => Output::Human,
            Format::Json | Format::Sarif => Output::Json,
        }
    }

    /// Whether `--output sarif` was given.
    pub(crate) fn sarif(&self) -> bool {
        self.common.output == Format::Sarif
    }

    /// `--project`, if it was given.
    pub(crate) fn project(&self) -> Option<&Path> {
        self.common.project.as_deref()
    }

    /// Notes how far the command came.
    pub(crate) fn stands(&self, stage: Stage) {
        *self.stage.borrow_mut() = stage;
    }

    /// The folder of the state, or of what runs here because of it.
    pub(crate) fn state(&self) -> &Path {
        &self.state.folder
    }

    /// Whether the state is in a cluster.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.state.cluster.is_some()
    }

    /// A connection to the engine, started if need be.
    pub(crate) async fn engine(&self) -> Result<Client, Failure> {
        wake::engine(&self.state).await
    }

    /// A connection to whatever engine is there, of this build if none is.
    pub(crate) async fn any_engine(&self) -> Result<Client, Failure> {
        wake::any_engine(&self.state).await
    }

    /// The scopes of a place in this project, or in all where no project can be read.
    pub(crate) fn query(&self, place: &crate::args::Place) -> Result<Query, Failure> {
        Ok(Query {
            project: crate::project::name(self.project())?,
            environment: place.env.clone(),
            region: place.region.clone(),
            app: place.app.clone(),
            ..Query::default()
        })
    }

    /// The scopes of a place in this project, or in all where no project can be read.
    pub(crate) fn selection(&self, place: &crate::args::Where) -> Result<Selection, Failure> {
        Ok(Selection {
            project: crate::project::name(self.project())?,
            environment: Some(place.env.clone()),
            region: place.region.clone(),
            app: place.apps.app.clone(),
        })
    }
}

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::exit(&error),
    };
    deployctl_sys::crash::arm("client");
    let colour = output::colour_err();
    let done = State::locate(cli.common.state.as_deref(), cli.common.project.as_deref()).and_then(|state| {
        let context = Context { common: cli.common, state, stage: RefCell::new(Stage::Before) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::usage("internal", format!("no runtime: {e}")))?;
        let done = runtime.block_on(interruptible(&context, cli.command));
        runtime.block_on(wake::farewell(&context.state));
        // Who interrupts a copy does not wait for its end: nothing has a name yet that is not whole.
        runtime.shutdown_background();
        done
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(colour);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs a command until its end or Ctrl-C, which stops nothing that was accepted and says how to go on.
async fn interruptible(context: &Context, command: Option<Command>) -> Result<(), Failure> {
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return run(context, command).await };
    tokio::select! {
        done = run(context, command) => return done,
        _ = interrupt.recv() => {}
    }
    if std::io::stderr().is_terminal() {
        output::err("");
    }
    output::err(&match &*context.stage.borrow() {
        Stage::Before => "interrupted: nothing was changed by this command".to_owned(),
        Stage::Asked => {
            "interrupted before the engine answered; next: `deployctl status` shows whether it began".into()
        }
        Stage::Follows(id) => format!(
            "interrupted: deployment {id} goes on by itself; next: `deployctl attach {id}` follows it again, \
             `deployctl cancel {id}` turns it back"
        ),
    });
    Err(Failure::Said(130))
}

async fn run(context: &Context, command: Option<Command>) -> Result<(), Failure> {
    if context.output() == Output::Json && command.as_ref().is_some_and(Command::json_log) {
        return Err(Failure::usage("bad-usage", "--json-log and --output json exclude each other"));
    }
    let checks = matches!(&command, Some(Command::Artifact { what: Artifact::Check(_) }));
    if context.sarif() && !checks {
        return Err(Failure::usage("bad-usage", "--output sarif is for `artifact check` alone"));
    }
    match command {
        None => look::overview(context).await,
        Some(Command::Init(args)) => setup::init(context, &args),
        Some(Command::Validate(args)) => setup::validate(context, &args),
        Some(Command::Schema) => setup::schema(),
        Some(Command::Completions { shell }) => setup::completions(shell),
        Some(Command::Plan(args)) => plan::plan(context, &args).await,
        Some(Command::Deploy(args)) => deploy::deploy(context, &args).await,
        Some(Command::Rollback(args)) => change::rollback(context, &args).await,
        Some(Command::Promote(args)) => promote::promote(context, &args).await,
        Some(Command::Status(args)) => look::status(context, &args).await,
        Some(Command::Health(place)) => look::health(context, &place).await,
        Some(Command::List(place)) => look::list(context, &place).await,
        Some(Command::History(args)) => look::history(context, &args).await,
        Some(Command::Diff(args)) => diff::diff(context, &args).await,
        Some(Command::Show(id)) => show::show(context, &id).await,
        Some(Command::Attach(args)) => show::attach(context, &args).await,
        Some(Command::Cancel(args)) => change::cancel(context, &args).await,
        Some(Command::Pause(args)) => change::pause(context, &args).await,
        Some(Command::Resume(args)) => change::resume(context, &args).await,
        Some(Command::Restart(args)) => change::restart(context, &args).await,
        Some(Command::Down(args)) => change::down(context, &args).await,
        Some(Command::Maintenance(args)) => change::maintenance(context, &args).await,
        Some(Command::Disk) => disk::disk(context).await,
        Some(Command::Logs(args)) => look::logs(context, &args).await,
        Some(Command::Audit(args)) => audit::audit(context, &args).await,
        Some(Command::Artifact { what }) => artifact::artifact(context, what).await,
        Some(Command::Kubernetes { what }) => kubernetes::kubernetes(context, &what).await,
        Some(Command::Service { what }) => service::service(context, &what),
        Some(Command::Approve(_) | Command::Reject(_)) => Err(Refused::new(
            RefusedKind::Denied,
            "no-server",
            "approvals need a server, and this engine serves one machine only",
        )
        .into()),
        Some(Command::Serve) => Err(Failure::usage("not-built", "`serve` is not built yet; nothing was started")),
    }
}
