//! Checks that no command shows a password, however and wherever an address is written. No command
//! needs one on its command line.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use turnmill_postgres::PostgresAddress;

use crate::support::{json, replay, run, turnmill};

/// Ways to write an address, right and wrong; `SECRET` is the password.
const WAYS: &str = include_str!("../../../../crates/turnmill-text/tests/addresses.txt");
/// Time after which a command that has found nothing wrong is ended.
const LIMIT: Duration = Duration::from_secs(3);

const EVENT: &str = r#"{"sender_id": "u1", "event": "user", "timestamp": 1700000000.5, "text": "hi"}"#;
const MARKERS: &str = "m:\n  intent: greet\n";

/// A folder with an input, markers and an empty settings file.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.jsonl"), format!("{EVENT}\n")).unwrap();
    std::fs::write(folder.path().join("m.yml"), MARKERS).unwrap();
    folder
}

/// Returns the command's output until it ends or is ended.
fn said(mut command: Command, folder: &TempDir) -> String {
    for name in ["TURNMILL_DB_PASSWORD", "PGPASSWORD", "PGPASSFILE", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    let place = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(place("out")).stderr(place("err"));
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > LIMIT {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let read =
        |name: &str| String::from_utf8_lossy(&std::fs::read(folder.path().join(name)).unwrap()).into_owned();
    format!("{}{}", read("out"), read("err"))
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Command {
    command.envs(variables.iter().copied());
    command
}

/// Returns every command that takes an address, with this one in each place, also where it does not
/// belong.
fn commands(way: &str) -> Vec<Command> {
    let to = format!("--to={way}");
    let kafka = format!("kafka:{way}");
    let database = [("KAFKA_BROKER_ADDRESS", "127.0.0.1:1"), ("RASA_ANALYTICS_DB_URL", way)];
    let brokers = [("RASA_ANALYTICS_DB_URL", "sqlite:x.sqlite"), ("KAFKA_BROKER_ADDRESS", way)];
    let host = [
        ("KAFKA_BROKER_ADDRESS", "127.0.0.1:1"),
        ("RASA_ANALYTICS_DB_HOST_NAME", way),
        ("RASA_ANALYTICS_DB_NAME", "x"),
        ("RASA_ANALYTICS_DB_USERNAME", way),
    ];
    let topic = [("KAFKA_TOPIC", way), ("RASA_ANALYTICS_DLQ", way)];
    let mut commands = vec![
        // Settings, without connecting to anything.
        with(turnmill(&["check"]), &database),
        with(turnmill(&["check"]), &brokers),
        with(turnmill(&["check"]), &host),
        with(with(turnmill(&["check"]), &brokers), &topic),
        turnmill(&["check", "--database-url", way, "--kafka-brokers", "127.0.0.1:1"]),
        turnmill(&["check", "--kafka-brokers", way]),
        turnmill(&["check", "--config", way]),
        turnmill(&["check", "--endpoints", way]),
        with(turnmill(&["run"]), &brokers),
        // The address is where it does not belong.
        turnmill(&[way]),
        turnmill(&["verify", "sqlite:none.sqlite", way]),
        turnmill(&["verify", "sqlite:none.sqlite", "--schema", way, way]),
        turnmill(&["dead-letters", "show", "1", way]),
        turnmill(&["dead-letters", "list", "sqlite:none.sqlite", "--reason", way]),
        turnmill(&["positions", "set", "sqlite:none.sqlite", "s", "p", way]),
        turnmill(&["markers", "check", way]),
        turnmill(&["markers", "explain", "m", "--session", way, "--on", "sqlite:none.sqlite"]),
        turnmill(&["markers", "remove", way, "--on", "sqlite:none.sqlite"]),
        replay(&["in.jsonl", "--dry-run", "--format", way]),
        replay(&["in.jsonl", "--to", "sqlite:x.sqlite", "--since", way]),
        replay(&["in.jsonl", "--dry-run", "--batch", way]),
        replay(&["in.jsonl", "--dump", way, "--to", way]),
        replay(&["kafka:topic", "--dry-run", "--brokers", way]),
        with(replay(&["kafka:topic", "--dry-run"]), &[("KAFKA_BROKER_ADDRESS", way)]),
    ];
    // The command connects to a usable address, and needs a while to find no server there.
    let usable = way.parse::<PostgresAddress>().is_ok() || way.starts_with("http://");
    if !usable {
        commands.extend([
            with(turnmill(&["run"]), &database),
            with(turnmill(&["run"]), &host),
            with(turnmill(&["check", "--connect"]), &database),
            turnmill(&["verify", way]),
            turnmill(&["verify", way, "--json"]),
            turnmill(&["dead-letters", "list", way]),
            turnmill(&["dead-letters", "show", way, "1"]),
            turnmill(&["dead-letters", "retry", way]),
            turnmill(&["positions", "list", way]),
            turnmill(&["positions", "set", way, "s", "p", "0"]),
            turnmill(&["rebuild", way]),
            turnmill(&["markers", "list", "--on", way]),
            turnmill(&["markers", "upload", "m.yml", "--on", way]),
            turnmill(&["markers", "remove", "m", "--on", way]),
            turnmill(&["markers", "preview", "m.yml", "--on", way]),
            turnmill(&["markers", "backfill", "--on", way]),
            turnmill(&["markers", "evaluate", way, "--markers", "m.yml", "--out", "o.csv"]),
            replay(&[way, "--to", "sqlite:x.sqlite"]),
            replay(&[way, "--dry-run"]),
            replay(&["--from", way, "--dry-run", "--json"]),
            replay(&["in.jsonl", "--to", way]),
            replay(&["in.jsonl", &to]),
            replay(&[&kafka, "--dry-run", "--brokers", "127.0.0.1:1"]),
        ]);
    }
    commands
}

#[test]
fn no_command_shows_a_password() {
    let ways: Vec<&str> = WAYS.lines().collect();
    assert!(ways.len() > 60, "{}", ways.len());
    let shares: Vec<&[&str]> = ways.chunks(ways.len().div_ceil(4)).collect();
    let leaks: Vec<String> = std::thread::scope(|scope| {
        let started: Vec<_> = shares.iter().map(|share| scope.spawn(|| leaks(share))).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

/// Returns the commands that show the password of one of these addresses, with the line that does.
fn leaks(ways: &[&str]) -> Vec<String> {
    let folder = folder();
    let mut leaks = Vec::new();
    for way in ways {
        // A name that has to be looked up takes time where there is no network.
        let way = way.replace("@h", "@127.9.9.9");
        for command in commands(&way) {
            let shown = format!("{command:?}");
            let text = said(command, &folder);
            leaks.extend(
                text.lines().find(|line| line.contains("SECRET")).map(|line| format!("{shown}: {line}")),
            );
        }
    }
    leaks
}

#[test]
fn an_address_that_can_be_used_shows_no_password_when_its_server_is_away() {
    let folder = folder();
    let way = "postgresql://u:SECRET@x@127.0.0.1:1/x";
    for command in [
        turnmill(&["verify", way]),
        turnmill(&["markers", "list", "--on", "http://u:SECRET@127.0.0.1:1/"]),
        replay(&[way, "--dry-run"]),
        replay(&["in.jsonl", "--to", way]),
        with(
            turnmill(&["check", "--connect"]),
            &[("RASA_ANALYTICS_DB_URL", way), ("KAFKA_BROKER_ADDRESS", "127.0.0.1:1")],
        ),
        with(
            turnmill(&["run"]),
            &[
                ("RASA_ANALYTICS_DB_URL", way),
                ("KAFKA_BROKER_ADDRESS", "127.0.0.1:1"),
                ("TURNMILL_HTTP_ADDRESS", "127.0.0.1:0"),
            ],
        ),
    ] {
        let text = said(command, &folder);
        assert!(!text.is_empty() && !text.contains("SECRET") && !text.contains("@x@"), "{text}");
    }
}

/// Creates a database. Returns its address without the password, and the password.
fn database() -> Option<(String, String)> {
    let url = turnmill_testbed::postgres::database()?;
    let address: PostgresAddress = url.parse().unwrap();
    let password = address.password().unwrap().expose().to_owned();
    let without = url.replace(&format!(":{password}@"), "@");
    assert!(without != url, "{without}");
    Some((without, password))
}

#[test]
fn every_tool_takes_the_password_from_the_environment_or_the_password_file() {
    let Some((store, password)) = database() else { return };
    let folder = folder();
    let input = folder.path().join("in.jsonl");
    let file = folder.path().join("passwords");
    std::fs::write(&file, format!("# ours\n*:*:*:*:{password}\n")).unwrap();
    let rights = |mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    rights(0o600);
    let file_name = file.to_str().unwrap();
    let ways =
        [("TURNMILL_DB_PASSWORD", password.as_str()), ("PGPASSWORD", &password), ("PGPASSFILE", file_name)];
    let clean = |mut command: Command| {
        for name in ["TURNMILL_DB_PASSWORD", "PGPASSWORD", "PGPASSFILE"] {
            command.env_remove(name);
        }
        command.env("HOME", folder.path());
        command
    };
    let input = input.to_str().unwrap();
    for way in ways {
        run(with(clean(replay(&[input, "--to", &store])), &[way]), 0);
        assert_eq!(
            json(with(clean(turnmill(&["verify", &store, "--json"])), &[way]), 0)["ledger"][0]["events"],
            1
        );
        run(with(clean(turnmill(&["dead-letters", "list", &store])), &[way]), 0);
        run(with(clean(turnmill(&["positions", "list", &store])), &[way]), 0);
        run(with(clean(turnmill(&["rebuild", &store])), &[way]), 0);
        run(with(clean(turnmill(&["markers", "list", "--on", &store])), &[way]), 0);
        // The database is no tracker store, but the log-in has worked.
        let output = run(with(clean(replay(&[&store, "--dry-run"])), &[way]), 1);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("no table `events`"), "{error}");
    }
    // The file is found at its usual place, and not used if others can read it.
    std::fs::rename(&file, folder.path().join(".pgpass")).unwrap();
    run(clean(turnmill(&["verify", &store])), 0);
    std::fs::rename(folder.path().join(".pgpass"), &file).unwrap();
    rights(0o644);
    let output = run(with(clean(turnmill(&["verify", &store])), &[("PGPASSFILE", file_name)]), 1);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("TURNMILL_DB_PASSWORD") && error.contains("chmod 600"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_new_sqlite_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let mut command = Command::new("sh");
    let program = replay(&[]).get_program().to_str().unwrap().to_owned();
    command.args(["-c", &format!("umask 0; exec {program} in.jsonl --follow --to sqlite:x.sqlite -q")]);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let files = ["x.sqlite", "x.sqlite-wal", "x.sqlite-shm"].map(|name| folder.path().join(name));
    let began = Instant::now();
    while !files.iter().all(|file| file.exists()) && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let modes: Vec<u32> = files
        .iter()
        .map(|file| std::fs::metadata(file).map_or(0, |file| file.permissions().mode() & 0o777))
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(modes, [0o600; 3]);
}

#[cfg(unix)]
#[test]
fn settings_that_everybody_can_change_are_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let file = folder.path().join("turnmill.toml");
    std::fs::write(&file, "[kafka]\nbrokers = \"127.0.0.1:1\"\n[database]\nurl = \"sqlite:x.sqlite\"\n")
        .unwrap();
    for (mode, warned) in [(0o644, false), (0o664, false), (0o666, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = said(turnmill(&["check"]), &folder);
        assert_eq!(
            text.contains("turnmill.toml is writable by every user of this machine"),
            warned,
            "{mode:o}: {text}"
        );
    }
}
