//! What the tests begin with.

mod broker;
mod bus;
mod registry;
mod service;
mod world;

pub use broker::{Broker, Wakes, lease_of};
pub use bus::{Mood, MoodyBus};
pub use registry::FakeRegistry;
pub use service::{ADMIN, Setup, TestStore};
pub use world::World;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sker_testkit::Answer;

/// The password of every account that a test makes by hand.
pub const PASSWORD: &str = "correct horse battery staple";

/// The `data` of a page.
pub fn rows(page: &Answer) -> Result<&Vec<Value>> {
    page.body["data"].as_array().with_context(|| format!("no page: {}", page.text))
}

/// A member of an object that is a string.
pub fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str> {
    value[member].as_str().with_context(|| format!("no string {member} in {value}"))
}

/// The ids of what a page holds, in order.
pub fn ids(page: &Answer) -> Result<Vec<String>> {
    rows(page)?.iter().map(|row| text(row, "id").map(str::to_owned)).collect()
}
