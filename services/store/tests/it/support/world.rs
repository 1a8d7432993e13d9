use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_cache::Replay;
use sker_testkit::{Api, eventually};
use sker_types::{ChannelEvent, Uuid};

use super::{Broker, Setup, TestStore, text};

/// A store with a user who has a project.
pub struct World {
    pub store: TestStore,
    pub user: Api,
    pub user_id: Uuid,
    /// The project's id.
    pub project: String,
}

impl World {
    pub async fn new() -> Result<Self> {
        Self::of(Setup::new().await?).await
    }

    pub async fn of(setup: Setup) -> Result<Self> {
        let store = setup.start().await?;
        let user = store.http.sign_up().await?;
        let me = user.get("/api/v1/auth/me").await?.expect(200)?;
        let user_id = me.string("id")?.parse()?;
        let project = user.create_project("canvas").await?;
        Ok(World { store, user, user_id, project })
    }

    /// Stops the store and starts another on the same data, with `change` made to what it is built of.
    pub async fn restart(self, change: impl FnOnce(Setup) -> Setup) -> Result<Self> {
        let World { store, user, user_id, project } = self;
        let store = change(store.stop().await?).start().await?;
        let user = store.http.with_token(user.token().context("signed in")?);
        Ok(World { store, user, user_id, project })
    }

    /// A path under the project.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/projects/{}{rest}", self.project)
    }

    pub fn broker(&self, session: &str) -> Broker {
        Broker::new(self.store.api.clone(), session)
    }

    /// Makes a node and answers its id.
    pub async fn node(&self, title: &str) -> Result<String> {
        self.user.create_node(&self.project, title, &format!("the content of {title}")).await
    }

    /// Makes a connection and answers its id.
    pub async fn connection(&self, from: &str, to: &str) -> Result<String> {
        let body = json!({"source_node_id": from, "target_node_id": to, "type": "reference"});
        self.user.post(&self.path("/connections"), &body).await?.expect(201)?.string("id")
    }

    /// Makes a `semantic_analysis` with these members besides, and answers its id.
    pub async fn task(&self, members: Value) -> Result<String> {
        let mut body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["One sentence."]}});
        if let (Some(body), Value::Object(members)) = (body.as_object_mut(), members) {
            body.extend(members);
        }
        self.user.post(&self.path("/ai-tasks"), &body).await?.expect(201)?.string("id")
    }

    /// Reads a task.
    pub async fn task_now(&self, task: &str) -> Result<Value> {
        Ok(self.user.get(&format!("/api/v1/ai-tasks/{task}")).await?.expect(200)?.body)
    }

    /// Waits until a task has a status, and answers the task.
    pub async fn until_status(&self, task: &str, status: &str) -> Result<Value> {
        eventually(&format!("the task is {status}"), async || {
            let now = self.task_now(task).await?;
            Ok((now["status"] == status).then_some(now))
        })
        .await
    }

    /// Makes a task and waits until it is queued.
    pub async fn queued_task(&self, members: Value) -> Result<String> {
        let task = self.task(members).await?;
        self.until_status(&task, "queued").await?;
        Ok(task)
    }

    /// Reads a node.
    pub async fn node_now(&self, node: &str) -> Result<Value> {
        Ok(self.user.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?.body)
    }

    /// The versions of a node, in the order of their numbers.
    pub async fn versions(&self, node: &str) -> Result<Vec<Value>> {
        let page = self.user.get(&format!("/api/v1/nodes/{node}/versions?limit=200")).await?.expect(200)?;
        let mut versions = super::rows(&page)?.clone();
        versions.sort_by_key(|version| version["version"].as_i64());
        Ok(versions)
    }

    /// What a channel of the realtime log holds.
    pub async fn channel(&self, channel: &str) -> Result<Vec<ChannelEvent>> {
        match self.store.setup.log.read(channel, 0, 10_000).await? {
            Replay::Events(events) => Ok(events),
            // Of a boot that is not the first: what came before is forgotten.
            Replay::TooOld { latest } => {
                let boot = latest >> 32 << 32;
                match self.store.setup.log.read(channel, boot, 10_000).await? {
                    Replay::Events(events) => Ok(events),
                    Replay::TooOld { .. } => anyhow::bail!("{channel} has forgotten its beginning"),
                }
            }
        }
    }

    /// Waits for an event on a channel, and answers everything up to it.
    pub async fn heard(&self, channel: &str, kind: &str, about: &str) -> Result<Vec<ChannelEvent>> {
        eventually(&format!("{kind} on {channel}"), async || {
            let mut events = self.channel(channel).await?;
            let last = events.iter().position(|event| event.kind == kind && event.data["id"] == about);
            Ok(last.map(|last| {
                events.truncate(last + 1);
                events
            }))
        })
        .await
    }

    /// Somebody else, signed in, with a project, two nodes and a connection of their own: ids in that order.
    pub async fn stranger(&self) -> Result<(Api, [String; 4])> {
        let stranger = self.store.http.sign_up().await?;
        let project = stranger.create_project("elsewhere").await?;
        let one = stranger.create_node(&project, "one", "theirs").await?;
        let two = stranger.create_node(&project, "two", "theirs").await?;
        let body = json!({"source_node_id": one, "target_node_id": two, "type": "input"});
        let made = stranger.post(&format!("/api/v1/projects/{project}/connections"), &body).await?.expect(201)?;
        let connection = text(&made.body, "id")?.to_owned();
        Ok((stranger, [project, one, two, connection]))
    }
}
