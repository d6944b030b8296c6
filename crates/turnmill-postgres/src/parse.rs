//! Parser of database URLs, in the forms of libpq and SQLAlchemy.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use turnmill_text::{Secret, redact};

use crate::address::{Binding, PostgresAddress, RootCert, SessionAttrs};
use crate::error::{AddressError, shown};

const PORT: u16 = 5432;
const PARAMETERS: &str = "application_name, channel_binding, client_encoding, connect_timeout, dbname, \
                          gssencmode, host, hostaddr, \
    keepalives, keepalives_count, keepalives_idle, keepalives_interval, load_balance_hosts, options, password, port, \
    sslcert, sslkey, sslmode, sslnegotiation, sslrootcert, target_session_attrs, tcp_user_timeout, user";

impl PostgresAddress {
    /// Returns whether `url` has the scheme of a PostgreSQL database: `postgresql://` or
    /// `postgres://`, also with a Python driver as in `postgresql+psycopg2://`.
    ///
    /// ```
    /// use turnmill_postgres::PostgresAddress;
    /// assert!(PostgresAddress::is_url("postgresql+psycopg2://db/rasa"));
    /// assert!(!PostgresAddress::is_url("redshift://db/rasa"));
    /// ```
    #[must_use]
    pub fn is_url(url: &str) -> bool {
        let Some((scheme, _)) = url.trim_start().split_once("://") else { return false };
        let base = scheme.split_once('+').map_or(scheme, |(base, _)| base);
        base.eq_ignore_ascii_case("postgresql") || base.eq_ignore_ascii_case("postgres")
    }
}

impl FromStr for PostgresAddress {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        if !Self::is_url(url) {
            return Err(AddressError::Scheme { address: turnmill_text::escaped(&redact(url)).to_string() });
        }
        let rest = url.trim().split_once("://").map_or("", |(_, rest)| rest);
        let (target, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            // One of the two belongs to the password, and its end is unknown.
            let problem = "a `?` before its last `@` (a `?` in a password is %3F, an `@` in a parameter %40)";
            return Err(AddressError::Malformed { problem: problem.into() });
        }
        // Split at the last `@`: a password may contain `@`, `/` and `#`, a host may not.
        let (login, target) = target.rsplit_once('@').unwrap_or(("", target));
        let (hosts, database) = target.split_once('/').unwrap_or((target, ""));
        let mut address = Self::default();
        if !login.is_empty() {
            let (user, password) =
                login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
            address.user = Some(decoded(user, "a user")?).filter(|user| !user.is_empty());
            address.password =
                password.map(|word| decoded(word, "a password").map(Secret::new)).transpose()?;
        }
        if !hosts.is_empty() {
            address.hosts = hosts.split(',').map(host_and_port).collect::<Result<_, _>>()?;
        }
        address.database = Some(decoded(database, "a database name")?).filter(|name| !name.is_empty());
        address.read_parameters(query)?;
        if ![0, address.hosts.len()].contains(&address.host_addresses.len()) {
            return Err(AddressError::Malformed { problem: "not as many `hostaddr`s as hosts".into() });
        }
        Ok(address)
    }
}

impl PostgresAddress {
    fn read_parameters(&mut self, query: &str) -> Result<(), AddressError> {
        let (mut hosts, mut ports, mut after_password) = (None, None, false);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) =
                pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
            let name = decoded(name, "a parameter name")?;
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let is_known = PARAMETERS.split(", ").any(|known| known.trim() == name);
            let Some(value) = value.filter(|_| is_known || (is_name && !after_password)) else {
                // This may be the rest of a password with an `&`.
                let problem = "a parameter without a name and a value (an `&` in a password is %26)";
                return Err(AddressError::Malformed { problem: problem.into() });
            };
            let value = decoded(value, "a parameter")?;
            after_password |= name.to_ascii_lowercase().contains("pass");
            match name.as_str() {
                "host" => hosts = Some(value),
                "port" => ports = Some(value),
                _ => self.parameter(&name, value)?,
            }
        }
        self.hosts_from_query(hosts.as_deref(), ports.as_deref())
    }

    /// Replaces the hosts by `host` and `port` of the query, which are separated by commas.
    fn hosts_from_query(&mut self, hosts: Option<&str>, ports: Option<&str>) -> Result<(), AddressError> {
        if let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty()) {
            self.hosts = hosts.split(',').map(host_and_port).collect::<Result<_, _>>()?;
        }
        if let Some(ports) = ports.filter(|ports| !ports.is_empty()) {
            let ports: Vec<u16> = ports.split(',').map(port).collect::<Result<_, _>>()?;
            for (number, host) in self.hosts.iter_mut().enumerate() {
                // A single port is for all hosts.
                match ports.get(number).or(ports.first().filter(|_| ports.len() == 1)) {
                    Some(port) => host.1 = *port,
                    None => {
                        return Err(AddressError::Malformed { problem: "fewer ports than hosts".into() });
                    }
                }
            }
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: String) -> Result<(), AddressError> {
        match name {
            "sslmode" => self.ssl_mode = Some(value.parse()?),
            "sslrootcert" if value == "system" => self.ssl_root_cert = Some(RootCert::System),
            "sslrootcert" => self.ssl_root_cert = Some(RootCert::File(value.into())),
            "sslcert" => self.ssl_cert = Some(value.into()),
            "sslkey" => self.ssl_key = Some(value.into()),
            "sslnegotiation" => {
                self.negotiates_directly = one_of(name, &value, &[("postgres", false), ("direct", true)])?;
            }
            "user" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = Some(value),
            "application_name" => self.application_name = Some(value),
            "options" => self.options = Some(value),
            "hostaddr" => self.host_addresses = addresses(&value)?,
            "connect_timeout" => self.connect_timeout = seconds(name, &value)?,
            "keepalives" => self.keepalives = one_of(name, &value, &[("1", true), ("0", false)])?,
            "keepalives_idle" => self.keepalives_idle = seconds(name, &value)?,
            "keepalives_interval" => self.keepalives_interval = seconds(name, &value)?,
            "keepalives_count" => self.keepalives_count = number(name, &value)?,
            "tcp_user_timeout" => {
                self.tcp_user_timeout = Some(Duration::from_millis(number(name, &value)?));
            }
            "target_session_attrs" => {
                let any = SessionAttrs::Any;
                let known = [
                    ("any", any),
                    ("read-write", SessionAttrs::ReadWrite),
                    ("primary", SessionAttrs::ReadWrite),
                    ("read-only", SessionAttrs::ReadOnly),
                ];
                self.target_session_attrs = one_of(name, &value, &known)?;
            }
            "channel_binding" => {
                let known = [
                    ("disable", Binding::Disable),
                    ("prefer", Binding::Prefer),
                    ("require", Binding::Require),
                ];
                self.channel_binding = one_of(name, &value, &known)?;
            }
            "load_balance_hosts" => {
                let known = [("disable", false), ("random", true)];
                self.balances_hosts = one_of(name, &value, &known)?;
            }
            // These only confirm what always holds.
            "gssencmode" => one_of(name, &value, &[("disable", ()), ("prefer", ())])?,
            "client_encoding" => one_of(
                name,
                &value.to_lowercase(),
                &[("utf8", ()), ("utf-8", ()), ("unicode", ()), ("auto", ())],
            )?,
            _ => {
                let hint = match name {
                    "schema" | "currentSchema" => " (TURNMILL_DB_SCHEMA or --schema sets the schema)",
                    "ssl" => " (`sslmode` says how to encrypt)",
                    _ => "",
                };
                return Err(AddressError::UnknownParameter {
                    name: name.into(),
                    hint,
                    known: PARAMETERS.into(),
                });
            }
        }
        Ok(())
    }
}

fn decoded(text: &str, what: &str) -> Result<String, AddressError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
        _ => Err(AddressError::Malformed { problem: format!("{what} that is no UTF-8 text once decoded") }),
    }
}

/// Parses `host`, `host:port`, `[::1]:port`, or the percent-encoded folder of a Unix socket.
fn host_and_port(text: &str) -> Result<(String, u16), AddressError> {
    let (host, rest) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            // A socket's path has no port. An IPv6 address in the query may lack brackets.
            Some((host, rest)) if !rest.contains(':') => (host, Some(rest)),
            _ => (text, None),
        },
    };
    let port = rest.filter(|port| !port.is_empty()).map_or(Ok(PORT), port)?;
    let host = decoded(host, "a host")?;
    Ok((if host.is_empty() { "localhost".into() } else { host }, port))
}

/// Parses IP addresses of hosts. Their names are then not looked up, and only compared with
/// certificates.
fn addresses(text: &str) -> Result<Vec<IpAddr>, AddressError> {
    let address = |text: &str| {
        text.parse().map_err(|_| AddressError::Value {
            name: "hostaddr".into(),
            value: shown(text),
            expected: "expected an IP address".into(),
        })
    };
    text.split(',').map(address).collect()
}

fn port(text: &str) -> Result<u16, AddressError> {
    // An unescaped character may have split the password here, so do not show the text.
    let problem = || AddressError::Malformed { problem: "a port that is no number up to 65535".into() };
    text.parse().ok().filter(|port| *port != 0).ok_or_else(problem)
}

fn number<N: FromStr>(name: &str, value: &str) -> Result<N, AddressError> {
    let wrong = |_| AddressError::Value {
        name: name.into(),
        value: shown(value),
        expected: "expected a whole number".into(),
    };
    value.parse().map_err(wrong)
}

fn seconds(name: &str, value: &str) -> Result<Duration, AddressError> {
    number(name, value).map(Duration::from_secs)
}

fn one_of<T: Copy>(name: &str, value: &str, known: &[(&str, T)]) -> Result<T, AddressError> {
    let found = known.iter().find(|(spelling, _)| *spelling == value).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(spelling, _)| *spelling).collect();
        AddressError::value(name, value, &names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SslMode;

    fn parse(url: &str) -> Result<PostgresAddress, AddressError> {
        url.parse()
    }

    fn hosts(url: &str) -> Vec<(String, u16)> {
        parse(url).unwrap().hosts
    }

    #[test]
    fn every_form_of_url_is_read() {
        for scheme in ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+asyncpg"] {
            let settings = parse(&format!("{scheme}://us%20er:p%40s%3As%2F@db:5433/my%2Fdb")).unwrap();
            assert_eq!(settings.user.as_deref(), Some("us er"));
            assert_eq!(settings.password.as_ref().map(Secret::expose), Some("p@s:s/"));
            assert_eq!(settings.hosts, [("db".to_owned(), 5433)]);
            assert_eq!(settings.database.as_deref(), Some("my/db"));
        }
        let bare = parse("postgres://").unwrap();
        assert_eq!(bare, PostgresAddress::default());
        assert_eq!(parse("postgres://u@h").unwrap().database, None);
        assert_eq!(parse("postgres://u:a@b@h/d").unwrap().password.as_ref().map(Secret::expose), Some("a@b"));
        let odd = parse(" POSTGRESQL://u:Hm4/xT0#p@L@h:1/x\n").unwrap();
        assert_eq!(odd.password.as_ref().map(Secret::expose), Some("Hm4/xT0#p@L"));
        assert_eq!((odd.hosts, odd.database.as_deref()), (vec![("h".to_owned(), 1)], Some("x")));
        assert_eq!(parse("postgres://u:@h/d").unwrap().password.as_ref().map(Secret::expose), Some(""));
    }

    #[test]
    fn hosts_are_lists_addresses_and_sockets() {
        let pairs = |pairs: &[(&str, u16)]| -> Vec<(String, u16)> {
            pairs.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect()
        };
        for (url, expected) in [
            ("postgres://a,b:6000/d", pairs(&[("a", 5432), ("b", 6000)])),
            ("postgres://[::1]:6000/d", pairs(&[("::1", 6000)])),
            ("postgres://[::1]/d", pairs(&[("::1", 5432)])),
            ("postgres://%2Fvar%2Frun/d", pairs(&[("/var/run", 5432)])),
            ("postgres:///d?host=/var/run", pairs(&[("/var/run", 5432)])),
            ("postgres:///d?host=::1", pairs(&[("::1", 5432)])),
            ("postgresql:///d?host=a:1&host=b:2,c", pairs(&[("b", 2), ("c", 5432)])),
            ("postgres://x/d?host=a,b&port=1,2", pairs(&[("a", 1), ("b", 2)])),
            ("postgres://a,b/d?port=7", pairs(&[("a", 7), ("b", 7)])),
        ] {
            assert_eq!(hosts(url), expected, "{url}");
        }
    }

    #[test]
    fn parameters_are_read() {
        let all = parse(
            "postgres://h/d?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem&options=-c%20geqo%3Doff\
             &application_name=other&connect_timeout=3&keepalives=0&keepalives_idle=5&keepalives_interval=6&keepalives_count=7\
             &target_session_attrs=read-write&channel_binding=require&load_balance_hosts=random&tcp_user_timeout=8\
             &gssencmode=disable&client_encoding=UTF8&user=u&password=%25&dbname=e&sslnegotiation=direct",
        )
        .unwrap();
        assert_eq!(all.ssl_mode, Some(SslMode::VerifyFull));
        assert_eq!(all.ssl_root_cert, Some(RootCert::File("/ca.pem".into())));
        assert_eq!((all.ssl_cert, all.ssl_key), (Some("/c.pem".into()), Some("/k.pem".into())));
        assert_eq!(all.options.as_deref(), Some("-c geqo=off"));
        assert_eq!(
            (all.application_name.as_deref(), all.connect_timeout),
            (Some("other"), Duration::from_secs(3))
        );
        assert_eq!((all.keepalives, all.keepalives_idle), (false, Duration::from_secs(5)));
        assert_eq!((all.keepalives_interval, all.keepalives_count), (Duration::from_secs(6), 7));
        assert_eq!(all.target_session_attrs, SessionAttrs::ReadWrite);
        assert_eq!(all.channel_binding, Binding::Require);
        assert_eq!(all.tcp_user_timeout, Some(Duration::from_millis(8)));
        assert_eq!((all.user.as_deref(), all.password.as_ref().map(Secret::expose)), (Some("u"), Some("%")));
        assert_eq!((all.database.as_deref(), all.negotiates_directly), (Some("e"), true));
        let system = parse("postgres://h/d?sslrootcert=system").unwrap();
        assert_eq!(system.ssl_root_cert, Some(RootCert::System));
        for (mode, name) in &SslMode::ALL {
            assert_eq!(parse(&format!("postgres://h/d?sslmode={name}")).unwrap().ssl_mode(), *mode);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is() {
        for (url, part) in [
            ("redshift://u:secret@h/d", "`redshift://u:***@h/d`"),
            ("jdbc:postgresql://h/d?user=u&password=secret", "`jdbc:postgresql://h/d?user=u&password=***`"),
            ("host=h user=u password=secret", "`host=h user=u password=***`"),
            ("sqlite:x", "`sqlite:x`"),
            ("postgres://u:secret@h/d?sslmod=require", "`sslmod`"),
            ("postgres://u:p@h/d?pasword=secret", "`pasword`"),
            ("postgres://u:p@h/d?schema=a", "unknown parameter `schema` (TURNMILL_DB_SCHEMA"),
            ("postgres://u:p@h/d?password=a&secret", "%26"),
            ("postgres://u:p@h/d?password=a&secret=b", "%26"),
            ("postgres://h/d?secret", "without a name and a value"),
            ("postgres://h/d?a%20secret=b", "without a name and a value"),
            ("postgres://u:Zq?secret@h/d", "%3F"),
            ("postgres://u:p@h/d?sslmode=redis://:secret", "`sslmode` cannot be `redis://:***`"),
            ("postgres://u:secret@h/d?sslmode=on", "`sslmode` cannot be `on`"),
            ("postgres://u:secret@h/d?connect_timeout=soon", "`connect_timeout`"),
            ("postgres://u:secret@h/d?keepalives=yes", "`keepalives`"),
            ("postgres://u:secret@h:99999/d", "a port"),
            ("postgres://u:secret", "a port"),
            ("postgres://u:%ffsecret@h/d", "a password"),
            ("postgres://u:secret@a,b,c/d?port=1,2", "fewer ports"),
            ("postgres://u:secret@h/d?gssencmode=require", "`gssencmode`"),
            ("postgres://u:secret@h/d?hostaddr=h", "`hostaddr` cannot be `h`"),
            ("postgres://u:secret@h/d?hostaddr=::1,127.0.0.1", "`hostaddr`s"),
        ] {
            let message = parse(url).unwrap_err().to_string();
            assert!(message.contains(part), "{url}: {message}");
            assert!(!message.contains("secret"), "{url}: {message}");
        }
    }

    #[test]
    fn what_the_url_does_not_say_comes_from_elsewhere() {
        let root = |path: &str| RootCert::File(path.into());
        let url = parse("postgres://u:own@h/d?sslmode=require&sslrootcert=/own").unwrap();
        let url = url.or_ssl_mode(SslMode::Disable).or_ssl_root_cert(root("/other")).or_password("other");
        assert_eq!((url.ssl_mode(), url.ssl_root_cert.clone()), (SslMode::Require, Some(root("/own"))));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("own"));
        let url = url.with_ssl_mode(SslMode::VerifyCa).with_ssl_root_cert(root("/set"));
        assert_eq!((url.ssl_mode(), url.ssl_root_cert), (SslMode::VerifyCa, Some(root("/set"))));
        let parts = PostgresAddress::default().with_host("h", 1).with_user("u").with_database("d");
        assert_eq!(parts.ssl_mode(), SslMode::Prefer);
        assert_eq!(parts.or_password("p"), parse("postgres://u:p@h:1/d").unwrap());
    }

    #[test]
    fn no_form_of_printing_shows_the_password() {
        let settings = parse("postgres://u:secret@[::1],h:1/d?password=secret").unwrap();
        assert_eq!(settings.to_string(), "postgresql://u:***@[::1]:5432,h:1/d");
        assert!(!format!("{settings:?} {settings:#?}").contains("secret"));
    }
}
