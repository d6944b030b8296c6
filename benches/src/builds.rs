//! Two builds of `turnmill-replay`: a file to PostgreSQL with each.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use turnmill_testbed::postgres;

use crate::measure::{Failure, Figures, Seconds, process_cpu, run};
use crate::stream::Shape;

/// Loads the file into a new schema. Returns the time of the command, and the processor time of
/// command and PostgreSQL.
fn load(replay: &Path, input: &Path, server: &postgres::Server) -> Result<Seconds, Failure> {
    server.psql(
        "postgres",
        "SET client_min_messages = warning; DROP SCHEMA IF EXISTS bench CASCADE; CHECKPOINT",
    );
    let pid = server.pid().ok_or("PostgreSQL has ended")?;
    let before = process_cpu(pid)?;
    let (input, url) = (input.to_string_lossy(), server.url());
    let arguments = [&*input, "--to", &url, "--schema", "bench", "--source", "bench", "--quiet"];
    let own = run(replay, &arguments)?.seconds;
    Ok(Seconds { wall: own.wall, cpu: own.cpu + process_cpu(pid)? - before })
}

/// Prints the costs of the build `after` by those of `before`, for a stream of `shape`, of `runs`
/// pairs. The build that goes first alternates.
pub(crate) fn measure(before: &Path, after: &Path, shape: &Shape, runs: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("events.jsonl");
    let mut out = BufWriter::new(File::create(&input)?);
    shape.write(&mut out)?;
    out.flush()?;
    let server = postgres::Server::start(&postgres::Options { durable: true, ..Default::default() })?;
    let (mut wall, mut cpu) = (Figures::default(), Figures::default());
    for run in 0..=runs {
        let (old, new) = if run % 2 == 0 {
            let old = load(before, &input, &server)?;
            (old, load(after, &input, &server)?)
        } else {
            let new = load(after, &input, &server)?;
            (load(before, &input, &server)?, new)
        };
        // The first is for warming up.
        if run > 0 {
            wall.push(new.wall / old.wall);
            cpu.push(new.cpu / old.cpu);
        }
    }
    println!("{:?}, {} events, {runs} runs; time after / before", shape.mix, shape.events);
    println!("  {wall} wall, {cpu} processors");
    Ok(())
}
