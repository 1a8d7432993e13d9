use std::{
    pin::Pin,
    task::{Context, Poll},
};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions, TransactionTrait, Value,
};
use tokio::runtime::Handle;

use crate::error::is_broken;

/// A pool as queries see it: it takes what SeaORM's own connection takes.
///
/// It may be used on any thread: a connection that is opened on the way belongs to the runtime that the database was
/// opened on, never to that of an actix worker, with which it would die.
#[derive(Clone, Debug)]
pub struct Access {
    inner: DatabaseConnection,
    home: Home,
    /// How many connections may turn out to be broken in a row.
    size: u32,
    /// Whether queries only read, so that they may be tried again.
    reads: bool,
}

/// A transaction. It takes what SeaORM's own takes; dropping it rolls back.
#[derive(Debug)]
pub struct Transaction {
    /// `None` once it has ended.
    inner: Option<DatabaseTransaction>,
    backend: DbBackend,
    home: Home,
}

/// The runtime that the database was opened on.
#[derive(Clone, Debug)]
struct Home(Handle);

impl Home {
    /// Runs a call with that runtime at hand, on whatever thread we are.
    fn run<F: Future>(&self, call: F) -> AtHome<F> {
        AtHome { call: Some(Box::pin(call)), home: self.0.clone() }
    }
}

/// A call that is polled at home, and dropped there when its caller gives up: then its connection goes back to the pool by
/// a task, which would end with a worker that has ended.
struct AtHome<F> {
    /// `None` once it was dropped.
    call: Option<Pin<Box<F>>>,
    home: Handle,
}

impl<F: Future> Future for AtHome<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let AtHome { call, home } = self.get_mut();
        let _home = home.enter();
        call.as_mut().map_or(Poll::Pending, |call| call.as_mut().poll(context))
    }
}

impl<F> Drop for AtHome<F> {
    fn drop(&mut self) {
        let _home = self.home.enter();
        drop(self.call.take());
    }
}

impl Access {
    pub(crate) fn writer(inner: DatabaseConnection, size: u32) -> Self {
        Access { inner, home: Home(Handle::current()), size, reads: false }
    }

    pub(crate) fn reader(inner: DatabaseConnection, size: u32) -> Self {
        Access { reads: true, ..Self::writer(inner, size) }
    }

    pub(crate) fn inner(&self) -> &DatabaseConnection {
        &self.inner
    }

    /// One that could not even begin has changed nothing, so this is tried again on another connection.
    pub(crate) async fn begin(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        let inner = self.tried(self.size, || self.inner.begin_with_options(options)).await?;
        Ok(Transaction { inner: Some(inner), backend: self.get_database_backend(), home: self.home.clone() })
    }

    /// Tries again on another connection when the one that it got was broken. The pool throws each of them away, so that
    /// after a restart of the server at most as many fail as it has.
    async fn tried<T, F, Fut>(&self, retries: u32, call: F) -> Result<T, DbErr>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, DbErr>>,
    {
        for _ in 0..retries {
            match self.home.run(call()).await {
                Err(error) if is_broken(&error) => tracing::debug!(%error, "a connection was broken; another is tried"),
                done => return done,
            }
        }
        self.home.run(call()).await
    }

    fn retries(&self) -> u32 {
        if self.reads { self.size } else { 0 }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Access {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.home.run(self.inner.execute_raw(portable(statement))).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.home.run(self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let statement = portable(statement);
        self.tried(self.retries(), || self.inner.query_one_raw(statement.clone())).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let statement = portable(statement);
        self.tried(self.retries(), || self.inner.query_all_raw(statement.clone())).await
    }
}

impl Transaction {
    /// Keeps what was done.
    ///
    /// # Errors
    /// When the connection breaks meanwhile nobody knows whether it was kept.
    pub async fn commit(mut self) -> Result<(), DbErr> {
        match self.inner.take() {
            Some(inner) => self.home.run(inner.commit()).await,
            None => Err(over()),
        }
    }

    /// Undoes what was done.
    pub async fn rollback(mut self) -> Result<(), DbErr> {
        match self.inner.take() {
            Some(inner) => self.home.run(inner.rollback()).await,
            None => Err(over()),
        }
    }

    /// For migrations, which take SeaORM's own type.
    pub(crate) fn inner(&self) -> Result<&DatabaseTransaction, DbErr> {
        self.inner.as_ref().ok_or_else(over)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // The connection goes back to its pool by a task, which may open another one in its place.
        let _home = self.home.0.enter();
        drop(self.inner.take());
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.inner()?.execute_raw(portable(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.inner()?.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.inner()?.query_one_raw(portable(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.inner()?.query_all_raw(portable(statement)).await
    }
}

/// SeaORM binds our times as TIMESTAMP, and MariaDB makes NULL of such a value when it is before 1970 or after 2038, even for
/// a column of `datetime`. Bound as DATETIME it stays what it is; sessions are in UTC.
fn portable(mut statement: Statement) -> Statement {
    if statement.db_backend == DbBackend::MySql
        && let Some(values) = &mut statement.values
    {
        for value in &mut values.0 {
            if let Value::ChronoDateTimeUtc(time) = value {
                *value = Value::ChronoDateTime(time.map(|time| time.naive_utc()));
            }
        }
    }
    statement
}

fn over() -> DbErr {
    DbErr::Custom("the transaction has ended".to_owned())
}
