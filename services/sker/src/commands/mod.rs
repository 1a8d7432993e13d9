//! The commands that use a platform which runs elsewhere.

mod account;
mod databases;
mod nodes;
mod projects;
mod services;
mod tasks;

use crate::{
    cli::{ClientArgs, Command},
    client::Client,
    exit::Failure,
};

/// Runs a client command.
pub async fn run(args: &ClientArgs, command: Command) -> Result<(), Failure> {
    let client = Client::new(args)?;
    match command {
        Command::Login(args) => account::login(&client, args).await,
        Command::Logout => account::logout(&client).await,
        Command::Projects(command) => projects::run(&client, command).await,
        Command::Nodes(command) => nodes::run(&client, command).await,
        Command::Tasks(command) => tasks::run(&client, command).await,
        Command::Services(command) => services::run(&client, command).await,
        Command::Db(command) => databases::run(&client, command).await,
        Command::Demo(_) | Command::Up(_) | Command::Completions { .. } => {
            Err(Failure::usage("this command needs no platform"))
        }
    }
}
