//! Who may listen to which realtime channel.

use sker_api::Ctx;
use sker_error::{Error, Result};
use sker_types::{channel, parse_id};

use super::{App, access};

impl App {
    /// The channel's full name, if the caller may listen to it; `not_found` otherwise.
    pub(crate) async fn authorize_channel(&self, ctx: &Ctx, name: &str) -> Result<String> {
        let none = || Error::not_found("channel");
        let (kind, id) = name.split_once(':').ok_or_else(none)?;
        if (kind, id) == ("user", "me") {
            return ctx.principal.user_id().map(channel::user).ok_or_else(none);
        }
        let id = parse_id(id).ok_or_else(none)?;
        match kind {
            "project" => access::project(self.store.reader(), ctx, id).await.map(|_| channel::project(id)),
            "task" => access::task(self.store.reader(), ctx, id).await.map(|_| channel::task(id)),
            "user" if ctx.principal.user_id() == Some(id) => Ok(channel::user(id)),
            _ => Err(none()),
        }
    }
}
