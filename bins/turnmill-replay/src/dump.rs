//! `--dump FILE`: writes records from Kafka as lines of the format `kafka`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use turnmill_pipeline::Stop;
use turnmill_source::{RecordBatch, SourceRecord};

use crate::Failure;
use crate::args::Args;
use crate::inputs::Input;
use crate::progress::{Display, counted};

/// A line of a dump.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    ts_type: u8,
    ts_ms: i64,
    key: Option<&'a str>,
    headers: Vec<(&'a str, Option<&'a str>)>,
    value: Option<&'a str>,
}

/// Counts of dumped records.
#[derive(Debug, Default)]
pub(crate) struct Dumped {
    inputs: usize,
    file: String,
    lines: u64,
    /// Number of records that are not UTF-8, and the position of the first.
    binary: u64,
    first: Option<String>,
    pub(crate) stopped: bool,
}

/// Writes all inputs into `path`, which must not exist.
pub(crate) fn dump(args: &Args, inputs: &[Input], path: &Path, stop: &Stop) -> Result<Dumped, Failure> {
    let failed = |source| Failure::Dump { path: path.display().to_string(), source };
    let file = if path == Path::new("-") { None } else { Some(File::create_new(path).map_err(failed)?) };
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match &file {
        Some(file) => Box::new(file.try_clone().map_err(failed)?),
        None => Box::new(std::io::stdout()),
    });
    let mut dumped = Dumped { inputs: inputs.len(), file: path.display().to_string(), ..Dumped::default() };
    for input in inputs {
        let mut display = Display::new(input, args.quiet);
        input.each_batch(args.batch, false, stop, &mut |batch| {
            dumped.write(&mut out, input, batch, &failed)?;
            display.passed(batch);
            Ok(())
        })?;
    }
    out.flush().map_err(failed)?;
    if let Some(file) = file {
        file.sync_all().map_err(failed)?;
    }
    dumped.stopped = stop.is_set();
    Ok(dumped)
}

impl Dumped {
    fn write(
        &mut self,
        out: &mut impl Write,
        input: &Input,
        batch: &RecordBatch,
        failed: &dyn Fn(std::io::Error) -> Failure,
    ) -> Result<(), Failure> {
        for record in batch.iter() {
            let Some(origin) = record.origin else {
                return Err(Failure::NotFromKafka { input: input.name.clone(), offset: record.offset });
            };
            match line(&record) {
                Some(line) => {
                    serde_json::to_writer(&mut *out, &line).map_err(|error| failed(error.into()))?;
                    out.write_all(b"\n").map_err(failed)?;
                    self.lines += 1;
                }
                None => {
                    self.binary += 1;
                    let position =
                        || format!("{}/{} at offset {}", origin.topic, origin.partition, origin.offset);
                    self.first.get_or_insert_with(position);
                }
            }
        }
        Ok(())
    }

    /// Returns the error about records that were left out, if any.
    pub(crate) fn left_out(&self) -> Option<Failure> {
        let first = self.first.clone()?;
        Some(Failure::Binary { count: self.binary, first })
    }

    /// Returns the report as text.
    pub(crate) fn text(&self) -> String {
        let inputs = counted(self.inputs as u64, "input");
        format!("{} from {inputs} into {}\n", counted(self.lines, "record"), self.file)
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        json!({"file": self.file, "records": self.lines, "not_text": self.binary, "interrupted": self.stopped})
    }
}

/// Returns the record as a line, or `None` if it contains bytes that are not UTF-8.
fn line<'a>(record: &SourceRecord<'a>) -> Option<Line<'a>> {
    let origin = record.origin?;
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
    let headers = record
        .headers
        .map(|(name, value)| Some((name, value.map(text).map_or(Some(None), |text| text.map(Some))?)));
    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
    let millis = record.time.map(|seconds| (seconds * 1000.0).round() as i64);
    Some(Line {
        topic: origin.topic,
        partition: origin.partition,
        offset: origin.offset,
        ts_type: u8::from(millis.is_some()),
        ts_ms: millis.unwrap_or(-1),
        key: record.key.map(text).map_or(Some(None), |text| text.map(Some))?,
        headers: headers.collect::<Option<_>>()?,
        value: if record.payload.is_empty() { None } else { Some(text(record.payload)?) },
    })
}
