//! Clocks, counters of the operating system, and medians.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Any error in a measurement.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Wall-clock and processor seconds, user and system, of all threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seconds {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Measures the seconds that `work` takes in this process.
pub(crate) fn seconds<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Seconds), Failure> {
    let (start, before) = (Instant::now(), cpu()?);
    let result = work()?;
    Ok((result, Seconds { wall: start.elapsed().as_secs_f64(), cpu: cpu()? - before }))
}

/// Processor seconds of this process so far, in steps of a hundredth.
fn cpu() -> Result<f64, Failure> {
    let [user, system, ..] = times(&std::fs::read_to_string("/proc/self/stat")?)?.1;
    Ok((user + system) / 100.0)
}

/// Returns the processor seconds of process `pid`, of finished children, and of running ones.
pub(crate) fn process_cpu(pid: u32) -> Result<f64, Failure> {
    let mut ticks: f64 = times(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)?.1.iter().sum();
    for entry in std::fs::read_dir("/proc")? {
        // The times of a process that ends meanwhile are added to those of its parent.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        if let Ok((parent, times)) = times(&stat)
            && parent == f64::from(pid)
        {
            ticks += times.iter().sum::<f64>();
        }
    }
    Ok(ticks / 100.0)
}

/// Parent, and ticks in user and system mode of the process and of finished children.
fn times(stat: &str) -> Result<(f64, [f64; 4]), Failure> {
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> =
        after_name.split_ascii_whitespace().map(|field| field.parse().unwrap_or(f64::NAN)).collect();
    match fields[..] {
        [_, parent, _, _, _, _, _, _, _, _, _, user, system, user_waited, system_waited, ..] => {
            Ok((parent, [user, system, user_waited, system_waited]))
        }
        _ => Err("no processor times".into()),
    }
}

/// Bytes of this process's memory that are resident (`VmRSS`) or were at most (`VmHWM`).
pub(crate) fn resident(which: &str) -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or("no such memory figure")?;
    let kibibytes = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<f64>()?;
    Ok(kibibytes * 1024.0)
}

/// Resources that a command used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) seconds: Seconds,
    /// Peak resident memory in bytes.
    pub(crate) peak: f64,
}

/// Runs a command to its end under GNU time.
pub(crate) fn run(program: &Path, arguments: &[&str]) -> Result<Cost, Failure> {
    let start = Instant::now();
    let output =
        Command::new("/usr/bin/time").args(["-f", "%U %S %M"]).arg(program).args(arguments).output()?;
    let wall = start.elapsed().as_secs_f64();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} {arguments:?} failed: {stderr}", program.display()).into());
    }
    let figures: Vec<f64> =
        stderr.lines().last().unwrap_or_default().split(' ').flat_map(str::parse).collect();
    let [user, system, kibibytes] = figures[..] else {
        return Err(format!("no figures in `{stderr}`").into());
    };
    Ok(Cost { seconds: Seconds { wall, cpu: user + system }, peak: kibibytes * 1024.0 })
}

/// Figures of several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        let (low, high) = (self.0.get((self.0.len().max(1) - 1) / 2), self.0.get(self.0.len() / 2));
        (low.copied().unwrap_or(f64::NAN) + high.copied().unwrap_or(f64::NAN)) / 2.0
    }
}

/// Formats the median, followed by the least and the greatest value.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = [self.0.first(), self.0.last()].map(|end| end.copied().unwrap_or(f64::NAN));
        write!(f, "{:.2} ({:.2} to {:.2})", self.median(), ends[0], ends[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let mut figures = Figures::default();
        for figure in [3.0, 1.0, 2.0] {
            figures.push(figure);
        }
        assert_eq!(figures.to_string(), "2.00 (1.00 to 3.00)");
        figures.push(10.0);
        assert!((figures.median() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn the_process_has_memory_and_time() {
        let now = resident("VmRSS").unwrap();
        assert!(now > 1e5 && resident("VmHWM").unwrap() > now * 0.9);
        assert!(cpu().unwrap() >= 0.0);
    }
}
