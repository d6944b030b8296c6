//! Reads the `tracker_store` of an assistant's `endpoints.yml`, for tools that read the store as
//! `rasa export` does.

use std::fmt;
use std::path::Path;

use saphyr::YamlData;
use turnmill_text::{check_brokers, check_host};

use super::endpoints::{Reader, class_of_rasa, entry};
use super::environment::Environment;
use super::problem::Problem;

/// Rasa's defaults for missing keys.
const DEFAULT_DIALECT: &str = "sqlite";
const DEFAULT_DATABASE: &str = "rasa.db";
/// The variable that names the PostgreSQL schema of Rasa's tables.
const SCHEMA_VARIABLE: &str = "POSTGRESQL_SCHEMA";

/// The section `tracker_store` with its variables expanded. `Debug` shows no password.
///
/// ```
/// use std::path::Path;
/// use turnmill_service::settings::{Environment, TrackerStore};
///
/// let text = "tracker_store:\n  type: SQL\n  dialect: postgresql\n  url: db\n  username: rasa\n  password: ${DB_PASSWORD}\n";
/// let environment = Environment::from([("DB_PASSWORD", "a@b")]);
/// let store = TrackerStore::read(Path::new("endpoints.yml"), text, &environment).unwrap();
/// assert!(store.is_sql());
/// assert_eq!(store.url(), "postgresql://rasa:a%40b@db/rasa.db");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrackerStore {
    /// The type in lower case, such as `sql` or `mongod`.
    pub kind: String,
    /// SQL dialect with its driver, if one is named: `postgresql+psycopg2`.
    pub dialect: String,
    /// Name of the database. For SQLite, path of the file.
    pub database: String,
    host: Option<String>,
    port: Option<String>,
    username: Option<String>,
    password: Option<String>,
    query: Vec<(String, String)>,
}

impl fmt::Debug for TrackerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackerStore")
            .field("kind", &self.kind)
            .field("dialect", &self.dialect)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl TrackerStore {
    /// Reads the section from the text of an `endpoints.yml`.
    ///
    /// # Errors
    ///
    /// Returns all problems with this section. Other sections are not checked.
    pub fn read(path: &Path, text: &str, environment: &Environment) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let section = "tracker_store";
        let mut reader = Reader { path: path.to_owned(), section, environment, problems: &mut problems };
        let store = read(&mut reader, text);
        match store.filter(|_| problems.is_empty()) {
            Some(mut store) => {
                let schema = environment.get(SCHEMA_VARIABLE).filter(|schema| !schema.is_empty());
                if let Some(schema) = schema.filter(|_| store.dialect.starts_with("postgres")) {
                    store.query.push(("options".into(), format!("-csearch_path={schema}")));
                }
                Ok(store)
            }
            None => Err(problems),
        }
    }

    /// Returns whether the store is a `SQLTrackerStore`.
    #[must_use]
    pub fn is_sql(&self) -> bool {
        self.kind == "sql"
    }

    /// Returns the dialect without its driver: `postgresql`.
    #[must_use]
    pub fn dialect(&self) -> &str {
        self.dialect.split('+').next().unwrap_or_default()
    }

    /// Returns the URL of the database server as SQLAlchemy builds it. It contains the password.
    #[must_use]
    pub fn url(&self) -> String {
        // Rasa uses a whole URL in place of a host unchanged.
        if let Some(host) = self.host.as_ref().filter(|host| host.contains("://")) {
            return host.clone();
        }
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let mut url = format!("{}://", self.dialect());
        if let Some(username) = &self.username {
            url.push_str(&encode(username));
            if let Some(password) = &self.password {
                url.push(':');
                url.push_str(&encode(password));
            }
            url.push('@');
        }
        let host = self.host.as_deref().unwrap_or("localhost").trim_end_matches('/');
        url.push_str(host);
        if let Some(port) =
            self.port.as_ref().filter(|_| !host.rsplit('@').next().unwrap_or_default().contains(':'))
        {
            url.push(':');
            url.push_str(port);
        }
        url.push('/');
        url.push_str(&self.database);
        for (index, (key, value)) in self.query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            url.push_str(key);
            url.push('=');
            url.push_str(&encode(value));
        }
        url
    }
}

/// Reads the section. Returns `None`, and adds a problem, if it is invalid.
fn read(reader: &mut Reader<'_>, text: &str) -> Option<TrackerStore> {
    let documents = reader.documents(text)?;
    let Some((line, section)) = documents.first().and_then(|document| entry(document, reader.section)) else {
        let detail = "no `tracker_store` found, so Rasa keeps conversations in memory only and there is \
                      nothing to read";
        reader.problem(1, detail.into());
        return None;
    };
    let mut scalar = |key| reader.scalar(section, key).map(|(_, text)| text);
    let store = TrackerStore {
        kind: {
            let kind = scalar("type").unwrap_or_default();
            let class = class_of_rasa(&kind, "TrackerStore").unwrap_or(&kind);
            class.to_ascii_lowercase()
        },
        dialect: scalar("dialect").unwrap_or_else(|| DEFAULT_DIALECT.into()).to_ascii_lowercase(),
        database: scalar("db").unwrap_or_else(|| DEFAULT_DATABASE.into()),
        host: scalar("url"),
        port: scalar("port"),
        username: scalar("username"),
        password: scalar("password"),
        query: Vec::new(),
    };
    if matches!(store.kind.as_str(), "" | "inmemory" | "in_memory") {
        let detail = "the tracker store keeps conversations in memory only, so there is nothing to read";
        reader.problem(line, detail.into());
        return None;
    }
    // Not shown: the value may be a whole connection string with a password in it.
    let is_host = |host: &str| {
        let host = host.trim_end_matches('/');
        host.contains("://") || host.contains('@') || check_brokers(host).is_ok() || check_host(host).is_ok()
    };
    if store.kind == "sql"
        && let Some((line, _)) =
            reader.scalar(section, "url").filter(|(_, host)| !host.is_empty() && !is_host(host))
    {
        let detail = "tracker_store.url is no host: expected its name or address, or a URL such as \
                      postgresql://USER@HOST/DATABASE";
        reader.problem(line, detail.into());
        return None;
    }
    let mut query = Vec::new();
    if let Some((_, parameters)) = entry(section, "query")
        && let YamlData::Mapping(mapping) = &parameters.data
    {
        let keys = mapping.keys().filter_map(|key| match &key.data {
            YamlData::Representation(text, _, _) => Some(text.to_string()),
            _ => None,
        });
        for key in keys {
            if let Some((_, value)) = reader.scalar(parameters, &key) {
                query.push((key, value));
            }
        }
    }
    Some(TrackerStore { query, ..store })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_of_rasa_is_what_its_name_says() {
        for (kind, expected) in [
            ("rasa.core.tracker_store.SQLTrackerStore", "sql"),
            ("rasa.core.tracker_stores.mongo_tracker_store.MongoTrackerStore", "mongo"),
            ("project.store.SQLTrackerStore", "project.store.sqltrackerstore"),
        ] {
            assert_eq!(store(&format!("tracker_store:\n  type: {kind}\n")).unwrap().kind, expected);
        }
        assert!(store("tracker_store:\n  type: rasa.core.tracker_store.InMemoryTrackerStore\n").is_err());
    }

    #[test]
    fn a_connection_string_is_no_host_and_not_shown() {
        let read = |url: &str| {
            store(&format!("tracker_store:\n  type: SQL\n  dialect: postgresql\n  url: \"{url}\"\n"))
        };
        for url in [
            "host=db user=u password='hush=x'",
            "Server=db;Password=hush?x;Database=y",
            "db name",
            "hush?x",
            "db:hush",
        ] {
            let shown = read(url).unwrap_err();
            assert!(shown.contains("endpoints.yml:4") && shown.contains("no host"), "{shown}");
            assert!(!shown.contains("hush"), "{shown}");
        }
        for url in [
            "db",
            "db.example.net:5433",
            "10.0.0.1",
            "postgresql://u:x@db/y",
            "[::1]:5432",
            "::1",
            "/run/db",
            "a_b",
        ] {
            assert!(read(url).is_ok(), "{url}");
        }
    }

    fn store(text: &str) -> Result<TrackerStore, String> {
        let environment = Environment::from([("PASS", "a/b@c"), ("EMPTY", "")]);
        TrackerStore::read(Path::new("endpoints.yml"), text, &environment)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn sections_are_read_as_rasa_does() {
        let all = store(
            "action_endpoint:\n  url: ${NOT_SET}\ntracker_store:\n  type: SQL\n  dialect: \
             PostgreSQL+psycopg2\n  url: db.example.net\n  \
             port: 5433\n  db: rasa\n  username: me@site\n  password: ${PASS}\n  query:\n    sslmode: require\n",
        );
        assert_eq!(
            all.unwrap().url(),
            "postgresql://me%40site:a%2Fb%40c@db.example.net:5433/rasa?sslmode=require"
        );
        let sqlite = store("tracker_store:\n  type: SQL\n").unwrap();
        assert_eq!((sqlite.dialect(), sqlite.database.as_str()), ("sqlite", "rasa.db"));
        let whole =
            store("tracker_store:\n  type: sql\n  dialect: postgresql\n  url: postgresql://a:b@c/d\n")
                .unwrap();
        assert_eq!(whole.url(), "postgresql://a:b@c/d");
        assert_eq!(store("tracker_store:\n  type: mongod\n  url: mongodb://x\n").unwrap().kind, "mongod");
        assert!(
            !format!("{:?}", store("tracker_store:\n  type: redis\n  password: hush\n").unwrap())
                .contains("hush")
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("models: {}\n", "no `tracker_store` found"),
            ("tracker_store:\n  type: InMemory\n", "in memory only"),
            ("tracker_store:\n  type: SQL\n  db: ${NAME}\n", "tracker_store.db: variable NAME is not set"),
            ("tracker_store: [", "invalid YAML"),
        ] {
            let error = store(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
