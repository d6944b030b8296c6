//! `--to kafka:TOPIC`: publishes the records of the inputs as Rasa's producer would send them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use turnmill_pipeline::Stop;
use turnmill_source::{ENVIRONMENT_HEADER, RecordBatch, RecordOutcome};
use turnmill_source_kafka::{KafkaError, KafkaProducer, OutgoingRecord};

use crate::Failure;
use crate::args::Args;
use crate::body::BodyBuilder;
use crate::inputs::Input;
use crate::progress::{Display, counted, grouped};

/// Time the brokers have to acknowledge the last records.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(130);

/// Counts of published records.
#[derive(Debug)]
pub(crate) struct Published {
    topic: String,
    inputs: usize,
    records: u64,
    sent: u64,
    delivered: u64,
    refused: u64,
    skipped: u64,
    elapsed: Duration,
    pub(crate) stopped: bool,
}

/// Publishes all inputs, one after the other, and waits until everything is delivered.
pub(crate) fn publish(args: &Args, inputs: &[Input], topic: &str, stop: &Stop) -> Result<Published, Failure> {
    if args.follow && inputs.len() > 1 {
        return Err(Failure::Usage("--follow with --to kafka:TOPIC takes one input".into()));
    }
    let (settings, producer) = args.kafka.output(topic)?;
    let mut sender = Sender {
        producer: KafkaProducer::new(&settings, &producer)?,
        bodies: BodyBuilder::new(args.shift, args.kafka.keyed),
        args,
        stop,
        began: Instant::now(),
        published: Published {
            topic: topic.to_owned(),
            inputs: inputs.len(),
            records: 0,
            sent: 0,
            delivered: 0,
            refused: 0,
            skipped: 0,
            elapsed: Duration::ZERO,
            stopped: false,
        },
    };
    for input in inputs {
        let mut display = Display::new(input, args.quiet);
        input.each_batch(args.batch, true, stop, &mut |batch| {
            sender.send(batch)?;
            display.passed(batch);
            Ok(())
        })?;
    }
    let Sender { mut producer, began, mut published, .. } = sender;
    let flushed = producer.flush(FLUSH_TIMEOUT);
    published.delivered += delivered(&mut producer)?;
    flushed?;
    published.elapsed = began.elapsed();
    published.stopped = stop.is_set();
    Ok(published)
}

struct Sender<'a> {
    producer: KafkaProducer,
    bodies: BodyBuilder,
    args: &'a Args,
    stop: &'a Stop,
    began: Instant,
    published: Published,
}

impl Sender<'_> {
    fn send(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let kafka = &self.args.kafka;
        for record in batch.iter() {
            if self.stop.is_set() {
                break;
            }
            self.published.records += 1;
            match record.outcome {
                RecordOutcome::Skipped => {
                    self.published.skipped += 1;
                    continue;
                }
                RecordOutcome::Refused(_) => self.published.refused += 1,
                RecordOutcome::Body => {}
            }
            self.limit_rate();
            let out = self.bodies.outgoing(&record);
            let key = match (kafka.keyed, kafka.unkeyed) {
                (true, _) => out.sender.as_deref().map(str::as_bytes),
                (_, true) => None,
                (false, false) => record.key,
            };
            let own: Vec<(&str, Option<&[u8]>)> = record.headers.collect();
            let given = [(ENVIRONMENT_HEADER, Some(kafka.environment.as_bytes()))];
            let headers = if record.origin.is_some() { &own[..] } else { &given[..] };
            let outgoing = OutgoingRecord { key, payload: Some(&out.body), headers, time: out.time };
            self.producer.send(&self.published.topic, &outgoing)?;
            self.published.sent += 1;
        }
        self.published.delivered += delivered(&mut self.producer)?;
        Ok(())
    }

    /// Waits until the next record is due under `--rate`.
    fn limit_rate(&self) {
        let Some(rate) = self.args.kafka.rate else { return };
        let due = Duration::from_secs_f64(self.published.sent as f64 / f64::from(rate));
        while let Some(left) = due.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero()) {
            if self.stop.is_set() {
                return;
            }
            self.stop.wait(left);
        }
    }
}

/// Returns the number of records delivered since the last call, or an error if one was not
/// delivered.
fn delivered(producer: &mut KafkaProducer) -> Result<u64, KafkaError> {
    let mut count = 0;
    for delivery in producer.delivered() {
        delivery.result?;
        count += 1;
    }
    Ok(count)
}

impl Published {
    fn rate(&self) -> u64 {
        (self.sent as f64 / self.elapsed.as_secs_f64().max(0.001)) as u64
    }

    /// Returns the report as text.
    pub(crate) fn text(&self) -> String {
        let inputs = counted(self.inputs as u64, "input");
        let mut lines =
            vec![format!("{} from {inputs} into kafka:{}\n", counted(self.records, "record"), self.topic)];
        for (label, count) in [
            ("delivered", self.delivered),
            ("of these, not decodable", self.refused),
            ("skipped", self.skipped),
            ("records per second", self.rate()),
        ] {
            lines.push(format!("  {label:<28} {:>12}", grouped(count)));
        }
        lines.push(format!("  {:<28} {:>12}\n", "time", format!("{:.1} s", self.elapsed.as_secs_f64())));
        lines.join("\n")
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "topic": self.topic,
            "records": self.records,
            "delivered": self.delivered,
            "unreadable": self.refused,
            "skipped": self.skipped,
            "interrupted": self.stopped,
            "seconds": self.elapsed.as_secs_f64(),
            "records_per_second": self.rate(),
        })
    }
}
