//! Texts that must not be printed.

use std::fmt;

/// What is printed in place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// A text that never shows: `Debug` hides it, and there is no `Display`.
///
/// ```
/// use turnmill_service::settings::Secret;
/// let secret = Secret::new("hunter2");
/// assert_eq!(format!("{secret:?}"), "***");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A database URL as it may be printed: the password replaced, whether it stands before the host or among the parameters.
///
/// What is no well-formed URL is cut generously: everything between the first colon of the user part and the last `@` goes, so
/// that a password with unescaped characters does not show either.
///
/// ```
/// use turnmill_service::settings::redact_url;
/// assert_eq!(redact_url("postgresql://rasa:s@cr/t@db:5432/rasa?sslmode=require"),
///     "postgresql://rasa:***@db:5432/rasa?sslmode=require");
/// assert_eq!(redact_url("sqlite:turnmill.sqlite"), "sqlite:turnmill.sqlite");
/// ```
#[must_use]
pub fn redact_url(url: &str) -> String {
    let is_scheme = |scheme: &str| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        // A path may hold an `@`; a text that names a user may be a URL that lost its slashes.
        return if url.starts_with("sqlite:") { url.to_owned() } else { HIDDEN.to_owned() };
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let mut printed = format!("{scheme}://");
    if let Some(user) = user {
        match user.split_once(':') {
            Some((name, _)) => printed.extend([name, ":", HIDDEN, "@"]),
            None => printed.extend([user, "@"]),
        }
    }
    let Some((place, parameters)) = rest.split_once('?') else {
        printed.push_str(rest);
        return printed;
    };
    printed.push_str(place);
    for (number, parameter) in parameters.split('&').enumerate() {
        printed.push(if number == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if is_sensitive(name) => printed.extend([name, "=", HIDDEN]),
            _ => printed.push_str(parameter),
        }
    }
    printed
}

/// Whether a parameter or property of this name may hold a secret.
pub(crate) fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // `%` hides the name itself.
    ["pass", "secret", "token", "credential", "jaas", "pem", "key", "%"]
        .iter()
        .any(|word| name.contains(word))
}
