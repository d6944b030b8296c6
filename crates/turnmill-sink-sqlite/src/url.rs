//! Parser of store URLs.

use crate::SqliteStore;

impl SqliteStore {
    /// Returns the store that `url` names, or `None` if it names another kind.
    ///
    /// URLs are `sqlite:PATH`, or `sqlite:///PATH` as SQLAlchemy writes them. An absolute path then
    /// has four slashes.
    ///
    /// ```
    /// use std::path::Path;
    /// use turnmill_sink_sqlite::SqliteStore;
    /// let path = |url| SqliteStore::from_url(url).and_then(|store| store.path().map(Path::to_owned));
    /// assert_eq!(path("sqlite:rasa.sqlite").as_deref(), Some(Path::new("rasa.sqlite")));
    /// assert_eq!(path("sqlite:////var/rasa.sqlite").as_deref(), Some(Path::new("/var/rasa.sqlite")));
    /// assert_eq!(path("SQLite+aiosqlite:///rasa.db").as_deref(), Some(Path::new("rasa.db")));
    /// assert_eq!(path("postgresql://db/rasa"), None);
    /// assert_eq!(path("sqlite:"), None);
    /// ```
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        let (scheme, path) = url.trim_start().split_once(':')?;
        // SQLAlchemy names a driver, too: `sqlite+aiosqlite:///rasa.db`.
        if !scheme.split('+').next().is_some_and(|dialect| dialect.eq_ignore_ascii_case("sqlite")) {
            return None;
        }
        let path = path.strip_prefix("///").unwrap_or(path);
        (!path.is_empty()).then(|| Self::file(path))
    }
}
