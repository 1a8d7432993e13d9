use serde_json::json;

use crate::{
    cli::ProjectsCommand,
    client::Client,
    exit::Failure,
    output::{Column, printable},
};

const COLUMNS: &[Column] = &[("id", "/id"), ("name", "/name"), ("status", "/status"), ("created", "/created_at")];

const DETAILS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("description", "/description"),
    ("status", "/status"),
    ("created", "/created_at"),
    ("updated", "/updated_at"),
];

pub async fn run(client: &Client, command: ProjectsCommand) -> Result<(), Failure> {
    match command {
        ProjectsCommand::List(page) => {
            let rows = client.list("/api/v1/projects?sort=-created_at", page.limit).await?;
            client.output.rows(&rows, COLUMNS)?;
        }
        ProjectsCommand::Create { name, description } => {
            let mut body = json!({ "name": name });
            if let Some(description) = description {
                body["description"] = description.into();
            }
            let project = client.post("/api/v1/projects", &body).await?;
            let id = project["id"].as_str().unwrap_or_default();
            client.output.done(&format!("created project {id} ({})", printable(&name)), &project)?;
        }
        ProjectsCommand::Show { id } => {
            client.output.one(&client.get(&format!("/api/v1/projects/{id}")).await?, DETAILS)?;
        }
        ProjectsCommand::Delete { id } => {
            client.delete(&format!("/api/v1/projects/{id}")).await?;
            client.output.done(&format!("deleted project {id}"), &json!({ "deleted": id }))?;
        }
    }
    Ok(())
}
