//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use sker_config::CommonArgs;
use sker_types::Uuid;

use crate::exit::EXIT_HELP;

/// The SKER platform in one program: run it, try it, use it
#[derive(Debug, Parser)]
#[command(name = "sker", version, after_help = EXIT_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What the commands that use a platform need.
    #[command(flatten)]
    pub client: ClientArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach a platform and how to show what it says.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    /// The gateway to talk to
    #[arg(long, global = true, env = "SKER_URL", default_value = "http://127.0.0.1:3000", value_name = "URL")]
    pub url: String,
    /// How to print results
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: what the API answered
    Json,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the platform does with a Markdown or text file: start it, feed it, print what comes out, stop it
    #[command(after_help = EXIT_HELP)]
    Demo(DemoArgs),
    /// Run the whole platform in this process until it is stopped
    #[command(after_help = EXIT_HELP)]
    Up(UpArgs),
    /// Sign in and remember it
    Login(LoginArgs),
    /// Forget the sign-in
    Logout,
    /// Projects
    #[command(subcommand)]
    Projects(ProjectsCommand),
    /// Nodes of a project
    #[command(subcommand)]
    Nodes(NodesCommand),
    /// AI tasks
    #[command(subcommand)]
    Tasks(TasksCommand),
    /// Services of the platform
    #[command(subcommand)]
    Services(ServicesCommand),
    /// Databases that the platform looks after
    #[command(subcommand)]
    Db(DbCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Arguments of `sker demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// A UTF-8 Markdown or text file
    pub file: PathBuf,
}

/// Arguments of `sker up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// Where to keep data [default: $XDG_DATA_HOME/sker, or ~/.local/share/sker, or ./sker-data]
    #[arg(long, value_name = "DIR", env = "SKER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Configuration. Keys begin with the service: `--set gateway.http.port=0`, and a file has one section per service.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `sker login`.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The account's address; asked for when missing
    #[arg(long)]
    pub email: Option<String>,
    /// Make the account first
    #[arg(long)]
    pub register: bool,
    /// The name of the new account [default: what stands before the @]
    #[arg(long, requires = "register")]
    pub username: Option<String>,
}

/// `sker projects ...`
#[derive(Debug, Subcommand)]
pub enum ProjectsCommand {
    /// List your projects, the newest first
    List(PageArgs),
    /// Make a project
    Create {
        /// Its name
        name: String,
        /// What it is about
        #[arg(long)]
        description: Option<String>,
    },
    /// Show a project
    Show {
        /// Its id
        id: Uuid,
    },
    /// Delete a project
    Delete {
        /// Its id
        id: Uuid,
    },
}

/// `sker nodes ...`
#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List the nodes of a project
    List {
        /// The project's id
        project: Uuid,
        /// How much of the list.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Add a node to a project
    Create {
        /// The project's id
        project: Uuid,
        /// Its title
        #[arg(long)]
        title: String,
        /// Its text
        #[arg(long, conflicts_with = "file")]
        content: Option<String>,
        /// A file with its text; - for standard input
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Show a node
    Show {
        /// Its id
        id: Uuid,
    },
    /// Delete a node
    Delete {
        /// Its id
        id: Uuid,
    },
}

/// `sker tasks ...`
#[derive(Debug, Subcommand)]
pub enum TasksCommand {
    /// Submit a task
    Submit(Box<SubmitArgs>),
    /// List the tasks of a project, the newest first
    List {
        /// The project's id
        project: Uuid,
        /// Only tasks in this state
        #[arg(long, value_parser = TASK_STATES)]
        status: Option<String>,
        /// How much of the list.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Follow a task until it is finished, with the text as it is written
    Watch {
        /// Its id
        id: Uuid,
    },
    /// Cancel a task
    Cancel {
        /// Its id
        id: Uuid,
    },
}

/// The states a task can be in.
const TASK_STATES: [&str; 6] = ["pending", "queued", "processing", "completed", "failed", "cancelled"];

/// The types of tasks.
const TASK_TYPES: [&str; 6] = [
    "content_generation",
    "content_optimization",
    "semantic_analysis",
    "content_fusion",
    "batch_processing",
    "node_enhancement",
];

/// Arguments of `sker tasks submit`.
#[derive(Args, Debug)]
pub struct SubmitArgs {
    /// The project's id
    pub project: Uuid,
    /// What to do
    #[arg(long = "type", value_name = "TYPE", value_parser = TASK_TYPES)]
    pub kind: String,
    /// A node to work on; may be repeated
    #[arg(long = "node", value_name = "ID")]
    pub nodes: Vec<Uuid>,
    /// A text to work on; may be repeated
    #[arg(long = "input", value_name = "TEXT", required_unless_present = "nodes")]
    pub inputs: Vec<String>,
    /// Store the result in this node, as a new version
    #[arg(long, value_name = "ID")]
    pub apply_to: Option<Uuid>,
    /// What to make of it, in your words
    #[arg(long)]
    pub instruction: Option<String>,
    /// How soon
    #[arg(long, default_value = "normal", value_parser = ["low", "normal", "high", "urgent"])]
    pub priority: String,
    /// Follow it until it is finished
    #[arg(long)]
    pub watch: bool,
}

/// `sker services ...`
#[derive(Debug, Subcommand)]
pub enum ServicesCommand {
    /// List the services, their instances and their health
    List,
}

/// `sker db ...`
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Show how the databases are
    Status,
}

/// How much of a list to show.
#[derive(Args, Clone, Copy, Debug)]
pub struct PageArgs {
    /// The most rows to show
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("sker").chain(arguments.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_for_every_command_may_stand_anywhere() {
        for arguments in ["--output json projects list", "projects list --output json", "projects --output json list"] {
            assert_eq!(parse(arguments).unwrap().client.output, Format::Json, "{arguments}");
        }
        assert_eq!(parse("db status --url http://x").unwrap().client.url, "http://x");
    }

    #[test]
    fn wrong_arguments_exit_with_2() {
        let project = Uuid::nil();
        for arguments in [
            "".to_owned(),
            "demo".to_owned(),
            "projects show 17".to_owned(),
            "projects list --limit 0".to_owned(),
            "--output xml projects list".to_owned(),
            format!("tasks submit {project} --type content_fusion"),
            format!("tasks submit {project} --type magic --input x"),
            format!("tasks list {project} --status done"),
            "up --set gateway.http.port".to_owned(),
        ] {
            assert_eq!(parse(&arguments).unwrap_err().exit_code(), 2, "{arguments}");
        }
    }

    #[test]
    fn ports_of_services_are_set_by_flag() {
        let Command::Up(up) = parse("up --set gateway.http.port=0 --data-dir d").unwrap().command else { panic!() };
        assert_eq!(up.common.set, [("gateway.http.port".to_owned(), "0".to_owned())]);
        assert_eq!(up.data_dir, Some("d".into()));
    }
}
