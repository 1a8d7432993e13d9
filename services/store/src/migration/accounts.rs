#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::column;

/// Users, their sign-in sessions and refresh tokens.
pub(super) struct CreateAccounts;

impl MigrationName for CreateAccounts {
    fn name(&self) -> &str {
        "m20260101_000001_accounts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateAccounts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let users = Table::create()
            .table("users")
            .col(column::id("id"))
            .col(column::text("email"))
            // In lower case: databases do not agree on what equality without regard to case is.
            .col(column::text("email_key").unique_key().take())
            .col(column::text("username"))
            .col(column::text("username_key").unique_key().take())
            .col(column::text("password_hash"))
            .col(column::text("role"))
            .col(column::text_null("avatar_url"))
            .col(column::json("settings"))
            .col(column::boolean("is_active"))
            .col(column::time_null("last_login_at"))
            .col(column::version())
            .col(column::time("created_at"))
            .col(column::time("updated_at"))
            .take();
        manager.create_table(users).await?;
        let sessions = Table::create()
            .table("sessions")
            .col(column::id("id"))
            .col(column::uuid("user_id"))
            .col(column::time("created_at"))
            .col(column::time("expires_at"))
            .col(column::time_null("revoked_at"))
            .col(column::text_null("revoked_reason"))
            .foreign_key(ForeignKey::create().from("sessions", "user_id").to("users", "id"))
            .take();
        manager.create_table(sessions).await?;
        let tokens = Table::create()
            .table("refresh_tokens")
            .col(column::id("id"))
            .col(column::uuid("session_id"))
            .col(column::text("token_hash").unique_key().take())
            .col(column::time("created_at"))
            .col(column::time_null("used_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("refresh_tokens", "session_id")
                    .to("sessions", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(tokens).await?;
        let connection = manager.get_connection();
        for index in [
            "CREATE INDEX users_list ON users (created_at, id)",
            "CREATE INDEX sessions_user ON sessions (user_id)",
            "CREATE INDEX sessions_expiry ON sessions (expires_at)",
            "CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id)",
        ] {
            connection.execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["refresh_tokens", "sessions", "users"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
