use serde_json::Value;

use crate::{
    cli::ServicesCommand,
    client::Client,
    exit::Failure,
    output::Output,
    platform_status::{self, ServiceRow},
};

pub async fn run(client: &Client, command: ServicesCommand) -> Result<(), Failure> {
    match command {
        ServicesCommand::List => {
            let rows = platform_status::read(async |path: &str| client.get(path).await).await?;
            print(client.output, &rows)
        }
    }
}

fn print(output: Output, rows: &[ServiceRow]) -> Result<(), Failure> {
    if output.is_json() {
        let rows: Vec<Value> = rows.iter().map(|row| row.instance.clone()).collect();
        return Ok(output.json(&Value::Array(rows))?);
    }
    platform_status::print(output, rows)?;
    Ok(())
}
