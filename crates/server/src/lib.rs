//! The engine's HTTP handlers: convert, call, convert back. Decides nothing.
//!
//! Who may call is the socket's business here: it lies in a folder of mode 0700.

mod answer;
mod streams;

use answer::{Answered, Failure};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query as UrlQuery, State};
use axum::routing::{get, post};
use deployctl_api::{Found, Hello, Query, Switched, VersionKnown, paths};
use deployctl_core::ask::{
    Answer, Deploy, Maintenance, Refused, RefusedKind, Rollback, SavedPlan, Selection, Simple, Steer,
};
use deployctl_core::id::{DeploymentId, Scope};
use deployctl_core::journal::{Entry, Verified};
use deployctl_core::view;
use deployctl_engine::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A specification and its secrets are small; nothing larger is taken in.
const BODY_BYTES_MAX: usize = 16 << 20;

/// History lists so many unless told otherwise.
const HISTORY_LIMIT: usize = 1_000;

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// The engine.
    pub engine: Arc<Engine>,
    /// Who we are.
    pub hello: Hello,
    /// Told when another build wants to take over.
    pub handover: Arc<Notify>,
    /// Counts requests, so that an idle engine is known from a busy one.
    pub requests: Arc<AtomicU64>,
}

/// Serves the engine on a listening socket until `stop` is told.
pub async fn serve(listener: tokio::net::UnixListener, shared: Shared, stop: Arc<Notify>) -> std::io::Result<()> {
    axum::serve(listener, router(shared)).with_graceful_shutdown(async move { stop.notified().await }).await
}

fn router(shared: Shared) -> Router {
    let (requests, engine) = (shared.requests.clone(), shared.engine.clone());
    Router::new()
        .route(paths::PLAN, post(plan))
        .route(paths::DEPLOY, post(deploy))
        .route(paths::ROLLBACK, post(rollback))
        .route(paths::RESTART, post(restart))
        .route(paths::DOWN, post(down))
        .route(paths::MAINTENANCE, post(maintenance))
        .route(paths::STATUS, get(status))
        .route(paths::HEALTH, get(health))
        .route(paths::HISTORY, get(history))
        .route(paths::RELEASE, get(release))
        .route(paths::VERSION, get(version))
        .route(paths::LOGS, get(streams::logs))
        .route(paths::AUDIT, get(audit))
        .route(paths::VERIFY, get(verify))
        .route(paths::DEPLOYMENT, get(deployment))
        .route(paths::WATCH, get(streams::watch))
        .route(paths::ENTRIES, get(entries))
        .route(paths::STEER, post(steer))
        .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            let engine = engine.clone();
            async move {
                engine.ask_anew().await;
                request
            }
        }))
        // Whether an engine is there, and which, must not wait for a cluster.
        .route(paths::HELLO, get(hello))
        .route(paths::HANDOVER, post(handover))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            requests.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }))
        .with_state(shared)
}

type Asked<T> = Answered<T>;

async fn hello(State(shared): State<Shared>) -> Asked<Hello> {
    Asked::of(Ok(shared.hello))
}

async fn handover(State(shared): State<Shared>) -> Asked<Hello> {
    shared.handover.notify_one();
    Asked::of(Ok(shared.hello))
}

async fn plan(State(shared): State<Shared>, ask: answer::Body<Deploy>) -> Asked<SavedPlan> {
    Asked::of(shared.engine.plan(&ask.0).await)
}

async fn deploy(State(shared): State<Shared>, ask: answer::Body<Deploy>) -> Asked<Answer> {
    // A client that goes away meanwhile must not leave a deployment half-opened.
    Asked::of(finish(async move { shared.engine.deploy(&ask.0).await }).await)
}

async fn rollback(State(shared): State<Shared>, ask: answer::Body<Rollback>) -> Asked<Answer> {
    Asked::of(finish(async move { shared.engine.rollback(&ask.0).await }).await)
}

async fn restart(State(shared): State<Shared>, ask: answer::Body<Simple>) -> Asked<Answer> {
    Asked::of(finish(async move { shared.engine.restart(&ask.0).await }).await)
}

async fn down(State(shared): State<Shared>, ask: answer::Body<Simple>) -> Asked<Answer> {
    Asked::of(finish(async move { shared.engine.down(&ask.0).await }).await)
}

async fn maintenance(State(shared): State<Shared>, ask: answer::Body<Maintenance>) -> Asked<Switched> {
    Asked::of(finish(async move { Ok(Switched { apps: shared.engine.maintenance(&ask.0).await? }) }).await)
}

async fn steer(State(shared): State<Shared>, Path(id): Path<String>, ask: answer::Body<Steer>) -> Asked<DeploymentId> {
    Asked::of(
        finish(async move {
            let id = shared.engine.deployment_id(&id).await?;
            shared.engine.steer(&id, ask.0.command, &ask.0.by).await.map(|()| id)
        })
        .await,
    )
}

async fn status(State(shared): State<Shared>, query: UrlQuery<Query>) -> Asked<Vec<view::Status>> {
    Asked::of(shared.engine.status(&selection(&query)).await)
}

async fn health(State(shared): State<Shared>, query: UrlQuery<Query>) -> Asked<Vec<view::Status>> {
    Asked::of(shared.engine.health(&selection(&query)).await)
}

async fn history(State(shared): State<Shared>, query: UrlQuery<Query>) -> Asked<Vec<view::History>> {
    Asked::of(shared.engine.history(&selection(&query), query.limit.unwrap_or(HISTORY_LIMIT)).await)
}

async fn release(State(shared): State<Shared>, query: UrlQuery<Query>) -> Asked<Found> {
    let found = shared.engine.find(&selection(&query), query.name.as_deref().unwrap_or_default()).await;
    Asked::of(found.map(|found| Found { id: found.id, release: found.release, spec: found.spec }))
}

async fn version(State(shared): State<Shared>, UrlQuery(query): UrlQuery<Query>) -> Asked<VersionKnown> {
    let (Some(project), Some(environment), Some(app), Some(version)) =
        (query.project, query.environment, query.app, query.version)
    else {
        let message = "project, environment, app and version are needed";
        return Asked::of(Err(Refused::new(RefusedKind::Usage, "bad-request", message)));
    };
    let region = query.region.unwrap_or_else(deployctl_core::id::RegionName::default_region);
    let scope = Scope { project, environment, region, app };
    Asked::of(shared.engine.version(&scope, &version).await.map(|sha256| VersionKnown { sha256 }))
}

async fn audit(State(shared): State<Shared>, query: UrlQuery<Query>) -> Asked<Vec<Entry>> {
    Asked::of(shared.engine.audit(query.limit.unwrap_or(HISTORY_LIMIT)).await)
}

async fn verify(State(shared): State<Shared>, query: UrlQuery<Query>) -> Asked<Verified> {
    Asked::of(shared.engine.verify(query.head.as_ref()).await)
}

async fn deployment(State(shared): State<Shared>, Path(id): Path<String>) -> Asked<view::Deployment> {
    Asked::of(
        async {
            let id = shared.engine.deployment_id(&id).await?;
            Ok(shared.engine.watch(&id).await?.borrow().clone())
        }
        .await,
    )
}

async fn entries(State(shared): State<Shared>, Path(id): Path<String>) -> Asked<Vec<Entry>> {
    Asked::of(
        async {
            let id = shared.engine.deployment_id(&id).await?;
            shared.engine.entries(&id).await
        }
        .await,
    )
}

fn selection(query: &Query) -> Selection {
    Selection {
        project: query.project.clone(),
        environment: query.environment.clone(),
        region: query.region.clone(),
        app: query.app.clone(),
    }
}

/// Runs to its end even if the request is dropped.
async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(Refused::new(RefusedKind::Internal, "internal", format!("the engine failed while it answered: {error}")))
    })
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::new(RefusedKind::Usage, "bad-request", failure.0)
    }
}
