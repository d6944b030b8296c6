//! PostgreSQL's programs, and the account that the server runs under.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{USER, failed};
use crate::{Unavailable, find};

/// PostgreSQL's programs.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) initdb: PathBuf,
    pub(super) server: PathBuf,
    psql: PathBuf,
}

impl Tools {
    pub(super) fn find() -> Result<Self, Unavailable> {
        // Allows tests with another version than the installed one.
        let named = std::env::var_os("TURNMILL_TESTBED_POSTGRES").filter(|folder| !folder.is_empty());
        let on_path = find::program("initdb").and_then(|file| file.parent().map(Path::to_owned));
        let folders = named
            .map(PathBuf::from)
            .into_iter()
            .chain(on_path)
            .chain(find::versioned("/usr/lib/postgresql", ""))
            .chain(find::versioned("/usr", "pgsql-"))
            .chain(find::versioned("/opt/homebrew/opt", "postgresql@"));
        let tools = |folder: PathBuf| Self {
            initdb: folder.join("initdb"),
            server: folder.join("postgres"),
            psql: Some(folder.join("psql")).filter(|file| file.is_file()).unwrap_or_else(|| "psql".into()),
        };
        folders.map(tools).find(|tools| tools.initdb.is_file() && tools.server.is_file()).ok_or_else(|| {
            Unavailable::Missing("PostgreSQL is missing: install Debian's `postgresql`".to_owned())
        })
    }

    /// Finds only what a server that runs elsewhere requires.
    pub(super) fn find_client() -> Result<Self, Unavailable> {
        Self::find().or_else(|_| {
            find::program("psql")
                .map(|psql| Self { initdb: PathBuf::new(), server: PathBuf::new(), psql })
                .ok_or_else(|| {
                    Unavailable::Missing("psql is missing: install `postgresql-client`".to_owned())
                })
        })
    }

    pub(super) fn psql(&self) -> Command {
        let mut command = Command::new(&self.psql);
        // No personal settings, stop at the first error, bare rows only.
        command.args(["--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]);
        command.args(["-v", "ON_ERROR_STOP=1"]);
        command
    }
}

/// The account of the server: PostgreSQL refuses to run as root.
pub(super) struct Account {
    pub(super) prefix: Vec<String>,
    ids: Option<(u32, u32)>,
}

impl Account {
    /// `file` was just created by this process, so its owner is this process's user.
    pub(super) fn for_files_of(file: &Path) -> Result<Self, Unavailable> {
        if fs::metadata(file).map_err(failed)?.uid() != 0 {
            return Ok(Self { prefix: Vec::new(), ids: None });
        }
        let id = |flag: &str| {
            find::output(Command::new("id").args([flag, USER]))
                .ok()
                .and_then(|printed| printed.trim().parse().ok())
                .ok_or_else(|| {
                    Unavailable::Missing(format!(
                        "PostgreSQL cannot run as root, and there is no user `{USER}`"
                    ))
                })
        };
        let Some(setpriv) = find::program("setpriv") else {
            let reason = "PostgreSQL cannot run as root, and setpriv is missing: install `util-linux`";
            return Err(Unavailable::Missing(reason.to_owned()));
        };
        let ids = (id("-u")?, id("-g")?);
        let prefix = vec![
            setpriv.display().to_string(),
            format!("--reuid={}", ids.0),
            format!("--regid={}", ids.1),
            "--init-groups".to_owned(),
            "--".to_owned(),
        ];
        Ok(Self { prefix, ids: Some(ids) })
    }

    pub(super) fn own(&self, path: &Path) -> Result<(), Unavailable> {
        let Some((user, group)) = self.ids else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(failed)
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        }
    }
}
