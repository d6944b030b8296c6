//! Addresses in printable form.

/// The replacement of a secret.
pub const HIDDEN: &str = "***";

/// Parameters of a database's address whose values are no secrets. The values of all others are
/// hidden, because a typing error turns `password` into an unknown parameter.
const SHOWN: [&str; 27] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "port",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
    "username",
    "schema",
    "database",
];

/// Schemes of server addresses, also recognised without slashes. `kafka:` and `sqlite:` are left
/// out because a topic and a path follow them.
const SCHEMES: [&str; 19] = [
    "postgres",
    "postgresql",
    "redshift",
    "mysql",
    "mariadb",
    "mongodb",
    "redis",
    "rediss",
    "oracle",
    "mssql",
    "sqlserver",
    "dynamodb",
    "cockroachdb",
    "amqp",
    "amqps",
    "http",
    "https",
    "sasl",
    "jdbc",
];

/// Returns an address in printable form, in whatever way it is written.
///
/// The text between the scheme (or the colon after a plain user) and the last `@` becomes `***`. So
/// do the values of unknown parameters. A text that does not look like an address is returned
/// unchanged.
///
/// In doubt the function hides: it is for texts that could not be parsed.
///
/// ```
/// use turnmill_text::redact;
/// for (text, shown) in [
///     ("postgresql://rasa:s@cr/t@db:5432/rasa?sslmode=require", "postgresql://rasa:***@db:5432/rasa?sslmode=require"),
///     ("postgresql://db/rasa?user=u&pasword=secret", "postgresql://db/rasa?user=u&pasword=***"),
///     ("jdbc:postgresql://db/rasa?password=secret", "jdbc:postgresql://db/rasa?password=***"),
///     ("rasa:secret@kafka:9092", "rasa:***@kafka:9092"),
///     ("rasa:se?cr@t", "rasa:***"),
///     ("sqlite:turnmill@home.sqlite", "sqlite:turnmill@home.sqlite"),
/// ] {
///     assert_eq!(redact(text), shown);
/// }
/// ```
#[must_use]
pub fn redact(text: &str) -> String {
    // A topic of turnmill's command line may have any name.
    if let Some(topic) = text.strip_prefix("kafka:").filter(|topic| !topic.starts_with("//")) {
        return format!("kafka:{}", redact(topic));
    }
    if let Some((front, body)) = text.split_once("://") {
        if front.trim_start_matches([' ', '\'', '"']).eq_ignore_ascii_case("sqlite") && body.starts_with('/')
        {
            // Three slashes begin a path, which may contain any character.
            return text.to_owned();
        }
        return format!("{}://{}", shown_scheme(front), body_of(body, ""));
    }
    let path = text.trim_start_matches([' ', '\'', '"']);
    let is_path = path.get(..7).is_some_and(|front| front.eq_ignore_ascii_case("sqlite:"));
    let has_pairs = has_pairs(text);
    if is_path && !has_pairs {
        return text.to_owned();
    }
    let scheme = scheme_without_slashes(text);
    // A colon before the first `name=` makes it an address; after one it is part of a value.
    let first_name = names(text).first().map_or(text.len(), |(start, _)| *start);
    if let Some((front, rest)) = text.split_once(':')
        && rest.contains('@')
        && (!has_pairs || front.len() < first_name)
    {
        let front = if front.contains(['@', '?', '=']) { HIDDEN } else { front };
        return format!("{front}:{}", body_of(rest, HIDDEN));
    }
    match scheme {
        Some(end) => format!("{}{HIDDEN}", text.get(..end).unwrap_or_default()),
        None if has_pairs => pairs(text),
        None => text.to_owned(),
    }
}

/// Returns the text before `://` if it is only a scheme.
fn shown_scheme(front: &str) -> String {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let plain = front.trim_start_matches([' ', '\t', '\'', '"']);
    let plain = ["jdbc:", "r2dbc:"].iter().find_map(|driver| plain.strip_prefix(driver)).unwrap_or(plain);
    if plain.len() <= 40 && plain.chars().all(|c| is_scheme(c) || c == '_') {
        return front.to_owned();
    }
    HIDDEN.to_owned()
}

/// Returns the end of `postgresql:` or `postgresql//`, if the text begins so.
fn scheme_without_slashes(text: &str) -> Option<usize> {
    let front = text.len() - text.trim_start_matches([' ', '\'', '"']).len();
    let rest = text.get(front..)?;
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
    let is_known =
        SCHEMES.iter().any(|scheme| rest.get(..length).is_some_and(|s| s.eq_ignore_ascii_case(scheme)));
    let mark = if rest.get(length..)?.starts_with(':') { 1 } else { 2 };
    let is_marked = mark == 1 || rest.get(length..)?.starts_with("//");
    (is_known && is_marked && rest.len() > length + mark).then_some(front + length + mark)
}

/// Redacts `user:password@hosts/database?parameters`. `unnamed` replaces a login that must be
/// hidden and already follows a colon.
fn body_of(body: &str, unnamed: &str) -> String {
    let Some((login, hosts)) = body.rsplit_once('@') else { return redact_hosts(body) };
    if login.contains(['?', '=']) {
        // The `@` may belong to a parameter. Then the text after it is the end of a password.
        return HIDDEN.to_owned();
    }
    let user = match login.split_once(':') {
        Some((user, _)) if unnamed.is_empty() && is_plain(user) => format!("{user}:{HIDDEN}"),
        _ => HIDDEN.to_owned(),
    };
    format!("{user}@{}", redact_hosts(hosts))
}

fn is_plain(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Redacts `hosts/database?parameters`.
fn redact_hosts(hosts: &str) -> String {
    let (path, query) = hosts.split_once('?').map_or((hosts, None), |(path, query)| (path, Some(query)));
    let (hosts, database) = path.split_once('/').map_or((path, None), |(hosts, rest)| (hosts, Some(rest)));
    let mut shown = String::new();
    for (number, host) in hosts.split(',').enumerate() {
        if number > 0 {
            shown.push(',');
        }
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        let is_address = host.starts_with('[') && (host.ends_with(']') || name.ends_with(']'));
        let is_port = port.is_empty() || port.parse::<u16>().is_ok();
        let is_odd = host.contains([' ', '\t', '\n', '=', ';', '&', '#']);
        if !is_odd && (is_address || (is_port && !name.contains(':'))) {
            shown.push_str(host);
            continue;
        }
        // This is `user:password` without a host. The text after it may be the rest of the
        // password.
        let name = host.split(':').next().unwrap_or_default();
        shown.extend([if is_plain(name) { name } else { "" }, ":", HIDDEN]);
        return shown;
    }
    if let Some(database) = database {
        let is_odd = database.contains([':', '=', ';', '&', '#', ' ', '\t', '\n']);
        shown.extend(["/", if is_odd { HIDDEN } else { database }]);
    }
    if let Some(query) = query {
        shown.push('?');
        shown.push_str(&parameters(query));
    }
    shown
}

fn is_shown(name: &str) -> bool {
    SHOWN.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Returns whether the value of a parameter that is not secret contains no special characters.
fn is_plain_value(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "_./%,+-".contains(c))
}

fn parameters(query: &str) -> String {
    let mut hidden = false;
    let mut shown = Vec::new();
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let has_value = parameter.contains('=');
        if has_value && is_shown(name) && is_plain_value(value) {
            shown.push(parameter.to_owned());
        } else if has_value && !hidden && is_plain(name) {
            hidden = true;
            shown.push(format!("{name}={HIDDEN}"));
        } else if !parameter.is_empty() {
            // After a hidden value this may be the rest of it.
            hidden = true;
            shown.push(HIDDEN.to_owned());
        }
    }
    shown.join("&")
}

/// Returns the starts of names and values in libpq's `name = value` pairs.
fn names(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let mut found = Vec::new();
    for (equals, _) in text.match_indices('=') {
        let before = bytes.get(..equals).unwrap_or_default().trim_ascii_end();
        let start = before.len() - before.iter().rev().take_while(|byte| is_name(byte)).count();
        let follows = start.checked_sub(1).and_then(|at| bytes.get(at));
        let is_start = follows.is_none_or(|byte| byte.is_ascii_whitespace() || b"&;?,'\"".contains(byte));
        if start < before.len() && is_start {
            found.push((start, equals + 1));
        }
    }
    found
}

/// Returns whether a text without `://` is an address in libpq's other form.
fn has_pairs(text: &str) -> bool {
    let is_word = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        ["host", "hostaddr", "user", "dbname", "sslmode", "pwd"].contains(&name.as_str())
            || ["pass", "secret"].iter().any(|word| name.contains(word))
    };
    names(text).iter().any(|(start, value)| text.get(*start..value - 1).is_some_and(is_word))
}

fn pairs(text: &str) -> String {
    let names = names(text);
    let first = names.first().map_or(text.len(), |(start, _)| *start);
    let front = text.get(..first).unwrap_or_default();
    let is_odd =
        front.contains(['@', '=']) || (front.contains(':') && scheme_without_slashes(front).is_none());
    let mut shown = if is_odd { HIDDEN.to_owned() } else { front.to_owned() };
    let mut hidden = false;
    for (number, (start, value)) in names.iter().enumerate() {
        let end = names.get(number + 1).map_or(text.len(), |(start, _)| *start);
        let name = text.get(*start..*value).unwrap_or_default();
        let value = text.get(*value..end).unwrap_or_default();
        let known = is_shown(name.trim_end_matches('=').trim_end());
        let plain = value.trim_matches([' ', '\t', '\n', '&', ';', ',', '\'', '"']);
        if known && is_plain_value(plain) {
            shown.extend([name, value]);
            continue;
        }
        if hidden && !known {
            // This may be the rest of the hidden value.
            continue;
        }
        hidden = true;
        shown.extend([name, HIDDEN]);
        if let Some(last) = value.chars().last().filter(|c| " \t\n&;,".contains(*c)) {
            shown.push(last);
        }
    }
    shown.trim_end().to_owned()
}
