//! From sending a record to seeing its row, while the service is idle.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use rdkafka::producer::Producer as _;
use turnmill_formats::rasa::RasaDecoder;
use turnmill_model::{Decoder as _, Record, Settings};
use turnmill_sink_postgres::{ForeignKeys, PostgresStore};

use super::fill::Reading;
use super::servers::{Keys, Servers, producer, send};
use crate::body::Mix;
use crate::measure::Failure;
use crate::stream::Shape;

/// Looks every millisecond which of the rows sent are there; milliseconds from sending to seeing.
async fn watch(
    servers: &Servers,
    schema: &str,
    sent: Receiver<(String, Instant)>,
) -> Result<Vec<f64>, Failure> {
    let client = servers.connect().await?;
    let sql = format!("SELECT id::text FROM {schema}.rasa_event WHERE id = ANY ($1::text[])");
    let statement = client.prepare(&sql).await?;
    let mut waiting: HashMap<String, Instant> = HashMap::new();
    let mut seen = Vec::new();
    let mut open = true;
    let mut silent = Instant::now();
    while open || !waiting.is_empty() {
        loop {
            match sent.try_recv() {
                Ok((id, at)) => drop(waiting.insert(id, at)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        let ids: Vec<&str> = waiting.keys().map(String::as_str).collect();
        if !ids.is_empty() {
            let rows = client.query(&statement, &[&ids]).await?;
            let now = Instant::now();
            for row in rows {
                if let Some(at) = waiting.remove(row.try_get::<_, &str>(0)?) {
                    seen.push((now - at).as_secs_f64() * 1000.0);
                    silent = now;
                }
            }
        }
        if !open && silent.elapsed() > Duration::from_secs(30) {
            return Err(format!("{} records never became visible", waiting.len()).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(seen)
}

/// Prints the latencies of `records` records, for one flush interval.
fn with_flush(servers: &Servers, flush: Duration, records: usize) -> Result<(), Failure> {
    let topic = servers.topic(1);
    let schema = format!("latency_{}", flush.as_millis());
    let store = PostgresStore::new(servers.store(&schema, ForeignKeys::None)?);
    let mut reading = Reading::new(&topic, format!("group-{schema}"));
    (reading.linger, reading.until_end) = (flush, false);
    let stop = reading.stop.clone();
    let lines = Shape::new(Mix::Capture, records as u64 + 50, 5).lines();
    let seen = std::thread::scope(|scope| {
        let service = scope.spawn(|| reading.fill(store, servers.runtime.handle()));
        // Joined, with tables and prepared statements, before anything is counted.
        let producer = producer(&topic)?;
        let put = |line: &String| -> Result<Instant, Failure> {
            let at = Instant::now();
            send(&producer, &topic, line, Keys::Sender, 0)?;
            Ok(at)
        };
        for line in &lines[..50] {
            put(line)?;
            producer.flush(Duration::from_secs(10))?;
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_secs(2));
        let (tell, sent) = channel();
        let watching = scope.spawn(|| servers.runtime.block_on(watch(servers, &schema, sent)));
        let decoder = RasaDecoder::new(&Settings::default());
        let mut rng = fastrand::Rng::with_seed(7);
        for line in &lines[50..] {
            let mut events = Vec::new();
            let record = Record { payload: line.as_bytes(), ..Record::default() };
            decoder.decode(&record, &mut events).map_err(|refused| format!("{refused:?}"))?;
            let id = events.first().ok_or("a record without an event")?.id.0.to_string();
            tell.send((id, put(line)?))?;
            // The pause is the clients': deliveries are taken note of meanwhile.
            let pause = Instant::now() + Duration::from_millis(rng.u64(50..=150));
            while Instant::now() < pause {
                producer.poll(pause.saturating_duration_since(Instant::now()));
            }
        }
        drop(tell);
        let seen = watching.join().map_err(|_| "the watcher failed")?;
        stop.set();
        service.join().map_err(|_| "the service failed")??;
        seen
    })?;
    servers.drop_schema(&schema);
    let mut sorted = seen;
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    };
    let flush = flush.as_millis();
    println!(
        "flush interval {flush} ms, {} records: visible after p50 {:.0}, p90 {:.0}, p99 {:.0}, at most {:.0} ms; p99 is \
         flush {:+.0} ms",
        sorted.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        at(0.99) - flush as f64
    );
    Ok(())
}

pub(crate) fn measure(flushes: &[u64], records: usize) -> Result<(), Failure> {
    let servers = Servers::start()?;
    flushes.iter().try_for_each(|flush| with_flush(&servers, Duration::from_millis(*flush), records))
}
