//! Puts the sections into the platform and waits until it has done its work, as any client would: over HTTP, with the
//! project's events over the gateway's WebSocket.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sker_client::http::{Events, Frame, Platform, Session};
use sker_error::{Code, Error, Result};
use sker_types::{Uuid, channel};

use super::{
    progress::{Progress, Stage},
    sections::Section,
    tracker::{State, Tracker},
};
use crate::client::page_path;

/// Requests under way at a time.
const CONCURRENCY: usize = 8;
/// The most nodes, and about the most bytes of text, in one request.
const BATCH_NODES: usize = 100;
const BATCH_BYTES: usize = 256 << 10;
/// So long without an event, and the state is read anew.
const QUIET: Duration = Duration::from_secs(5);
/// So long without any progress, and the demo gives up.
const STALLED: Duration = Duration::from_secs(180);

/// What came out.
pub struct Fed {
    /// The project's id.
    pub project: Uuid,
    /// The ids of the nodes, in the order of the sections.
    pub nodes: Vec<Uuid>,
    /// The fusion task's id.
    pub fusion: Uuid,
    /// How long it took until everything was submitted.
    pub submitting: Duration,
    /// And until all of it was finished.
    pub working: Duration,
}

/// Makes the project, feeds it, and waits until all tasks are finished.
pub async fn run(
    platform: &Platform,
    session: Session,
    name: &str,
    sections: &[Section<'_>],
    progress: &Progress,
) -> Result<Fed> {
    let began = Instant::now();
    let project = platform.post("/api/v1/projects", &json!({ "name": name })).await?;
    let project = id_of(&project)?;
    let tracker = Tracker::new(progress);
    // Before anything is made, so that no event is missed.
    let events = subscribe(platform, project).await?;
    let work = async {
        let (nodes, fusion) = submit(platform, project, sections, progress, &tracker).await?;
        let submitting = began.elapsed();
        wait(platform, project, &tracker).await?;
        Ok(Fed { project, nodes, fusion, submitting, working: began.elapsed() })
    };
    tokio::select! {
        fed = work => fed,
        lost = follow(platform, events, project, &tracker) => Err(lost),
        refused = stay_signed_in(platform, session) => Err(refused),
    }
}

async fn subscribe(platform: &Platform, project: Uuid) -> Result<Events> {
    let mut events = platform.events().await?;
    events.subscribe(&channel::project(project), None).await?;
    loop {
        match events.next().await? {
            Frame::Other(frame) if frame["type"] == "subscribed" => return Ok(events),
            Frame::Other(frame) if frame["type"] == "error" => {
                let detail = frame["detail"].as_str().unwrap_or("the gateway refused the subscription");
                let code = frame["code"].as_str().and_then(Code::parse).unwrap_or(Code::BadGateway);
                return Err(Error::new(code, detail));
            }
            _ => {}
        }
    }
}

/// Hands events on for as long as it runs; answers why it could not go on.
async fn follow(platform: &Platform, mut events: Events, project: Uuid, tracker: &Tracker<'_>) -> Error {
    loop {
        match events.next().await {
            Ok(Frame::Event(event)) => tracker.event(&event),
            Ok(Frame::Reset(_)) => tracker.reset(),
            Ok(Frame::Other(_)) => {}
            // The token that opened the socket has run out; the next one opens another.
            Err(error) if error.code() == Code::Unauthenticated => match subscribe(platform, project).await {
                Ok(again) => {
                    events = again;
                    tracker.reset();
                }
                Err(error) => return error,
            },
            Err(error) => return error,
        }
    }
}

/// Renews the sign-in well before it runs out; answers why it could not.
async fn stay_signed_in(platform: &Platform, mut session: Session) -> Error {
    loop {
        tokio::time::sleep(Duration::from_secs(session.expires_in / 2).max(Duration::from_secs(1))).await;
        session = match platform.refresh(&session.refresh_token).await {
            Ok(session) => session,
            Err(error) => return error,
        };
    }
}

async fn submit(
    platform: &Platform,
    project: Uuid,
    sections: &[Section<'_>],
    progress: &Progress,
    tracker: &Tracker<'_>,
) -> Result<(Vec<Uuid>, Uuid)> {
    progress.expect(Stage::Nodes, sections.len() as u64);
    progress.expect(Stage::Connections, sections.len().saturating_sub(1) as u64);
    let readable = sections.iter().filter(|section| !section.is_blank()).count();
    progress.expect(Stage::Analysis, readable as u64);
    progress.expect(Stage::Fusion, 100);

    let nodes = make_nodes(platform, project, sections).await?;
    let path = format!("/api/v1/projects/{project}/connections");
    each(nodes.windows(2), async |pair: &[Uuid]| {
        let body = json!({ "source_node_id": pair[0], "target_node_id": pair[1], "type": "output" });
        post(platform, &path, &body).await.map(drop)
    })
    .await?;

    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let fusion = json!({ "type": "content_fusion", "input_data": { "node_ids": nodes } });
    let fusion = id_of(&post(platform, &path, &fusion).await?)?;
    tracker.submitted_fusion(fusion);
    let to_read = nodes.iter().zip(sections).filter(|(_, section)| !section.is_blank());
    each(to_read, async |(node, _): (&Uuid, &Section<'_>)| {
        let body = json!({ "type": "semantic_analysis", "node_id": node, "input_data": { "node_ids": [node] } });
        let task = post(platform, &path, &body).await?;
        tracker.submitted_analysis(id_of(&task)?);
        Ok(())
    })
    .await?;
    Ok((nodes, fusion))
}

/// Makes a node of every section, in batches of bounded size.
async fn make_nodes(platform: &Platform, project: Uuid, sections: &[Section<'_>]) -> Result<Vec<Uuid>> {
    let path = format!("/api/v1/projects/{project}/nodes:batch");
    let mut nodes = Vec::with_capacity(sections.len());
    let mut rest = sections;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(batch_length(rest));
        rest = after;
        let create = |section: &Section<'_>| json!({ "title": section.title, "content": section.text });
        let body = json!({ "create": batch.iter().map(create).collect::<Vec<Value>>() });
        let answer = post(platform, &path, &body).await?;
        let created = answer["created"].as_array().map(Vec::as_slice).unwrap_or_default();
        if created.len() != batch.len() {
            let message = format!("the store made {} nodes of {}", created.len(), batch.len());
            return Err(Error::new(Code::BadGateway, message));
        }
        for node in created {
            nodes.push(id_of(node)?);
        }
    }
    Ok(nodes)
}

/// How many of the next sections go into one request.
fn batch_length(sections: &[Section<'_>]) -> usize {
    let mut bytes = 0;
    let fits = sections.iter().take(BATCH_NODES).take_while(|section| {
        bytes += section.text.len();
        bytes <= BATCH_BYTES
    });
    fits.count().max(1)
}

/// Does the same for each of many things, a few at a time.
async fn each<T>(things: impl IntoIterator<Item = T>, work: impl AsyncFn(T) -> Result<()>) -> Result<()> {
    let work = &work;
    stream::iter(things).map(|thing| work(thing)).buffer_unordered(CONCURRENCY).try_collect::<()>().await
}

/// Waits until everything that was submitted is finished.
async fn wait(platform: &Platform, project: Uuid, tracker: &Tracker<'_>) -> Result<()> {
    let mut news = tracker.news();
    let mut since = Instant::now();
    while !tracker.is_finished() {
        let quiet = tokio::time::timeout(QUIET, tracker.changed()).await.is_err();
        // Events tell what is new; the state is the truth when some may have been missed.
        if tracker.take_reset() || quiet {
            read_state(platform, project, tracker).await?;
        }
        if tracker.news() != news {
            news = tracker.news();
            since = Instant::now();
        } else if since.elapsed() > STALLED {
            let message = format!("nothing has happened for {} s; the tasks do not get finished", STALLED.as_secs());
            return Err(Error::timeout(message));
        }
    }
    Ok(())
}

async fn read_state(platform: &Platform, project: Uuid, tracker: &Tracker<'_>) -> Result<()> {
    for task in all_tasks(platform, project).await? {
        let status = task["status"].as_str().unwrap_or_default();
        tracker.read(id_of(&task)?, State::of_status(status));
    }
    Ok(())
}

/// All tasks of a project.
pub async fn all_tasks(platform: &Platform, project: Uuid) -> Result<Vec<Value>> {
    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let mut tasks = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut page = platform.get(&page_path(&path, 200, cursor.as_deref())).await?;
        if let Value::Array(mut data) = page["data"].take() {
            tasks.append(&mut data);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(tasks);
        }
    }
}

/// Posts, and waits as long as it is told to when that was too fast.
async fn post(platform: &Platform, path: &str, body: &Value) -> Result<Value> {
    loop {
        match platform.post(path, body).await {
            Err(error) if error.code() == Code::RateLimited => {
                tokio::time::sleep(Duration::from_millis(error.retry_after_ms().unwrap_or(1_000))).await;
            }
            answer => return answer,
        }
    }
}

fn id_of(resource: &Value) -> Result<Uuid> {
    let id = resource["id"].as_str().and_then(sker_types::parse_id);
    id.ok_or_else(|| Error::new(Code::BadGateway, "the store's answer has no id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_in_number_and_size() {
        let small = Section { title: "a".into(), text: "x" };
        assert_eq!(batch_length(&vec![small.clone(); 250]), BATCH_NODES);
        assert_eq!(batch_length(&[small]), 1);
        let text = "x".repeat(BATCH_BYTES / 3 + 1);
        let large = Section { title: "a".into(), text: &text };
        assert_eq!(batch_length(&vec![large; 10]), 2);
        let text = "x".repeat(BATCH_BYTES * 2);
        assert_eq!(batch_length(&[Section { title: "a".into(), text: &text }]), 1, "it always goes on");
    }
}
