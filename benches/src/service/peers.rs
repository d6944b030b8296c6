//! Compares with programs that write the same topic to PostgreSQL, as raw JSON in one table,
//! without sessions.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use turnmill_sink_postgres::ForeignKeys;
use turnmill_testbed::postgres::{PASSWORD, USER};

use super::fill::{BATCH, Filled, into_schema};
use super::servers::{Keys, Servers, Topic};
use crate::body::Mix;
use crate::measure::{Failure, Figures};
use crate::stream::Shape;

/// Paths of the other programs.
pub(crate) struct Peers {
    pub(crate) python: PathBuf,
    pub(crate) script: PathBuf,
    pub(crate) jars: PathBuf,
}

/// Stops Kafka Connect when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints our rate divided by that of each program.
pub(crate) fn measure(peers: &Peers, mix: Mix, events: u64, runs: usize) -> Result<(), Failure> {
    let servers = Servers::start()?;
    let topic = servers.produce(&Shape::new(mix, events, 1), 1, Keys::Sender)?;
    type Peer = fn(&Peers, &Servers, &Topic, usize) -> Result<f64, Failure>;
    let mut others: Vec<(&str, Peer, Figures, Figures)> = Vec::new();
    for (name, peer, needed) in [
        ("plain Python consumer", python as Peer, &peers.python),
        ("Kafka Connect with Debezium's JDBC sink", connect as Peer, &peers.jars),
    ] {
        if needed.exists() {
            others.push((name, peer, Figures::default(), Figures::default()));
        } else {
            println!("left out: {name}, as there is no {}", needed.display());
        }
    }
    let mut own = Figures::default();
    for run in 0..=runs {
        for (_, peer, ratio, rate) in &mut others {
            servers.settle();
            let schema = format!("ours_{run}");
            let filled = into_schema(&servers, &topic, &schema, ForeignKeys::None, 1, BATCH)?;
            servers.drop_schema(&schema);
            // A new group has no committed offsets.
            servers.sql("DROP TABLE IF EXISTS raw; CREATE TABLE raw (body text)");
            servers.settle();
            let theirs = peer(peers, &servers, &topic, run)?;
            let ours = topic.records as f64 / Filled::seconds(&filled);
            // The first run is a warm-up.
            if run > 0 {
                own.push(ours / 1000.0);
                rate.push(theirs / 1000.0);
                ratio.push(ours / theirs);
            }
        }
    }
    println!(
        "{mix:?}, {events} events, one partition, batches of {BATCH}; ours: {own} thousand events a second"
    );
    for (name, _, ratio, rate) in &others {
        println!("  our rate / {name}: {ratio}; {rate} thousand events a second");
    }
    Ok(())
}

/// Returns the events per second of the Python script, which reports its own time.
fn python(peers: &Peers, servers: &Servers, topic: &Topic, run: usize) -> Result<f64, Failure> {
    let output = Command::new(&peers.python)
        .arg(&peers.script)
        .args([&topic.bootstrap, &topic.name, &format!("python-{run}"), &topic.records.to_string()])
        .args([&servers.postgres.url(), &BATCH.to_string()])
        .output()?;
    if !output.status.success() {
        return Err(format!("the Python consumer: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let wall = answer["wall"].as_f64().ok_or("the Python consumer gives no time")?;
    stored(servers, topic.records)?;
    Ok(topic.records as f64 / wall)
}

fn stored(servers: &Servers, expected: u64) -> Result<(), Failure> {
    let found = servers.sql("SELECT count(*) FROM raw").join("");
    if found == expected.to_string() {
        Ok(())
    } else {
        Err(format!("{found} of {expected} rows came").into())
    }
}

/// Returns the events per second of Kafka Connect from its first rows to its last, without its
/// start.
fn connect(peers: &Peers, servers: &Servers, topic: &Topic, run: usize) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let (bootstrap, offsets) = (&topic.bootstrap, path("offsets").display().to_string());
    let worker = format!(
        "bootstrap.servers={bootstrap}\noffset.storage.file.filename={offsets}\nlisteners=http://127.0.0.1:0\n\
         plugin.discovery=only_scan\noffset.flush.interval.ms=5000\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n"
    );
    let address = servers.postgres.url().rsplit('@').next().unwrap_or_default().to_owned();
    let sink = format!(
        "name=sink-{run}\nconnector.class=io.debezium.connector.jdbc.JdbcSinkConnector\ntasks.max=1\n\
         topics={topic}\nconnection.url=jdbc:postgresql://{address}?reWriteBatchedInserts=true\n\
         connection.username={USER}\nconnection.password={PASSWORD}\n\
         transforms=hoist\ntransforms.hoist.type=org.apache.kafka.connect.transforms.HoistField$Value\n\
         transforms.hoist.field=body\ncollection.name.format=raw\ninsert.mode=insert\nprimary.key.mode=none\n\
         schema.evolution=none\nbatch.size={BATCH}\nconsumer.override.max.poll.records={BATCH}\n\
         consumer.override.auto.offset.reset=earliest\n",
        topic = topic.name,
    );
    fs::write(path("worker.properties"), worker)?;
    fs::write(path("sink.properties"), sink)?;
    let log = path("log");
    let child = Command::new("java")
        .args(["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(format!("{}/*", peers.jars.display()))
        .arg("org.apache.kafka.connect.cli.ConnectStandalone")
        .args([path("worker.properties"), path("sink.properties")])
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let mut running = Running(child);
    let begun = Instant::now();
    let count = || -> Result<u64, Failure> {
        servers.runtime.block_on(async {
            let client = servers.connect().await?;
            let count: i64 = client.query_one("SELECT count(*) FROM raw", &[]).await?.try_get(0)?;
            Ok(u64::try_from(count)?)
        })
    };
    let mut first = None;
    loop {
        let (now, rows) = (Instant::now(), count()?);
        let (since, of) = *first.get_or_insert((now, rows));
        if rows == topic.records {
            if of == 0 || since == now {
                return Err("Kafka Connect was too quick to be measured: give it more events".into());
            }
            return Ok((rows - of) as f64 / (now - since).as_secs_f64());
        }
        if of == 0 {
            first = None;
        }
        let text = || fs::read_to_string(&log).unwrap_or_default();
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("Kafka Connect ended, {status}: {}", text()).into());
        }
        if begun.elapsed() > Duration::from_secs(600) {
            return Err(format!("Kafka Connect brought {rows} rows in ten minutes: {}", text()).into());
        }
        std::thread::sleep(Duration::from_millis(if of == 0 { 20 } else { 200 }));
    }
}
