//! Databases and services that are not supported as inputs, each with the command that exports its
//! events to a file.

use std::path::{Path, PathBuf};

use turnmill_service::settings::{Environment, TrackerStore};
use turnmill_text::redact;

use crate::Failure;

/// A store that is not supported as an input.
struct UnsupportedStore {
    /// Its names in URLs and in `endpoints.yml`.
    names: &'static [&'static str],
    /// Its name in messages.
    called: &'static str,
    /// The command that exports its events to a file.
    dump: &'static str,
}

const UNSUPPORTED: &[UnsupportedStore] = &[
    UnsupportedStore {
        names: &["mysql"],
        called: "mysql",
        dump: "mysql --batch rasa -e 'SELECT * FROM events ORDER BY id' > events.tsv",
    },
    UnsupportedStore {
        names: &["mariadb"],
        called: "mariadb",
        dump: "mariadb --batch rasa -e 'SELECT * FROM events ORDER BY id' > events.tsv",
    },
    UnsupportedStore {
        names: &["oracle"],
        called: "oracle",
        dump: "printf 'set sqlformat csv\\nset feedback off\\nset long 100000000\\nSELECT * FROM events \
               ORDER BY id;\\n' \
               | sql -S USER@SERVICE > events.csv",
    },
    UnsupportedStore {
        names: &["mssql", "sqlserver"],
        called: "mssql",
        dump: "Invoke-Sqlcmd -Database rasa -Query 'SELECT * FROM events ORDER BY id' -MaxCharLength 100000000 \
               | Export-Csv events.csv -NoTypeInformation -Encoding UTF8",
    },
    UnsupportedStore {
        names: &["mongodb", "mongod", "mongo"],
        called: "mongodb",
        dump: "mongoexport --db=rasa --collection=conversations > conversations.json",
    },
    UnsupportedStore {
        names: &["redis", "rediss"],
        called: "redis",
        dump: "redis-cli --scan --pattern '*tracker:*' | while read -r key; do redis-cli GET \"$key\"; done \
               > trackers.json",
    },
    UnsupportedStore {
        names: &["dynamodb", "dynamo"],
        called: "dynamodb",
        dump: "aws dynamodb scan --table-name states --output json | jq -c '.Items[]' > states.json",
    },
    UnsupportedStore {
        names: &["amqp", "amqps", "pika", "rabbitmq"],
        called: "rabbitmq",
        dump: "rabbitmqadmin get queue=rasa_core_events count=100000 ackmode=ack_requeue_true \
               --format=raw_json > messages.json",
    },
    UnsupportedStore {
        names: &["redshift"],
        called: "redshift",
        dump: "psql REDSHIFT-URL --csv -c 'SELECT * FROM events ORDER BY id' > events.csv",
    },
];

fn find(name: &str) -> Option<&'static UnsupportedStore> {
    UNSUPPORTED.iter().find(|store| store.names.contains(&name))
}

impl UnsupportedStore {
    fn refusal(&self) -> String {
        format!(
            "{} is not supported as an input. Export its events to a file with: {}",
            self.called, self.dump
        )
    }
}

/// Returns why the input `text` is refused, or `None` if it is not a URL of an unsupported input.
///
/// The message contains nothing after the scheme, because it may contain a password.
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
    if let Some(store) = find(name).filter(|_| is_url || !Path::new(text).exists()) {
        return Some(store.refusal());
    }
    match name {
        "sqlite" if !Path::new(text).exists() => {
            let shown = redact(text);
            let rest = shown.split_once(':').map_or("PATH", |(_, rest)| rest);
            let path = rest.strip_prefix("///").unwrap_or(rest.trim_start_matches("//"));
            Some(format!("use the path of the SQLite tracker store, without a scheme: `{path}`"))
        }
        "file" if is_url => Some("use the path of the file, without `file://`".into()),
        "kafka" if is_url => {
            Some("use `kafka:TOPIC` for a topic, and `--brokers HOST:PORT` for its brokers".into())
        }
        "http" | "https" if is_url => Some(format!(
            "`{name}` URLs are not supported: download the file first, for example with `curl -o tracker.json URL`"
        )),
        "s3" | "gs" | "abfs" | "abfss" | "az" | "hdfs" | "ftp" | "sftp" if is_url => {
            Some(format!("`{name}` URLs are not supported: copy the file to this machine first"))
        }
        _ if is_url && !matches!(name, "postgresql" | "postgres") => Some(format!(
            "`{name}` URLs are not supported: expected a file, a directory, `-`, `postgresql://…` or `kafka:TOPIC`"
        )),
        _ => None,
    }
}

/// Returns the tracker store in the file `endpoints` as an input.
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
            Some(store) => store.refusal(),
            None => format!(
                "type `{}` is not supported, only `SQL` with the dialect `sqlite` or `postgresql`; save the \
                 trackers to files \
                 with `GET /conversations/ID/tracker` of the assistant",
                store.kind
            ),
        }));
    }
    match store.dialect() {
        "sqlite" => sqlite_file(&store.database, endpoints).map_err(refused),
        "postgresql" | "postgres" => Ok(store.url().into()),
        other => Err(refused(match find(other) {
            Some(store) => store.refusal(),
            None => format!("dialect `{other}` is not supported, only `sqlite` and `postgresql`"),
        })),
    }
}

/// Returns the file of a SQLite store. Rasa resolves it against its working directory, usually that
/// of `endpoints.yml`.
fn sqlite_file(database: &str, endpoints: &Path) -> Result<PathBuf, String> {
    if database == ":memory:" {
        return Err(
            "`:memory:` existed only in the process that wrote it, so there is nothing to read".into()
        );
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
    fn unsupported_urls_are_refused_with_an_alternative() {
        for (url, name, way_out) in [
            ("mysql+pymysql://rasa:hush@db/rasa", "mysql is not supported", "--batch"),
            ("MariaDB://rasa:hush@db/rasa", "mariadb is not supported", "events.tsv"),
            ("oracle+cx_oracle://rasa:hush@db/rasa", "oracle is not supported", "sqlformat csv"),
            ("mssql+pyodbc://rasa:hush@db/rasa", "mssql is not supported", "Export-Csv"),
            ("mongodb+srv://rasa:hush@db/rasa", "mongodb is not supported", "mongoexport"),
            ("rediss://:hush@db/0", "redis is not supported", "redis-cli"),
            ("dynamodb:states-hush", "dynamodb is not supported", "aws dynamodb scan"),
            ("amqp://rasa:hush@broker", "rabbitmq is not supported", "raw_json"),
            ("https://rasa:hush@host/tracker", "not supported", "curl"),
            ("s3://hush/key", "not supported", "copy"),
            ("gopher://hush", "`gopher` URLs are not supported", "kafka:TOPIC"),
            ("kafka://hush", "use `kafka:TOPIC`", "--brokers"),
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
