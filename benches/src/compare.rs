//! Decoder and engine compared with programs that only divide events into sessions.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use turnmill_engine::Engine;
use turnmill_model::Settings;

use crate::engine::{self, Rule};
use crate::measure::{Failure, Figures, Seconds, seconds};

/// Names of the other programs in `peers.py`.
const PEERS: [&str; 4] = ["duckdb", "polars", "polars-streaming", "chdb"];

#[derive(Default)]
struct Row {
    wall: Figures,
    cpu: Figures,
    ratio_wall: Figures,
    ratio_cpu: Figures,
}

/// Prints the time of each other program on `file` divided by ours, for `runs` alternating runs.
pub(crate) fn compare(file: &Path, python: &Path, script: &Path, runs: usize) -> Result<(), Failure> {
    let engine = Engine::new(&Settings::default());
    for rule in [Rule::Rasa, Rule::Gap] {
        let mut rows: Vec<Row> = PEERS.iter().map(|_| Row::default()).collect();
        let (mut wall, mut cpu, mut best) = (Figures::default(), Figures::default(), Figures::default());
        engine::sessions(file, &engine, rule, 2)?;
        let mut last = None;
        for _ in 0..runs {
            let mut of_run = f64::INFINITY;
            for (peer, row) in PEERS.iter().zip(&mut rows) {
                let (found, ours) = seconds(|| engine::sessions(file, &engine, rule, 2))?;
                let (sessions, theirs) = ask(python, script, peer, file)?;
                let differs = rule == Rule::Gap && (sessions != found.sessions || found.not_applied > 0);
                if differs || found.refused > 0 {
                    return Err(format!("{peer} found {sessions} sessions, ours are {found:?}").into());
                }
                wall.push(ours.wall);
                cpu.push(ours.cpu);
                row.wall.push(theirs.wall);
                row.cpu.push(theirs.cpu);
                row.ratio_wall.push(theirs.wall / ours.wall);
                row.ratio_cpu.push(theirs.cpu / ours.cpu);
                of_run = of_run.min(theirs.wall / ours.wall);
                last = Some(found);
            }
            best.push(of_run);
        }
        println!("rule {rule:?}: {:?}", last.unwrap_or_default());
        println!("  best other / ours, wall clock: {best}");
        println!("  ours: {wall} s, {cpu} s of processors");
        for (peer, row) in PEERS.iter().zip(&rows) {
            println!(
                "  {peer} / ours: {} wall, {} processors; {} s, {} s",
                row.ratio_wall, row.ratio_cpu, row.wall, row.cpu
            );
        }
    }
    Ok(())
}

fn ask(python: &Path, script: &Path, peer: &str, file: &Path) -> Result<(usize, Seconds), Failure> {
    let output = Command::new(python).arg(script).arg(peer).arg(file).output()?;
    if !output.status.success() {
        return Err(format!("{peer}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let figure = |name: &str| answer[name].as_f64().ok_or("a figure is missing");
    let sessions = answer["sessions"].as_u64().ok_or("no sessions")?;
    Ok((usize::try_from(sessions)?, Seconds { wall: figure("wall")?, cpu: figure("cpu")? }))
}
