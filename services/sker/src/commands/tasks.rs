use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use sker_client::http::{Events, Frame};
use sker_error::Code;
use sker_types::{ChannelEvent, Uuid, channel, event_type};

use crate::{
    cli::{SubmitArgs, TasksCommand},
    client::Client,
    exit::{Exit, Failure},
    output::{Column, printable},
};

const COLUMNS: &[Column] = &[
    ("id", "/id"),
    ("type", "/type"),
    ("status", "/status"),
    ("progress", "/progress"),
    ("priority", "/priority"),
    ("attempts", "/attempts"),
    ("created", "/created_at"),
];

pub async fn run(client: &Client, command: TasksCommand) -> Result<(), Failure> {
    match command {
        TasksCommand::Submit(args) => submit(client, *args).await,
        TasksCommand::List { project, status, page } => {
            let mut path = format!("/api/v1/projects/{project}/ai-tasks?sort=-created_at");
            if let Some(status) = status {
                path.push_str(&format!("&status={status}"));
            }
            Ok(client.output.rows(&client.list(&path, page.limit).await?, COLUMNS)?)
        }
        TasksCommand::Watch { id } => watch(client, id).await,
        TasksCommand::Cancel { id } => {
            let task = client.post(&format!("/api/v1/ai-tasks/{id}/cancel"), &json!({})).await?;
            Ok(client.output.done(&format!("cancelled task {id}"), &task)?)
        }
    }
}

async fn submit(client: &Client, args: SubmitArgs) -> Result<(), Failure> {
    let mut input = json!({});
    if !args.nodes.is_empty() {
        input["node_ids"] = json!(args.nodes);
    }
    if !args.inputs.is_empty() {
        input["inputs"] = json!(args.inputs);
    }
    if let Some(instruction) = args.instruction {
        input["instruction"] = instruction.into();
    }
    let mut body = json!({ "type": args.kind, "priority": args.priority, "input_data": input });
    if let Some(node) = args.apply_to {
        body["node_id"] = json!(node);
    }
    let task = client.post(&format!("/api/v1/projects/{}/ai-tasks", args.project), &body).await?;
    let id = task["id"].as_str().and_then(sker_types::parse_id);
    match id {
        Some(id) if args.watch => watch(client, id).await,
        id => Ok(client.output.done(&format!("submitted task {}", id.unwrap_or_default()), &task)?),
    }
}

/// Follows a task to its end. The events tell what happens; what it came to is read from the store.
async fn watch(client: &Client, id: Uuid) -> Result<(), Failure> {
    let path = format!("/api/v1/ai-tasks/{id}");
    // First whether there is such a task, in the words of the store.
    client.get(&path).await?;
    let mut events = client.events().await?;
    events.subscribe(&channel::task(id), None).await?;
    let mut view = View::new(client.output.is_json());
    let mut task = None;
    while task.is_none() {
        task = next(client, &path, &mut events, &mut view).await?;
    }
    view.finish();
    let task = task.unwrap_or_default();
    if client.output.is_json() {
        client.output.json(&task)?;
    } else {
        print_result(&task)?;
    }
    match task["status"].as_str() {
        Some("completed") => Ok(()),
        status => Err(Failure::new(Exit::Failure, format!("the task is {}", printable(status.unwrap_or("unknown"))))),
    }
}

/// Takes one frame; the task, when it is finished.
async fn next(client: &Client, path: &str, events: &mut Events, view: &mut View) -> Result<Option<Value>, Failure> {
    let frame = match events.next().await {
        // The token that opened the socket has run out: reading the task renews it, and the socket opens again with that.
        Err(error) if error.code() == Code::Unauthenticated => Frame::Reset(String::new()),
        frame => frame?,
    };
    match frame {
        Frame::Event(event) => {
            view.show(&event);
            let finished = [event_type::TASK_COMPLETED, event_type::TASK_FAILED, event_type::TASK_CANCELLED];
            if !finished.contains(&event.kind.as_str()) {
                return Ok(None);
            }
        }
        Frame::Other(frame) if frame["type"] == "error" => {
            let detail = frame["detail"].as_str().unwrap_or("the gateway refused the subscription");
            return Err(Failure::new(Exit::Failure, printable(detail)));
        }
        // What happened before the subscription, or between two connections, was not told.
        Frame::Other(frame) if frame["type"] == "subscribed" => {}
        Frame::Reset(_) => {}
        Frame::Other(_) => return Ok(None),
    }
    let task = client.get(path).await?;
    let finished = matches!(task["status"].as_str(), Some("completed" | "failed" | "cancelled"));
    Ok(finished.then_some(task))
}

fn print_result(task: &Value) -> Result<(), Failure> {
    let output = &task["output_data"];
    let mut out = io::stdout().lock();
    if let Some(text) = output["text"].as_str() {
        writeln!(out, "{}", printable(text))?;
    } else if output.is_object() {
        writeln!(out, "{output:#}")?;
    }
    if let Some(message) = task["error"]["message"].as_str() {
        writeln!(io::stderr(), "{}", printable(message))?;
    }
    Ok(())
}

/// A bar on a terminal, a line per event elsewhere; always on standard error.
struct View {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl View {
    fn new(json: bool) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("[{bar:32}] {pos:>3} % {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
            ProgressBar::new(100).with_style(style)
        });
        View { bar, quiet: json }
    }

    fn show(&mut self, event: &ChannelEvent) {
        let progress = event.data["progress"].as_u64();
        let message = printable(event.data["message"].as_str().unwrap_or_default());
        match &self.bar {
            Some(bar) => {
                if let Some(progress) = progress {
                    bar.set_position(progress);
                }
                bar.set_message(match message.is_empty() {
                    true => event.kind.trim_start_matches("ai_task.").to_owned(),
                    false => message,
                });
            }
            // The text itself is printed at the end, whole.
            None if self.quiet || event.kind == event_type::TASK_CHUNK => {}
            None => {
                let progress = progress.map(|progress| format!(" {progress} %")).unwrap_or_default();
                // Nothing can be done for somebody who closed standard error.
                let _ = writeln!(io::stderr(), "{}{progress} {message}", event.kind);
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
