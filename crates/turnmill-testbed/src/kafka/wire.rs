//! The requests of Kafka's protocol that administer topics.
//!
//! Kafka's own tools take a second and a processor for each start, which is too slow for tests. The
//! versions here are those of brokers from 2.4 to 4, before the "flexible" encoding.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// Timeout of an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const METADATA: (i16, i16) = (3, 4);
const CREATE_TOPICS: (i16, i16) = (19, 4);
const DELETE_TOPICS: (i16, i16) = (20, 1);
const DELETE_RECORDS: (i16, i16) = (21, 0);
const CREATE_PARTITIONS: (i16, i16) = (37, 0);

const UNKNOWN_TOPIC: i16 = 3;

/// Result with the error in words.
pub(super) type Result<T> = std::result::Result<T, String>;

/// A connection to one broker.
pub(super) struct Client {
    stream: TcpStream,
}

/// A broker's knowledge of the cluster and of one topic.
#[derive(Debug, Default)]
struct Metadata {
    /// Number and address of each broker.
    brokers: Vec<(i32, String)>,
    /// The topic's error, 0 for none.
    error: i16,
    /// Number, error and leader of each partition.
    partitions: Vec<(i32, i16, i32)>,
}

impl Client {
    /// Connects to the first of `HOST:PORT,...` that answers.
    pub(super) fn connect(bootstrap: &str) -> Result<Self> {
        let mut last = "names no broker".to_owned();
        for address in bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            match Self::connect_to(address) {
                Ok(stream) => return Ok(Self { stream }),
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!("connecting to `{bootstrap}`: {last}"))
    }

    fn connect_to(address: &str) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::other("the name has no address");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns whether the broker is part of a working cluster.
    pub(super) fn is_ready(&mut self) -> Result<bool> {
        Ok(!self.metadata(None)?.brokers.is_empty())
    }

    pub(super) fn create_topic(
        &mut self,
        name: &str,
        partitions: u32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let mut request = Request::default();
        request.count(1).text(name).i32(partitions.cast_signed());
        // Default number of replicas, and no assignment.
        request.i16(-1).count(0).count(configs.len());
        for (name, value) in configs {
            request.text(name).text(value);
        }
        request.timeout().bool(false);
        self.expect_none(CREATE_TOPICS, &request, true)?;
        self.wait_for_leaders(name, partitions)
    }

    pub(super) fn delete_topic(&mut self, name: &str) -> Result<()> {
        let mut request = Request::default();
        request.count(1).text(name).timeout();
        self.expect_none(DELETE_TOPICS, &request, false)?;
        self.wait_for(name, |metadata| metadata.error == UNKNOWN_TOPIC)
    }

    pub(super) fn set_partitions(&mut self, name: &str, partitions: u32) -> Result<()> {
        let mut request = Request::default();
        request.count(1).text(name).i32(partitions.cast_signed()).i32(-1).timeout().bool(false);
        self.expect_none(CREATE_PARTITIONS, &request, true)?;
        self.wait_for_leaders(name, partitions)
    }

    /// Deletes the records of a partition before an offset; -1 means all.
    pub(super) fn delete_records(&mut self, topic: &str, partition: u32, before: i64) -> Result<()> {
        let partition = partition.cast_signed();
        let metadata = self.metadata(Some(topic))?;
        let leader = metadata.partitions.iter().find(|(number, ..)| *number == partition);
        let address = leader.and_then(|(.., leader)| metadata.brokers.iter().find(|(id, _)| id == leader));
        let Some((_, address)) = address else {
            return Err(format!("partition {partition} of topic `{topic}` has no leader"));
        };
        let mut request = Request::default();
        request.count(1).text(topic).count(1).i32(partition).i64(before).timeout();
        let answer = Self::connect(address)?.ask(DELETE_RECORDS, &request)?;
        let mut answer = Answer(&answer);
        answer.i32()?; // how long the request was held back
        for _ in 0..answer.i32()? {
            answer.text()?;
            for _ in 0..answer.i32()? {
                answer.i32()?;
                answer.i64()?;
                let error = answer.i16()?;
                if error != 0 {
                    return Err(format!("deleting records of `{topic}`: Kafka's error {error}"));
                }
            }
        }
        Ok(())
    }

    /// Sends a request whose answer is a list of topics with their errors.
    fn expect_none(&mut self, api: (i16, i16), request: &Request, messages: bool) -> Result<()> {
        let answer = self.ask(api, request)?;
        let mut answer = Answer(&answer);
        answer.i32()?; // how long the request was held back
        for _ in 0..answer.i32()? {
            let topic = answer.text()?.unwrap_or_default();
            let error = answer.i16()?;
            let message = if messages { answer.text()? } else { None };
            if error != 0 {
                let message = message.unwrap_or_default();
                return Err(format!("topic `{topic}`: Kafka's error {error} {message}"));
            }
        }
        Ok(())
    }

    fn wait_for_leaders(&mut self, topic: &str, partitions: u32) -> Result<()> {
        self.wait_for(topic, |metadata| {
            metadata.error == 0
                && metadata.partitions.len() == partitions as usize
                && metadata.partitions.iter().all(|&(_, error, leader)| error == 0 && leader >= 0)
        })
    }

    /// Waits until a change has reached the broker.
    fn wait_for(&mut self, topic: &str, done: impl Fn(&Metadata) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            let metadata = self.metadata(Some(topic))?;
            if done(&metadata) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("topic `{topic}` stays as it is: {metadata:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn metadata(&mut self, topic: Option<&str>) -> Result<Metadata> {
        let mut request = Request::default();
        request.count(topic.iter().len());
        if let Some(topic) = topic {
            request.text(topic);
        }
        request.bool(false); // create nothing
        let answer = self.ask(METADATA, &request)?;
        let (mut answer, mut metadata) = (Answer(&answer), Metadata::default());
        answer.i32()?; // how long the request was held back
        for _ in 0..answer.i32()? {
            let (id, host, port) = (answer.i32()?, answer.text()?.unwrap_or_default(), answer.i32()?);
            answer.text()?; // rack
            metadata.brokers.push((id, format!("{host}:{port}")));
        }
        answer.text()?; // cluster
        answer.i32()?; // controller
        for _ in 0..answer.i32()? {
            metadata.error = answer.i16()?;
            answer.text()?;
            answer.take::<1>()?; // whether it is internal
            for _ in 0..answer.i32()? {
                let error = answer.i16()?;
                metadata.partitions.push((answer.i32()?, error, answer.i32()?));
                for _ in ["replicas", "those in sync"] {
                    for _ in 0..answer.i32()? {
                        answer.i32()?;
                    }
                }
            }
        }
        Ok(metadata)
    }

    fn ask(&mut self, (api, version): (i16, i16), request: &Request) -> Result<Vec<u8>> {
        let mut header = Request::default();
        header.i16(api).i16(version).i32(0).text("turnmill-testbed");
        let length = (header.0.len() + request.0.len()) as u32;
        let message = [&length.to_be_bytes()[..], &header.0, &request.0].concat();
        let mut read = || {
            self.stream.write_all(&message)?;
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut answer = vec![0; u32::from_be_bytes(length) as usize];
            self.stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        let mut answer =
            read().map_err(|error: std::io::Error| format!("asking Kafka (request {api}): {error}"))?;
        answer.drain(..answer.len().min(4)); // which request it answers; there is only one
        Ok(answer)
    }
}

#[derive(Default)]
struct Request(Vec<u8>);

impl Request {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn bool(&mut self, value: bool) -> &mut Self {
        self.bytes(&[u8::from(value)])
    }

    fn i16(&mut self, value: i16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    fn count(&mut self, count: usize) -> &mut Self {
        self.i32(count as i32)
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.i16(text.len() as i16).bytes(text.as_bytes())
    }

    fn timeout(&mut self) -> &mut Self {
        self.i32(PATIENCE.as_millis() as i32)
    }
}

struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or("Kafka's answer is too short")?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn i16(&mut self) -> Result<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn text(&mut self) -> Result<Option<String>> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        let (text, rest) = self.0.split_at_checked(length).ok_or("Kafka's answer is too short")?;
        self.0 = rest;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }
}
