//! Passwords that an address lacks: from the environment and from PostgreSQL's password file.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use turnmill_text::Secret;

use crate::address::PostgresAddress;

/// Sources of passwords that an address lacks.
///
/// They are used in this order: `TURNMILL_DB_PASSWORD`, `PGPASSWORD`, and the password file.
/// `PGPASSFILE` names the file; the default is `~/.pgpass`.
///
/// A command line is visible to every user of a machine. An environment and a file are not.
///
/// ```no_run
/// use turnmill_postgres::{Passwords, PostgresAddress};
/// let address: PostgresAddress = "postgresql://reader@db/analytics".parse()?;
/// let address = address.or_password_from(&Passwords::of_process());
/// # Ok::<(), turnmill_postgres::AddressError>(())
/// ```
#[derive(Clone, Default)]
pub struct Passwords {
    variable: Option<Secret>,
    file: Option<PathBuf>,
    /// The user to find where the address has none.
    user: Option<String>,
}

impl Passwords {
    /// Returns the sources in this process's environment.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// Returns the sources in an environment. `variable` returns the value of a name.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name)?.into_string().ok();
        // A mounted file ends with a line break that is not part of the password.
        let ours = text("TURNMILL_DB_PASSWORD").map(|word| word.trim_end_matches(['\r', '\n']).to_owned());
        let in_home = || Some(PathBuf::from(set("HOME")?).join(".pgpass"));
        Self {
            variable: ours.filter(|word| !word.is_empty()).or_else(|| text("PGPASSWORD")).map(Secret::new),
            file: set("PGPASSFILE").map(PathBuf::from).or_else(in_home),
            user: text("USER").or_else(|| text("LOGNAME")),
        }
    }

    /// Returns why the password file is not used, if other users can read it. PostgreSQL's own
    /// tools ignore such a file too.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let file = self.file.as_deref().filter(|_| self.variable.is_none())?;
        is_open_to_others(file).then(|| {
            let file = turnmill_text::escaped(&file.to_string_lossy()).to_string();
            format!("the password file `{file}` is not used, because others can read it: chmod 600 {file}")
        })
    }

    /// Returns the password for a database, if there is one.
    pub(crate) fn find(&self, address: &PostgresAddress) -> Option<Secret> {
        if let Some(password) = &self.variable {
            return Some(password.clone());
        }
        let file = self.file.as_deref().filter(|file| !is_open_to_others(file))?;
        let text = std::fs::read_to_string(file).ok()?;
        let user = address.user().or(self.user.as_deref())?;
        let database = address.database().unwrap_or(user);
        address.hosts().iter().find_map(|(host, port)| password_file(&text, host, *port, database, user))
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("variable", &self.variable).field("file", &self.file).finish()
    }
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    // A pipe, which shells make for `<(...)`, has no lasting content.
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

/// Finds a password in the text of a password file.
///
/// Lines are `host:port:database:user:password`. `*` matches everything, and a backslash escapes
/// `:` and `\`. The first match wins. A socket's folder counts as `localhost`.
///
/// ```
/// use turnmill_postgres::password_file;
/// let text = "# ours\ndb:*:analytics:reader:se\\:cret\n*:*:*:reader:other\n";
/// let word = |host| password_file(text, host, 5432, "analytics", "reader").map(|word| word.expose().to_owned());
/// assert_eq!(word("db").as_deref(), Some("se:cret"));
/// assert_eq!(word("elsewhere").as_deref(), Some("other"));
/// assert_eq!(password_file(text, "db", 5432, "analytics", "writer"), None);
/// ```
#[must_use]
pub fn password_file(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<Secret> {
    let host = if host.starts_with('/') { "localhost" } else { host };
    let port = port.to_string();
    let matches = |fields: &[String]| match fields {
        [h, p, d, u, password] => {
            let is = |field: &str, value: &str| field == "*" || field == value;
            (is(h, host) && is(p, &port) && is(d, database) && is(u, user)).then(|| Secret::new(password))
        }
        _ => None,
    };
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| matches(&fields(line)))
}

/// Splits a line into five fields. The last one is the rest, so a colon in a password needs no
/// escape.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.trim_end_matches('\r').chars();
    while let Some(c) = characters.next() {
        let count = fields.len();
        let Some(field) = fields.last_mut() else { break };
        match c {
            '\\' => field.extend(characters.next()),
            ':' if count < 5 => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}
