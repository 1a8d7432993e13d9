use std::{
    io::{self, Read},
    path::Path,
};

use serde_json::json;

use crate::{
    cli::NodesCommand,
    client::Client,
    exit::Failure,
    output::{Column, printable},
};

const COLUMNS: &[Column] =
    &[("id", "/id"), ("title", "/title"), ("status", "/status"), ("tags", "/tags"), ("version", "/version")];

const DETAILS: &[Column] = &[
    ("id", "/id"),
    ("project", "/project_id"),
    ("title", "/title"),
    ("status", "/status"),
    ("tags", "/tags"),
    ("importance", "/importance"),
    ("version", "/version"),
    ("updated", "/updated_at"),
    ("content", "/content"),
];

pub async fn run(client: &Client, command: NodesCommand) -> Result<(), Failure> {
    match command {
        NodesCommand::List { project, page } => {
            let rows = client.list(&format!("/api/v1/projects/{project}/nodes"), page.limit).await?;
            client.output.rows(&rows, COLUMNS)?;
        }
        NodesCommand::Create { project, title, content, file } => {
            let content = match file {
                Some(file) => read(&file)?,
                None => content.unwrap_or_default(),
            };
            let body = json!({ "title": title, "content": content });
            let node = client.post(&format!("/api/v1/projects/{project}/nodes"), &body).await?;
            let id = node["id"].as_str().unwrap_or_default();
            client.output.done(&format!("created node {id} ({})", printable(&title)), &node)?;
        }
        NodesCommand::Show { id } => {
            client.output.one(&client.get(&format!("/api/v1/nodes/{id}")).await?, DETAILS)?;
        }
        NodesCommand::Delete { id } => {
            client.delete(&format!("/api/v1/nodes/{id}")).await?;
            client.output.done(&format!("deleted node {id}"), &json!({ "deleted": id }))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("standard input: {error}")))?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}
