//! What texts name.

use turnmill_stores::{AnyStore, UnknownStore};

#[test]
fn urls_name_their_store() {
    for url in [
        "sqlite:a.sqlite",
        "sqlite:///a.sqlite",
        "a.sqlite",
        "/tmp/A.DB",
        "a.sqlite3",
        "SQLite:a",
        "sqlite+aiosqlite:///a.db",
    ] {
        assert!(matches!(AnyStore::from_url(url), Ok(AnyStore::Sqlite(_))), "{url}");
    }
    for url in
        ["postgres://u:secret@h/d", "postgresql://u:secret@h:1/d", "postgresql+psycopg2://u:secret@h/d"]
    {
        let store = AnyStore::from_url(url).unwrap();
        assert!(matches!(store, AnyStore::Postgres(_)), "{url}");
        assert!(!format!("{store} {store:?}").contains("secret"), "{url}");
    }
}

#[test]
fn what_names_none_is_said_without_secrets() {
    for (url, part) in [
        ("redshift://u:secret@h/d", "`redshift` are not supported yet"),
        ("redshift+psycopg2://u:secret@h/d", "not supported yet"),
        ("file:///data?format=csv", "`file` are not supported yet"),
        ("mysql://u:secret@h/d", "unknown store `mysql://u:***@h/d`"),
        ("rasa.txt", "unknown store `rasa.txt`"),
        ("sqlite://rasa.sqlite", "here sqlite:rasa.sqlite"),
        (":memory:", "name a file"),
        ("sqlite::memory:", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:", "names no file"),
        ("postgres://u:secret@h:99999/d", "a port"),
        ("", "unknown store"),
    ] {
        let error = AnyStore::from_url(url).err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{url}: {error}");
    }
    assert_eq!(AnyStore::from_url("sqlite:").err(), Some(UnknownStore::NoPath));
}
