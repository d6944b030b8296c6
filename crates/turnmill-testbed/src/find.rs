//! Lookup of programs and free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Unavailable;

/// Ports to choose from. They exclude the range of outgoing connections: such a connection could
/// take the port of a stopped server. A client that reconnects could even connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Finds a program in the search path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Returns the folders `parent/PREFIX*/bin`, greatest numbers first.
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

/// Returns a port of 127.0.0.1 on which no process listens.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = fastrand::u16(PORTS);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 in {PORTS:?} is free");
}

/// Runs a command to its end. Returns its output, or its error output if it fails.
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

/// Starts a server on free ports. If another process takes them meanwhile, tries others.
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
