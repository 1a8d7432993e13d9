use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, Statement};
use sker_db::Db;
use sker_types::{Time, from_micros};

use crate::{
    schema::{database, sample, sample::Column, sample::Entity},
    world::worlds,
};

/// Microseconds after a full second at which the text form changes its length.
const FRACTIONS: [i64; 12] = [0, 1, 9, 10, 999, 1_000, 1_001, 100_000, 120_000, 123_000, 123_456, 999_999];

fn moments() -> Vec<Time> {
    // 1969, the epoch, 2001 (one digit more in Unix time), 2026, 2040 (past 32 bits), 9999.
    let seconds = [-1, 0, 999_999_999, 1_790_000_000, 1_790_000_001, 2_208_988_800, 253_402_300_799];
    seconds.iter().flat_map(|s| FRACTIONS.iter().map(move |f| from_micros(s * 1_000_000 + f))).collect()
}

async fn store(db: &Db, moments: &[Time]) {
    let rows = moments.iter().enumerate().map(|(number, moment)| {
        let mut row = sample(&number.to_string());
        row.at = *moment;
        row.into_active_model()
    });
    Entity::insert_many(rows).exec(db.write()).await.expect("inserted");
}

#[tokio::test]
async fn ordering_by_time_is_the_order_of_time() {
    let moments = moments();
    // Stored in another order than that of time: 31 and the count of moments share no factor.
    let shuffled: Vec<Time> = (0..moments.len()).map(|index| moments[index * 31 % moments.len()]).collect();
    for world in worlds().await {
        let db = world.migrated().await;
        store(&db, &shuffled).await;
        let rows = Entity::find().order_by_asc(Column::At).all(db.read()).await.expect("rows");
        assert_eq!(rows.iter().map(|row| row.at).collect::<Vec<_>>(), moments, "{world}");
    }
}

#[tokio::test]
async fn comparing_with_a_time_finds_what_is_before_and_after_and_equal() {
    let moments = moments();
    for world in worlds().await {
        let db = world.migrated().await;
        store(&db, &moments).await;
        for (index, moment) in moments.iter().enumerate() {
            let after = Entity::find().filter(Column::At.gt(*moment)).all(db.read()).await.expect("rows");
            assert_eq!(after.len(), moments.len() - index - 1, "{world}: after {moment}");
            let equal = Entity::find().filter(Column::At.eq(*moment)).all(db.read()).await.expect("rows");
            assert_eq!(equal.len(), 1, "{world}: at {moment}");
        }
    }
}

#[tokio::test]
async fn a_time_is_stored_as_readable_text_in_utc() {
    let (_directory, db) = database().await;
    store(&db, &[from_micros(1_790_000_000_000_000)]).await;
    let statement = Statement::from_string(db.backend(), "SELECT at, typeof(at) FROM samples");
    let row = db.read().query_one_raw(statement).await.expect("read").expect("a row");
    assert_eq!(row.try_get_by_index::<String>(0).expect("text"), "2026-09-21T14:13:20+00:00");
    assert_eq!(row.try_get_by_index::<String>(1).expect("type"), "text");
}

#[tokio::test]
async fn a_time_in_a_transaction_is_the_same_time() {
    for world in worlds().await {
        let db = world.migrated().await;
        let tx = db.begin().await.expect("begun");
        for moment in moments() {
            let mut row = sample(&moment.to_string());
            (row.at, row.ended_at) = (moment, Some(moment));
            Entity::insert(row.into_active_model()).exec(&tx).await.expect("inserted");
            let found = Entity::find().filter(Column::At.eq(moment)).one(&tx).await.expect("read").expect("found");
            assert_eq!((found.at, found.ended_at), (moment, Some(moment)), "{world}");
        }
        tx.commit().await.expect("committed");
    }
}
