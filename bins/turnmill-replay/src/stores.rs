//! Databases and services that are not read: the line that writes what they hold into a file that is.

use std::path::{Path, PathBuf};

use turnmill_service::settings::{Environment, TrackerStore};
use turnmill_text::redact;

use crate::Failure;

/// A store that is not read, and how its events get into a file.
struct Unread {
    /// Its name in URLs and in `endpoints.yml`.
    names: &'static [&'static str],
    /// What it is called.
    called: &'static str,
    /// The command that writes a file that is read.
    dump: &'static str,
}

const UNREAD: &[Unread] = &[
    Unread {
        names: &["mysql"],
        called: "mysql",
        dump: "mysql --batch rasa -e 'SELECT * FROM events ORDER BY id' > events.tsv",
    },
    Unread {
        names: &["mariadb"],
        called: "mariadb",
        dump: "mariadb --batch rasa -e 'SELECT * FROM events ORDER BY id' > events.tsv",
    },
    Unread {
        names: &["oracle"],
        called: "oracle",
        dump: "printf 'set sqlformat csv\\nset feedback off\\nset long 100000000\\nSELECT * FROM events ORDER BY id;\\n' \
               | sql -S USER@SERVICE > events.csv",
    },
    Unread {
        names: &["mssql", "sqlserver"],
        called: "mssql",
        dump: "Invoke-Sqlcmd -Database rasa -Query 'SELECT * FROM events ORDER BY id' -MaxCharLength 100000000 \
               | Export-Csv events.csv -NoTypeInformation -Encoding UTF8",
    },
    Unread {
        names: &["mongodb", "mongod", "mongo"],
        called: "mongodb",
        dump: "mongoexport --db=rasa --collection=conversations > conversations.json",
    },
    Unread {
        names: &["redis", "rediss"],
        called: "redis",
        dump: "redis-cli --scan --pattern '*tracker:*' | while read -r key; do redis-cli GET \"$key\"; done > trackers.json",
    },
    Unread {
        names: &["dynamodb", "dynamo"],
        called: "dynamodb",
        dump: "aws dynamodb scan --table-name states --output json | jq -c '.Items[]' > states.json",
    },
    Unread {
        names: &["amqp", "amqps", "pika", "rabbitmq"],
        called: "rabbitmq",
        dump: "rabbitmqadmin get queue=rasa_core_events count=100000 ackmode=ack_requeue_true --format=raw_json > messages.json",
    },
    Unread {
        names: &["redshift"],
        called: "redshift",
        dump: "psql REDSHIFT-URL --csv -c 'SELECT * FROM events ORDER BY id' > events.csv",
    },
];

fn find(name: &str) -> Option<&'static Unread> {
    UNREAD.iter().find(|unread| unread.names.contains(&name))
}

impl Unread {
    fn refusal(&self) -> String {
        format!("{} is not read. This writes a file that is: {}", self.called, self.dump)
    }
}

/// Why the input `text` is refused, if it is the URL of something that is not read. Nothing behind its scheme is shown,
/// because a password may stand there.
pub(crate) fn refused_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let is_url = rest.starts_with("//");
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
    if !is_scheme {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let name = scheme.split('+').next().unwrap_or_default();
    if let Some(unread) = find(name).filter(|_| is_url || !Path::new(text).exists()) {
        return Some(unread.refusal());
    }
    match name {
        "sqlite" if !Path::new(text).exists() => {
            let shown = redact(text);
            let rest = shown.split_once(':').map_or("PATH", |(_, rest)| rest);
            let path = rest.strip_prefix("///").unwrap_or(rest.trim_start_matches("//"));
            Some(format!("a SQLite tracker store is named by its file alone: `{path}`"))
        }
        "file" if is_url => Some("a file is named by its path alone, without `file://`".into()),
        "kafka" if is_url => Some("a topic is `kafka:TOPIC`; `--brokers HOST:PORT` says where it is".into()),
        "http" | "https" if is_url => Some(format!(
            "`{name}` URLs are not read: fetch the file first, for example with `curl -o tracker.json URL`"
        )),
        "s3" | "gs" | "abfs" | "abfss" | "az" | "hdfs" | "ftp" | "sftp" if is_url => {
            Some(format!("`{name}` URLs are not read: copy the file to this machine first"))
        }
        _ if is_url && !matches!(name, "postgresql" | "postgres") => Some(format!(
            "`{name}` is no input that is known: expected a file, a folder, `-`, `postgresql://…` or `kafka:TOPIC`"
        )),
        _ => None,
    }
}

/// The input that the tracker store of the file `endpoints` is.
pub(crate) fn of_endpoints(endpoints: &Path) -> Result<PathBuf, Failure> {
    let name = endpoints.display();
    let text = std::fs::read_to_string(endpoints)
        .map_err(|source| Failure::Endpoints { path: name.to_string(), source })?;
    let refused = |problem: String| Failure::Refused(format!("tracker store of `{name}`: {problem}"));
    let store = TrackerStore::read(endpoints, &text, &Environment::of_process()).map_err(|problems| {
        Failure::Refused(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    if !store.is_sql() {
        return Err(refused(match find(&store.kind) {
            Some(unread) => unread.refusal(),
            None => format!(
                "the type `{}` is not read, only `SQL` with the dialect `sqlite` or `postgresql`; write the trackers into files with \
                 `GET /conversations/ID/tracker` of the assistant",
                store.kind
            ),
        }));
    }
    match store.dialect() {
        "sqlite" => sqlite_file(&store.database, endpoints).map_err(refused),
        "postgresql" | "postgres" => Ok(store.url().into()),
        other => Err(refused(match find(other) {
            Some(unread) => unread.refusal(),
            None => format!("the dialect `{other}` is not read, only `sqlite` and `postgresql`"),
        })),
    }
}

/// The file of a store in SQLite. Rasa looks for it where it was started, which is mostly beside the endpoints.
fn sqlite_file(database: &str, endpoints: &Path) -> Result<PathBuf, String> {
    if database == ":memory:" {
        return Err("`:memory:` is gone with the process that wrote it, so there is nothing to read".into());
    }
    let here = PathBuf::from(database);
    let beside = endpoints.parent().map(|folder| folder.join(database));
    Ok(match beside {
        Some(beside) if !here.exists() && beside.exists() => beside,
        _ => here,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn urls_are_refused_by_name_with_a_way_out() {
        for (url, name, way_out) in [
            ("mysql+pymysql://rasa:hush@db/rasa", "mysql is not read", "--batch"),
            ("MariaDB://rasa:hush@db/rasa", "mariadb is not read", "events.tsv"),
            ("oracle+cx_oracle://rasa:hush@db/rasa", "oracle is not read", "sqlformat csv"),
            ("mssql+pyodbc://rasa:hush@db/rasa", "mssql is not read", "Export-Csv"),
            ("mongodb+srv://rasa:hush@db/rasa", "mongodb is not read", "mongoexport"),
            ("rediss://:hush@db/0", "redis is not read", "redis-cli"),
            ("dynamodb:states-hush", "dynamodb is not read", "aws dynamodb scan"),
            ("amqp://rasa:hush@broker", "rabbitmq is not read", "raw_json"),
            ("https://rasa:hush@host/tracker", "not read", "curl"),
            ("s3://hush/key", "not read", "copy"),
            ("gopher://hush", "`gopher` is no input", "kafka:TOPIC"),
            ("kafka://hush", "a topic is `kafka:TOPIC`", "--brokers"),
        ] {
            let refusal = refused_url(url).unwrap();
            assert!(refusal.contains(name) && refusal.contains(way_out), "{refusal}");
            assert!(!refusal.contains("hush"), "{refusal}");
        }
        assert!(refused_url("sqlite:///tracker.db").unwrap().ends_with("`tracker.db`"));
        assert!(refused_url("sqlite:////var/tracker.db").unwrap().ends_with("`/var/tracker.db`"));
        for input in
            ["events.json", "a:b", "kafka:topic", "postgresql+psycopg2://db/rasa", "C:/events.json", "-"]
        {
            assert_eq!(refused_url(input), None, "{input}");
        }
    }
}
