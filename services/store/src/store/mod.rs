//! Everything that speaks SQL. The use cases see row types, [`Store`], [`Tx`] and the functions of these modules.

pub(crate) mod connections;
pub(crate) mod entity;
pub(crate) mod keys;
mod keyset;
pub(crate) mod nodes;
pub(crate) mod projects;
pub(crate) mod sessions;
pub(crate) mod stats;
pub(crate) mod tasks;
pub(crate) mod users;

pub(crate) use keyset::{Place, Slice};
pub(crate) use sea_orm::ConnectionTrait as Conn;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel, Iterable, ModelTrait, QueryFilter,
    sea_query::{Expr, ExprTrait as _, Func},
};
use sker_db::{Access, Db, Transaction, db_error};
use sker_error::{Error, Result};
use sker_outbox::{NewRow, Outbox};
use sker_telemetry::trace::current_traceparent;

/// Rows per statement with many values: well within SQLite's 32,766 and PostgreSQL's 65,535 parameters.
const ROWS_PER_INSERT: usize = 500;
/// Ids per `IN (...)`.
const IDS_PER_QUERY: usize = 1_000;

/// The store's database.
#[derive(Clone)]
pub(crate) struct Store {
    db: Db,
    outbox: Outbox,
}

impl Store {
    pub(crate) fn new(db: Db, outbox: Outbox) -> Self {
        Store { db, outbox }
    }

    /// For reads that stand alone.
    pub(crate) fn reader(&self) -> &Access {
        self.db.read()
    }

    /// For single statements that change what nobody needs to hear of.
    pub(crate) fn writer(&self) -> &Access {
        self.db.write()
    }

    /// Begins a transaction of reads that all see the same.
    pub(crate) async fn begin_read(&self) -> Result<Snapshot> {
        Ok(Snapshot { inner: self.db.begin_read().await? })
    }

    /// Begins a transaction. Take its time after this: on SQLite writers take turns, so times then follow the order of
    /// commits.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(Tx {
            inner: self.db.begin().await?,
            rows: Vec::new(),
            outbox: self.outbox.clone(),
            traceparent: current_traceparent(),
        })
    }
}

/// A transaction that only reads, and always sees one state.
pub(crate) struct Snapshot {
    inner: Transaction,
}

impl Snapshot {
    /// For the functions of this module.
    pub(crate) fn conn(&self) -> &Transaction {
        &self.inner
    }
}

/// A transaction with what others are to hear of it: either both are stored or neither is. Dropping it rolls back.
pub(crate) struct Tx {
    inner: Transaction,
    rows: Vec<NewRow>,
    outbox: Outbox,
    traceparent: Option<String>,
}

impl Tx {
    /// For the functions of this module.
    pub(crate) fn conn(&self) -> &Transaction {
        &self.inner
    }

    /// Adds a row to the outbox; it belongs to the trace that the transaction began in.
    pub(crate) fn emit(&mut self, row: NewRow) {
        self.rows.push(row.with_traceparent(self.traceparent.clone()));
    }

    /// Commits, and wakes the relay when there is something to relay.
    pub(crate) async fn commit(self) -> Result<()> {
        let Tx { inner, rows, outbox, .. } = self;
        let relay = !rows.is_empty();
        sker_outbox::append(&inner, rows).await?;
        inner.commit().await.map_err(db_error)?;
        if relay {
            outbox.wake();
        }
        Ok(())
    }
}

/// Inserts rows, any number of them.
async fn insert_all<M, A, E>(conn: &impl ConnectionTrait, rows: Vec<M>) -> Result<()>
where
    M: IntoActiveModel<A>,
    A: sea_orm::ActiveModelTrait<Entity = E> + Send,
    E: EntityTrait,
{
    let mut rows = rows.into_iter().map(IntoActiveModel::into_active_model).peekable();
    while rows.peek().is_some() {
        let chunk: Vec<A> = rows.by_ref().take(ROWS_PER_INSERT).collect();
        E::insert_many(chunk).exec_without_returning(conn).await.map_err(db_error)?;
    }
    Ok(())
}

/// Writes the columns in which `new` differs from `old`. Fails when the row has changed since `old` was read, which cannot
/// happen to a row that was read for update in the same transaction.
async fn save<M, E>(conn: &impl ConnectionTrait, key: E::Column, version: E::Column, old: &M, new: &M) -> Result<()>
where
    M: ModelTrait<Entity = E>,
    E: EntityTrait<Model = M>,
{
    let mut update = E::update_many();
    let mut changed = false;
    for column in E::Column::iter() {
        let value = new.get(column);
        if value != old.get(column) {
            update = update.col_expr(column, Expr::value(value));
            changed = true;
        }
    }
    if !changed {
        return Ok(());
    }
    let update = update.filter(key.eq(old.get(key))).filter(version.eq(old.get(version)));
    let result = update.exec(conn).await.map_err(db_error)?;
    match result.rows_affected {
        1 => Ok(()),
        _ => Err(Error::conflict("the resource was changed by somebody else at the same time; try again")),
    }
}

/// Whether a text stands in a column, whatever its case. SQLite knows the cases of ASCII letters only: there a text with
/// other letters is found as it is spelled, too.
fn mentions(column: impl ColumnTrait, text: &str) -> Condition {
    let lower = Expr::expr(Func::lower(Expr::col(column))).like(contains(&text.to_lowercase()));
    let spelled = (!text.is_ascii()).then(|| Expr::col(column).like(contains(text)));
    Condition::any().add(lower).add_option(spelled)
}

/// A pattern for `LIKE ... ESCAPE '!'` that finds `text` anywhere.
fn contains(text: &str) -> sea_orm::sea_query::LikeExpr {
    let escaped = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    sea_orm::sea_query::LikeExpr::new(format!("%{escaped}%")).escape('!')
}
