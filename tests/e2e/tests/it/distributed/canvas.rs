use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sker_testkit::{Api, Distributed, Outside, Plan, eventually};
use tempfile::TempDir;

use super::follower::Follower;
use crate::world::{rows, text};

/// A distributed platform with a user, whose project is followed through every gateway.
pub struct Canvas {
    pub platform: Distributed,
    pub user: Api,
    pub project: String,
    pub follower: Follower,
    // After the programs that write there.
    _home: TempDir,
}

/// A task that the platform has accepted, and the node whose next version it makes.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub task: String,
    pub node: String,
    version: u64,
}

impl Canvas {
    pub async fn new(outside: Outside, plan: Plan) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let platform = Distributed::start(home.path(), outside, plan).await?;
        let user = platform.gateway(0)?.sign_up().await?;
        let project = user.create_project("canvas").await?;
        let mut readers = Vec::new();
        for number in 0..platform.gateways.len() {
            readers.push(platform.gateway(number)?.with_token(user.token().context("signed in")?));
        }
        let follower = Follower::start(readers, format!("project:{project}")).await?;
        // From here on it has a place in the channel to resume from.
        let first = user.create_node(&project, "first", "").await?;
        follower.until("the first event", |frame| is_creation_of(frame, &first)).await?;
        Ok(Canvas { platform, user, project, follower, _home: home })
    }

    /// The user at another gateway.
    pub fn at(&self, gateway: usize) -> Result<Api> {
        Ok(self.platform.gateway(gateway)?.with_token(self.user.token().context("signed in")?))
    }

    /// Makes a node and a task that analyses it.
    pub async fn submit(&self) -> Result<Accepted> {
        submit(&self.user, &self.project, &json!({"type": "semantic_analysis"})).await
    }

    /// Waits until a new task is accepted and completed, and prints how long after `since` that was.
    pub async fn recovered(&self, fault: &str, since: Instant) -> Result<()> {
        let accepted = eventually("a task is accepted again", async || Ok(self.submit().await.ok())).await?;
        let done = ended(&self.user, &accepted.task).await?;
        ensure!(done["status"] == "completed", "{done}");
        eprintln!("recovery: {fault}: a new task was done {} ms later", since.elapsed().as_millis());
        Ok(())
    }

    /// What must be so whatever has happened: each task that was accepted has been completed, has changed its node once and
    /// has told so once; and no task at all is left in between.
    pub async fn verify(&self, accepted: &[Accepted]) -> Result<()> {
        self.verify_effects(accepted).await?;
        // Everything before it has come when the last one has.
        let last = self.user.create_node(&self.project, "last", "").await?;
        self.follower.until("the last event", |frame| is_creation_of(frame, &last)).await?;
        let frames = self.follower.frames()?;
        for Accepted { task, .. } in accepted {
            let told =
                frames.iter().filter(|frame| frame["type"] == "ai_task.completed" && frame["data"]["id"] == **task);
            let told: Vec<&Value> = told.collect();
            assert_eq!(told.len(), 1, "task {task} was completed once: {told:#?}");
        }
        Ok(())
    }

    /// The same without what was told, for when the log of what was told was lost.
    pub async fn verify_effects(&self, accepted: &[Accepted]) -> Result<()> {
        for Accepted { task, node, version } in accepted {
            self.user.completed(task).await?;
            let now = self.user.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?.body;
            assert_eq!(now["version"], version + 1, "task {task} changed its node once");
        }
        let unfinished = format!("/api/v1/projects/{}/ai-tasks?status=pending,queued,processing", self.project);
        // Those too whose acceptance nobody heard of.
        eventually("no task is left in between", async || {
            let page = self.user.get(&unfinished).await?.expect(200)?.body;
            Ok(rows(&page)?.is_empty().then_some(()))
        })
        .await
    }
}

/// Makes a node and a task of this body that is applied to it.
pub async fn submit(user: &Api, project: &str, task: &Value) -> Result<Accepted> {
    let content =
        json!({"title": "bees", "content": "The bees that dance in the garden tell the others where to fly."});
    let node = user.post(&format!("/api/v1/projects/{project}/nodes"), &content).await?.expect(201)?.body;
    let id = text(&node, "id")?;
    let mut body = task.clone();
    body["node_id"] = json!(id);
    body["input_data"] = json!({"node_ids": [id]});
    let task = user.post(&format!("/api/v1/projects/{project}/ai-tasks"), &body).await?.expect(201)?;
    let version = node["version"].as_u64().context("a node has a version")?;
    Ok(Accepted { task: task.string("id")?, node: id.to_owned(), version })
}

/// Waits until a task has ended, however often nobody answers.
pub async fn ended(user: &Api, task: &str) -> Result<Value> {
    eventually(&format!("task {task} ends"), async || {
        let Ok(answer) = user.get(&format!("/api/v1/ai-tasks/{task}")).await else { return Ok(None) };
        let has_ended = matches!(answer.body["status"].as_str(), Some("completed" | "failed" | "cancelled"));
        Ok(has_ended.then_some(answer.body))
    })
    .await
}

pub fn is_creation_of(frame: &Value, node: &str) -> bool {
    frame["type"] == "node.created" && frame["data"].to_string().contains(node)
}
