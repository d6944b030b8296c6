//! Hot standbys of a private server.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use super::tools::Account;
use super::{PASSWORD, Server, USER, failed};
use crate::{Unavailable, find};

impl Server {
    /// Starts a read-only copy that follows this server: a hot standby.
    ///
    /// # Errors
    ///
    /// If `pg_basebackup` is not installed, or the standby does not start.
    pub fn standby(&self) -> Result<Self, Unavailable> {
        find::on_free_ports(|| self.try_standby())
    }

    fn try_standby(&self) -> Result<Self, Unavailable> {
        let beside = self.tools.initdb.with_file_name("pg_basebackup");
        let program = Some(beside).filter(|file| file.is_file()).or_else(|| find::program("pg_basebackup"));
        let Some(program) = program else {
            let reason = "pg_basebackup is missing: install Debian's `postgresql-client`";
            return Err(Unavailable::Missing(reason.to_owned()));
        };
        let folder = tempfile::Builder::new().prefix("turnmill-standby-").tempdir().map_err(failed)?;
        let place = folder.path();
        let account = Account::for_files_of(place)?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).map_err(failed)?;
        account.own(place)?;
        let data = place.join("data");
        let mut copy = account.command(&program);
        copy.current_dir(place).env("PGPASSWORD", PASSWORD);
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]).arg(&data);
        find::output(&mut copy).map_err(failed)?;
        let port = find::free_port();
        let mut conf =
            fs::OpenOptions::new().append(true).open(data.join("postgresql.conf")).map_err(failed)?;
        // The last value counts; the other settings are copied.
        let own = format!("\nport = {port}\nunix_socket_directories = '{}'\n", place.display());
        conf.write_all(own.as_bytes()).map_err(failed)?;
        Self::run(folder, &account, port, self.tools.clone(), None)
    }

    /// Waits until a standby has everything that is committed here.
    ///
    /// # Panics
    ///
    /// If that takes more than a minute.
    #[track_caller]
    pub fn wait_for(&self, standby: &Self) {
        let here = self.psql("postgres", "SELECT pg_current_wal_lsn()");
        let there = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", here.trim());
        let end = Instant::now() + Duration::from_secs(60);
        while standby.psql("postgres", &there).trim() != "t" {
            assert!(Instant::now() < end, "the standby does not follow: {}", standby.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}
