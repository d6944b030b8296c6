//! Programs and ports of this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Unavailable;

/// Ports to choose from. Not those from which systems serve outgoing connections: one of them could take the port of a
/// server that is down for a moment, and a client that tries again and again could even connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where a program is, by the search path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Folders `parent/PREFIX*/bin`, those with the greatest numbers first.
pub(crate) fn versioned(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in Path::new(parent).read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(version) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        let digits: String = version.chars().filter(char::is_ascii_digit).collect();
        found.push((digits.parse().unwrap_or(0), entry.path().join("bin")));
    }
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 in {PORTS:?} is free");
}

/// Runs a command to its end and returns what it prints, or says what it complained about.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
    let output = command.output().map_err(|error| format!("running {program}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed ({}): {}{}", output.status, printed, complaint.trim_end()))
}

/// Starts a server on ports that were free a moment ago. Another one may have taken them meanwhile: then on others.
pub(crate) fn on_free_ports<T>(start: impl Fn() -> Result<T, Unavailable>) -> Result<T, Unavailable> {
    let taken = |failed: &Unavailable| {
        let text = failed.to_string();
        ["already in use", "start acceptor"].iter().any(|sign| text.contains(sign))
    };
    for _ in 0..4 {
        match start() {
            Err(failed) if taken(&failed) => {}
            result => return result,
        }
    }
    start()
}
