use sea_orm::{ColumnTrait, Condition, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select, Value};
use sker_types::{Time, Uuid};

/// A row's place in a list by time of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub time: Time,
    pub id: Uuid,
}

/// Which part of a list to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    /// Newest first.
    pub descending: bool,
    /// Rows beyond this place; from the beginning without one.
    pub after: Option<Place>,
    /// At most so many rows.
    pub limit: u64,
}

/// Orders a query by (time, id) and cuts the slice out of it.
pub(super) fn slice<E: EntityTrait>(query: Select<E>, time: E::Column, id: E::Column, slice: Slice) -> Select<E> {
    let order = if slice.descending { Order::Desc } else { Order::Asc };
    let query = query.order_by(time, order.clone()).order_by(id, order).limit(slice.limit);
    let Some(Place { time: at, id: last }) = slice.after else { return query };
    let (at, last): (Value, Value) = (at.into(), last.into());
    // The first condition says nothing that the second does not, but it is the one an index can begin at.
    let beyond = if slice.descending {
        Condition::all().add(time.lte(at.clone())).add(Condition::any().add(time.lt(at)).add(id.lt(last)))
    } else {
        Condition::all().add(time.gte(at.clone())).add(Condition::any().add(time.gt(at)).add(id.gt(last)))
    };
    query.filter(beyond)
}
