//! Runs the service, fills topics, and computes the expected tables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_ingest::RowRules;
use turnmill_model::Settings;
use turnmill_pipeline::{Event, Pipeline, Stop};
use turnmill_sink::outbox::{Outbox as _, SinkState};
use turnmill_sink_sqlite::SqliteStore;
use turnmill_source::{Container, FileOptions, FileSource, Position, Source};
use turnmill_source_kafka::{KafkaProducer, KafkaSettings, OutgoingRecord, ProducerSettings};
use turnmill_stores::AnyStore;

/// Time after which a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A record for a topic, or from one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: Vec<(String, Option<String>)>,
    /// Kafka's timestamp, Unix milliseconds.
    pub(crate) millis: i64,
}

/// Returns the records of a fixture in the `kafka` format.
pub(crate) fn capture(name: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rasa-oss-3.6/kafka").join(name);
    let lines = BufReader::new(flate2::read::GzDecoder::new(File::open(path).unwrap())).lines();
    let record = |line: Value| Record {
        key: line["key"].as_str().map(Into::into),
        value: line["value"].as_str().unwrap().into(),
        headers: line["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap().into(), pair[1].as_str().map(Into::into)))
            .collect(),
        millis: line["ts_ms"].as_i64().unwrap(),
    };
    lines.map(|line| record(serde_json::from_str(&line.unwrap()).unwrap())).collect()
}

/// A topic, and the records produced to it.
pub(crate) struct Topic {
    pub(crate) brokers: String,
    pub(crate) name: String,
    producer: KafkaProducer,
    /// Partition, offset, record.
    pub(crate) produced: Vec<(i32, i64, Record)>,
}

impl Topic {
    /// Returns an existing topic, on brokers without security.
    pub(crate) fn new(brokers: &str, name: &str) -> Self {
        Self::with(&KafkaSettings::new(brokers), name)
    }

    /// Creates a topic on the shared broker. Returns `None` if there is no broker.
    pub(crate) fn fresh(partitions: u32) -> Option<Self> {
        let (brokers, name) = turnmill_testbed::kafka::topic(partitions)?;
        Some(Self::new(&brokers, &name))
    }

    pub(crate) fn with(settings: &KafkaSettings, name: &str) -> Self {
        let producer = KafkaProducer::new(settings, &ProducerSettings::default()).unwrap();
        Self { brokers: settings.brokers.clone(), name: name.into(), producer, produced: Vec::new() }
    }

    /// Produces records, waits for their acknowledgements, and stores their offsets.
    pub(crate) fn produce(&mut self, records: &[Record]) {
        let first = self.producer.delivered().len();
        assert_eq!(first, 0, "everything was looked at");
        let mut tickets = BTreeMap::new();
        for record in records {
            let headers: Vec<(&str, Option<&[u8]>)> = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_ref().map(String::as_bytes)))
                .collect();
            let outgoing = OutgoingRecord {
                key: record.key.as_ref().map(String::as_bytes),
                payload: Some(record.value.as_bytes()),
                headers: &headers,
                time: Some(record.millis as f64 / 1000.0),
            };
            let ticket = self.producer.send(&self.name, &outgoing).unwrap();
            tickets.insert(ticket, record.clone());
        }
        self.producer.flush(PATIENCE).unwrap();
        for delivery in self.producer.delivered() {
            let (partition, offset) = delivery.result.unwrap();
            self.produced.push((partition, offset, tickets.remove(&delivery.ticket).unwrap()));
        }
        assert!(tickets.is_empty(), "not delivered: {tickets:?}");
    }

    /// Returns the offset after the last record of each partition that has records.
    pub(crate) fn ends(&self) -> BTreeMap<String, u64> {
        let mut ends = BTreeMap::new();
        for (partition, offset, _) in &self.produced {
            let end = ends.entry(format!("{}/{partition}", self.name)).or_default();
            *end = u64::try_from(offset + 1).unwrap().max(*end);
        }
        ends
    }

    /// Returns the produced records as JSON lines of the `kafka` format, partition by partition.
    pub(crate) fn dump(&self, path: &Path) {
        let mut produced: Vec<_> = self.produced.iter().collect();
        produced.sort_by_key(|(partition, offset, _)| (*partition, *offset));
        let mut file = File::create(path).unwrap();
        for (partition, offset, record) in produced {
            let line = json!({
                "topic": self.name, "partition": partition, "offset": offset, "ts_type": 1, "ts_ms": record.millis,
                "key": record.key, "headers": record.headers, "value": record.value,
            });
            writeln!(file, "{line}").unwrap();
        }
    }

    /// Returns the tables' digest after a dump of the same records is loaded without interruption,
    /// as `turnmill-replay` does.
    pub(crate) fn expected(&self) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let dump = folder.path().join("dump.jsonl");
        self.dump(&dump);
        let file = folder.path().join("replayed.sqlite");
        let settings = Settings::default();
        let rules = RowRules::new(&settings, RasaDecoder::new);
        let store = SqliteStore::file(&file);
        let mut pipeline = Pipeline::new(store, &rules, Stop::default()).with_cache_bytes(64 << 20);
        let mut open = |position: Option<&Position>| {
            let options = FileOptions { container: Some(Container::Kafka), ..FileOptions::default() };
            FileSource::open(&dump, options, position).map(|source| Box::new(source) as Box<dyn Source>)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let drained = runtime.block_on(pipeline.drain(None, &mut open, &mut |_: &Event<'_>| {})).unwrap();
        assert_eq!(drained.report.counts.records, self.produced.len() as i64);
        pipeline.into_store().finish().unwrap();
        verify(&format!("sqlite:{}", file.display()))["tables"].clone()
    }
}

/// Returns the command `turnmill` with `arguments` and an empty environment.
pub(crate) fn turnmill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnmill"));
    command.args(arguments).env_clear().current_dir(std::env::temp_dir());
    command
}

/// Runs a command to its end, and checks its exit code.
#[track_caller]
pub(crate) fn ran(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{command:?}:\n{out}\n{error}");
    output
}

/// Returns the output of `turnmill verify`, after checking that the ledger adds up.
#[track_caller]
pub(crate) fn verify(store: &str) -> Value {
    serde_json::from_slice(&ran(turnmill(&["verify", store, "--json"]), 0).stdout).unwrap()
}

/// Returns the ledger's sum over all sources.
pub(crate) fn ledger(store: &str, column: &str) -> i64 {
    verify(store)["ledger"].as_array().unwrap().iter().map(|row| row[column].as_i64().unwrap()).sum()
}

/// Returns the store's positions by partition.
pub(crate) fn positions(store: &str) -> BTreeMap<String, (String, String)> {
    let output = turnmill(&["positions", "list", store, "--json"]).output().unwrap();
    if !output.status.success() {
        // The store does not exist yet.
        return BTreeMap::new();
    }
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|one| (text(&one["partition"]), (text(&one["source"]), text(&one["position"])))).collect()
}

/// Returns the store's sinks; none if there is no store yet.
pub(crate) fn sinks(store: &str) -> Vec<SinkState> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut store = AnyStore::from_url(store).unwrap().read_only();
        match store.open_as_it_is().await {
            Ok(_) => store.sinks().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    })
}

/// Waits until the store's positions are at the ends of the topic's partitions.
#[track_caller]
pub(crate) fn wait_until_read(store: &str, topic: &Topic, service: &mut Service) {
    let ends = topic.ends();
    service.wait("the topic is read", |_| {
        let positions = positions(store);
        ends.iter().all(|(partition, end)| {
            positions.get(partition).is_some_and(|(_, position)| position.parse::<u64>().unwrap() >= *end)
        })
    });
}

/// The service as a process.
pub(crate) struct Service {
    child: Child,
    folder: TempDir,
    address: String,
}

/// Returns the variables for a service that reads `topic` into `store`.
pub(crate) fn variables(topic: &Topic, store: &str) -> Vec<(String, String)> {
    [
        ("KAFKA_BROKER_ADDRESS", topic.brokers.as_str()),
        ("KAFKA_TOPIC", &topic.name),
        ("RASA_ANALYTICS_CONSUMER_ID", &format!("group-of-{}", topic.name)),
        ("RASA_ANALYTICS_DB_URL", store),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl Service {
    /// Starts the service, and waits until it serves HTTP.
    #[track_caller]
    pub(crate) fn start(variables: &[(String, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = turnmill(&["run"])
            .current_dir(folder.path())
            .env("TURNMILL_HTTP_ADDRESS", "127.0.0.1:0")
            .env("FORCE_JSON_LOGGING", "true")
            .env("TURNMILL_FLUSH_INTERVAL_MS", "50")
            .envs(variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut service = Self { child, folder, address: String::new() };
        service.wait("HTTP is served", |service| {
            let line = service.messages().into_iter().find(|line| line["message"] == "serving HTTP");
            service.address =
                line.map(|line| line["address"].as_str().unwrap().to_owned()).unwrap_or_default();
            !service.address.is_empty()
        });
        service
    }

    /// Returns its standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Returns the last lines of its log, the newest first: a report of a failed test is often cut,
    /// and the reason comes last.
    fn last_lines(&self) -> String {
        let log = self.log();
        log.lines().rev().take(40).fold(String::new(), |lines, line| lines + line + "\n")
    }

    /// Returns its log messages; fields are beside `message`.
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Returns whether a message contains this text.
    pub(crate) fn said(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits while the process runs.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!(
                    "waiting until {what}, the service ended with {status}, newest first:\n{}",
                    self.last_lines()
                );
            }
            assert!(
                Instant::now() < end,
                "waited too long until {what}, newest first:\n{}",
                self.last_lines()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns status and body of a page, or `None` without a response.
    pub(crate) fn get(&self, path: &str) -> Option<(u16, String)> {
        self.request("GET", path, &[], "")
    }

    /// Returns its HTTP address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns status and body of the response to a request, or `None` without a response.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (host, length) = (&self.address, body.len());
        let head = format!("Host: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}");
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n{body}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Returns the sum of all samples whose line begins with `prefix`, with as many labels as it
    /// has.
    pub(crate) fn metric(&self, prefix: &str) -> f64 {
        let (_, text) = self.get("/metrics").unwrap();
        text.lines()
            .filter(|line| line.starts_with(prefix))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the service does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, so that it cannot end cleanly.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it, and checks that it ends cleanly and in time.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let asked = Instant::now();
        self.signal("TERM");
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(asked.elapsed() < Duration::from_secs(60), "it took {:?}:\n{}", asked.elapsed(), self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
