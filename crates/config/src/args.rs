use std::{ffi::OsString, path::PathBuf};

use clap::Args;

/// The flags that every program of the platform has.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Read configuration from a TOML or YAML file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print the configuration in force, without secrets, and exit
    #[arg(long, conflicts_with_all = ["check_config", "health"])]
    pub dump_config: bool,
    /// Check the configuration and exit: 0 when it is right, 64 when not
    #[arg(long, conflicts_with = "health")]
    pub check_config: bool,
    /// Ask the running service whether it is healthy and exit: 0 when it is, 1 when not
    #[arg(long)]
    pub health: bool,
    /// Set a configuration key, for example http.port=3001; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, global = true)]
    pub set: Vec<(String, String)>,
}

/// What a program was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the service.
    Run,
    /// Print the configuration.
    DumpConfig,
    /// Check the configuration.
    CheckConfig,
    /// Ask the running service for its health.
    Health,
}

impl CommonArgs {
    /// What was asked for.
    pub fn action(&self) -> Action {
        match (self.dump_config, self.check_config, self.health) {
            (true, _, _) => Action::DumpConfig,
            (_, true, _) => Action::CheckConfig,
            (_, _, true) => Action::Health,
            _ => Action::Run,
        }
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must look like http.port=3001".to_owned()),
    }
}

/// Reads `-config FILE` as `--config FILE`: the registry's seed writes it the Go way, which clap would take for a row of
/// short flags.
pub fn normalise_args(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    args.into_iter()
        .map(|argument| match argument.to_str() {
            Some("-config") => "--config".into(),
            Some(text) if text.starts_with("-config=") => format!("-{text}").into(),
            _ => argument,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn parse(args: &[&str]) -> Result<CommonArgs, clap::Error> {
        let args = ["program"].iter().chain(args).map(OsString::from);
        Program::try_parse_from(normalise_args(args)).map(|program| program.common)
    }

    #[test]
    fn the_go_way_to_name_the_file_is_understood() {
        for args in [&["-config", "a.yaml"][..], &["--config", "a.yaml"], &["-config=a.yaml"], &["--config=a.yaml"]] {
            assert_eq!(parse(args).unwrap().config, Some("a.yaml".into()), "{args:?}");
        }
    }

    #[test]
    fn keys_are_set_one_by_one() {
        let args = parse(&["--set", "a.b=1", "--set", "url=http://x/?a=b"]).unwrap();
        assert_eq!(args.set, [("a.b".to_owned(), "1".to_owned()), ("url".to_owned(), "http://x/?a=b".to_owned())]);
        assert!(parse(&["--set", "a.b"]).is_err());
        assert!(parse(&["--set", "=1"]).is_err());
    }

    #[test]
    fn one_action_at_a_time() {
        assert_eq!(parse(&[]).unwrap().action(), Action::Run);
        assert_eq!(parse(&["--dump-config"]).unwrap().action(), Action::DumpConfig);
        assert_eq!(parse(&["--check-config"]).unwrap().action(), Action::CheckConfig);
        assert_eq!(parse(&["--health"]).unwrap().action(), Action::Health);
        assert!(parse(&["--health", "--dump-config"]).is_err());
    }
}
