//! Runs a command, or waits, while test servers are up.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};
use turnmill_testbed::{Unavailable, kafka, postgres};

/// PostgreSQL and Kafka for tests: private servers on free ports of 127.0.0.1, stopped with this
/// command.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Runs a command with TURNMILL_TEST_POSTGRES_URL and TURNMILL_TEST_KAFKA, and exits with its
    /// code.
    ///
    /// A server is not started if its variable is already set or if this machine lacks it.
    Run {
        #[command(flatten)]
        servers: Servers,
        /// The command and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Prints the variables and waits for the end of stdin or Ctrl-C.
    Up {
        #[command(flatten)]
        servers: Servers,
    },
}

/// The servers to start; both if none is named.
#[derive(Args)]
struct Servers {
    /// Start PostgreSQL.
    #[arg(long)]
    postgres: bool,
    /// Start Kafka.
    #[arg(long)]
    kafka: bool,
}

/// Running servers, and the variables that name them.
#[derive(Default)]
struct Running {
    variables: Vec<(&'static str, String)>,
    /// Servers stop when they are dropped.
    _postgres: Option<postgres::Server>,
    _kafka: Option<kafka::Broker>,
}

impl Running {
    /// Starts the requested servers. A missing server is an error if `all` are needed. Otherwise it
    /// is left out, and tests that need it note that.
    fn start(servers: &Servers, all: bool) -> Result<Self, Unavailable> {
        let both = !servers.postgres && !servers.kafka;
        let mut running = Self::default();
        let given = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let (database, topics) = ("TURNMILL_TEST_POSTGRES_URL", "TURNMILL_TEST_KAFKA");
        if (servers.postgres || both) && !given(database) {
            running._postgres = unless_missing(postgres::Server::start(&postgres::Options::default()), all)?;
            running.variables.extend(running._postgres.iter().map(|server| (database, server.url())));
        }
        if (servers.kafka || both) && !given(topics) {
            running._kafka = unless_missing(kafka::Broker::start(&kafka::Options::default()), all)?;
            running.variables.extend(running._kafka.iter().map(|broker| (topics, broker.bootstrap())));
        }
        Ok(running)
    }
}

fn unless_missing<T>(started: Result<T, Unavailable>, needed: bool) -> Result<Option<T>, Unavailable> {
    match started {
        Ok(server) => Ok(Some(server)),
        Err(Unavailable::Missing(reason)) if !needed => {
            eprintln!("turnmill-testbed: {reason}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Action::Run { servers, command } => run(&servers, &command),
        Action::Up { servers } => up(&servers),
    };
    result.unwrap_or_else(|error| {
        eprintln!("turnmill-testbed: {error}");
        ExitCode::FAILURE
    })
}

fn run(servers: &Servers, command: &[String]) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let running = Running::start(servers, false)?;
    let [program, arguments @ ..] = command else { return Err("there is no command".into()) };
    let status = Command::new(program).args(arguments).envs(running.variables.iter().cloned()).status();
    let status = status.map_err(|error| format!("running `{program}`: {error}"))?;
    // Shells report signals like this.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn up(servers: &Servers) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let running = Running::start(servers, true)?;
    for (name, value) in &running.variables {
        println!("export {name}={value}");
    }
    // Ignore input and wait for its end. After Ctrl-C the servers stop without this process.
    std::io::copy(&mut std::io::stdin().take(u64::MAX), &mut std::io::sink())?;
    Ok(ExitCode::SUCCESS)
}
