//! The use cases: what the store does, without a word of HTTP, gRPC or SQL.
//!
//! Each takes who asks ([`Ctx`]) and plain values, checks both, and does its work in at most one transaction together with
//! the events that others are to hear of.

mod access;
mod apply;
mod auth;
mod batch;
mod body;
mod canvas;
mod channels;
mod connections;
mod events;
mod leases;
mod nodes;
mod outcomes;
mod paging;
mod passwords;
mod projects;
mod reconcile;
mod relayed;
mod system;
mod task_input;
mod task_view;
mod tasks;
mod throttle;
mod transitions;
mod users;
mod watch;

use std::{sync::Arc, time::Duration};

pub(crate) use auth::{Origin, Session};
pub(crate) use batch::BatchOutcome;
pub(crate) use canvas::Canvas;
pub(crate) use connections::Connection;
pub(crate) use leases::Lease;
pub(crate) use nodes::{Node, NodeVersion, Position};
pub(crate) use outcomes::{Failure, Usage};
pub(crate) use projects::Project;
pub(crate) use relayed::queue_relayed;
use sker_api::Ctx;
use sker_auth::TokenKeys;
use sker_cache::Cache;
use sker_error::{Code, Error, Result};
use sker_traffic::Backoff;
use sker_types::Uuid;
pub(crate) use system::Stats;
pub(crate) use task_view::Task;
pub(crate) use throttle::Limits as SignInLimits;
pub(crate) use users::{FirstAdmin, User};

use self::{paging::Cursors, passwords::Passwords, throttle::Throttle};
use crate::store::Store;

/// What the use cases can be told to do differently.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub access_token_ttl: Duration,
    pub refresh_token_ttl: Duration,
    pub password_hashers: usize,
    pub sign_in: SignInLimits,
    pub task_timeout_ms: i64,
    pub task_attempts: i32,
    pub retry: Backoff,
    /// Leases a task may lose before it is given up.
    pub lost_leases: i32,
    /// How often leases and what is due are looked at.
    pub reconcile_interval: Duration,
    /// The first wait before a wake-up that nobody followed is sent again; it doubles each time.
    pub wake_again: Duration,
}

/// The use cases with all they need.
pub(crate) struct App {
    store: Store,
    keys: Arc<TokenKeys>,
    passwords: Passwords,
    throttle: Throttle,
    cursors: Cursors,
    settings: Settings,
}

impl App {
    /// `secret` signs the cursors of lists; `cache` is shared by all replicas.
    pub(crate) fn new(
        store: Store,
        keys: Arc<TokenKeys>,
        secret: &[u8],
        cache: Arc<dyn Cache>,
        settings: Settings,
    ) -> Result<Self> {
        Ok(App {
            store,
            keys,
            passwords: Passwords::new(settings.password_hashers)?,
            throttle: Throttle::new(settings.sign_in, cache, secret),
            cursors: Cursors::new(secret)?,
            settings,
        })
    }
}

/// The versions of a resource that a write may meet (`If-Match`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Any.
    Any,
    /// One of these.
    OneOf(Vec<i64>),
}

impl Expected {
    /// `precondition_failed` when the resource is in another version.
    fn check(&self, version: i64) -> Result<()> {
        match self {
            Expected::OneOf(versions) if !versions.contains(&version) => {
                Err(Error::new(Code::PreconditionFailed, "the resource has changed since it was read; read it again"))
            }
            _ => Ok(()),
        }
    }
}

/// The user who asks; services and nobody may not do what is done in a user's name.
fn acting_user(ctx: &Ctx) -> Result<Uuid> {
    ctx.principal.user_id().ok_or_else(|| Error::forbidden("only users may do this"))
}

/// Refuses everybody but services of the platform.
fn require_service(ctx: &Ctx) -> Result<()> {
    if ctx.principal.is_service() { Ok(()) } else { Err(Error::forbidden("only services of the platform may do this")) }
}
