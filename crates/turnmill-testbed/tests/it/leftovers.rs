//! Tests that no server outlives the process that started it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turnmill_testbed::or_skip;
use turnmill_testbed::{kafka, postgres};

/// Returns the command, with its own folder for temporary files and without external servers.
fn testbed(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnmill-testbed"));
    command.args(arguments).env("TMPDIR", folder);
    command.env_remove("TURNMILL_TEST_POSTGRES_URL").env_remove("TURNMILL_TEST_KAFKA");
    command
}

/// Starts a process that holds both servers, and returns their addresses.
fn holder(folder: &Path) -> (Child, Vec<String>) {
    let mut command = testbed(&["up"], folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(2);
    let address = |line: String| {
        let (_, value) = line.split_once('=').unwrap();
        let address = value.rsplit('@').next().unwrap();
        address.split('/').next().unwrap().to_owned()
    };
    let addresses = lines.map(|line| address(line.unwrap())).collect();
    (child, addresses)
}

fn files(folder: &Path) -> usize {
    folder.read_dir().unwrap().count()
}

/// Waits until `done`, also on a busy machine.
fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns whether this machine can run both servers.
fn both() -> bool {
    postgres::shared().is_some() && kafka::shared().is_some()
}

/// Returns a folder that PostgreSQL's user may enter, too.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(permissions).tempdir().unwrap()
}

#[test]
fn after_a_kill_and_after_an_orderly_end() {
    if !both() {
        return;
    }
    for kill in [true, false] {
        let folder = folder();
        let (mut child, addresses) = holder(folder.path());
        assert_eq!(addresses.len(), 2);
        assert!(addresses.iter().all(|address| TcpStream::connect(address).is_ok()), "{addresses:?}");
        assert_eq!(files(folder.path()), 2);
        if kill {
            child.kill().unwrap();
        } else {
            drop(child.stdin.take());
        }
        assert_eq!(child.wait().unwrap().success(), !kill);
        let gone = || addresses.iter().all(|address| TcpStream::connect(address).is_err());
        wait_until("the servers listen still", gone);
        wait_until("there are files left", || files(folder.path()) == 0);
    }
}

#[test]
fn after_a_drop() {
    let Some(server) = or_skip(postgres::Server::start(&postgres::Options::default())) else { return };
    let port = server.port();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_command_runs_with_servers_and_its_code_is_passed_on() {
    if !both() {
        return;
    }
    let folder = folder();
    let script = "psql -Atq -d \"$TURNMILL_TEST_POSTGRES_URL\" -c 'SELECT 1' && test -z \"$TURNMILL_TEST_KAFKA\" && exit 7";
    let status = testbed(&["run", "--postgres", "--", "sh", "-c", script], folder.path()).status().unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(files(folder.path()), 0);

    // Servers that are already named are not replaced.
    let mut command = testbed(
        &["run", "--", "sh", "-c", "echo $TURNMILL_TEST_POSTGRES_URL $TURNMILL_TEST_KAFKA"],
        folder.path(),
    );
    let output =
        command.env("TURNMILL_TEST_POSTGRES_URL", "a").env("TURNMILL_TEST_KAFKA", "b").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "a b\n");
}

#[test]
fn a_test_without_its_server_is_skipped_and_noted() {
    let folder = folder();
    let skips = folder.path().join("skips");
    // Runs this test binary without `PATH`, so that it finds no program and no PostgreSQL.
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new(own);
    command.args(["--exact", "kafka::every_test_has_a_topic_of_its_own"]).env("PATH", folder.path());
    command.env_remove("JAVA_HOME").env_remove("TURNMILL_TEST_KAFKA").env("TURNMILL_TEST_SKIPS", &skips);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let noted = std::fs::read_to_string(skips).unwrap();
    let expected = "kafka::every_test_has_a_topic_of_its_own: Java 17 is missing";
    assert!(!noted.is_empty() && noted.lines().all(|line| line.starts_with(expected)), "{noted}");
}
