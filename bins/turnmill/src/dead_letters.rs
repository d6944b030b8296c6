//! `turnmill dead-letters`.

use std::io::Write;

use serde_json::{Value, json};
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, RowRules};
use turnmill_model::Reason;
use turnmill_pipeline::{Retried, counted, retry_dead_letter};
use turnmill_sink::{DeadLetter, Inspect};
use turnmill_stores::AnyStore;
use turnmill_text::{escaped, escaped_bytes};

use crate::failure::Failure;
use crate::store_args::{StoreArgs, StoreChoice, StoreOptions, split_numbers};

/// Number of dead letters to read at once.
const PAGE: usize = 500;
/// Bytes of a payload to show without `--full`.
const SHOWN_BYTES: usize = 4_000;
/// Memory for cached timelines during a retry.
const CACHE_BYTES: usize = 16 << 20;

/// Subcommands of `turnmill dead-letters`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List dead letters with number, reason, position and detail.
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Only dead letters with this reason.
        #[arg(long)]
        reason: Option<Reason>,
        /// Print JSON, one object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show dead letters with the first 4,000 of their original bytes.
    ///
    /// Control characters are escaped. With --json all bytes are printed unchanged.
    Show {
        /// Store (by default the configured one), and numbers of dead letters.
        #[arg(required = true, value_name = "[STORE] NUMBER")]
        arguments: Vec<String>,
        #[command(flatten)]
        options: StoreOptions,
        /// Show all bytes.
        #[arg(long, conflicts_with = "json")]
        full: bool,
        /// Print JSON, one object per line.
        #[arg(long)]
        json: bool,
    },
    /// Retry dead letters, by default all of them.
    ///
    /// A dead letter that succeeds becomes an event or a duplicate. The others remain.
    Retry {
        /// Store (by default the configured one), and numbers of dead letters (by default all).
        #[arg(value_name = "[STORE] NUMBER")]
        arguments: Vec<String>,
        #[command(flatten)]
        options: StoreOptions,
        /// Only dead letters with this reason.
        #[arg(long)]
        reason: Option<Reason>,
        /// Timestamp for events that have no usable one, in Unix seconds.
        #[arg(long, value_name = "SECONDS")]
        timestamp: Option<f64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a subcommand.
pub(crate) async fn run(command: &Command) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match command {
        Command::List { store, reason, json } => {
            let (mut store, _) = store.choice().for_reading().await?;
            if !json {
                writeln!(out, "{:>8}  {:<22}  position  detail", "number", "reason")?;
            }
            each(&mut store, &[], *reason, |letter| {
                if *json {
                    writeln!(out, "{}", as_json(letter))?;
                } else {
                    let (id, reason, position) = (letter.id, letter.reason.as_str(), escaped(&letter.place));
                    let (key, detail) = (letter.key.to_string(), escaped(&letter.detail));
                    writeln!(out, "{id:>8}  {reason:<22}  {} at {position}  {detail}", escaped(&key))?;
                }
                Ok(())
            })
            .await?;
        }
        Command::Show { arguments, options, full, json } => {
            let (url, ids) = split_numbers(arguments)?;
            if ids.is_empty() {
                return Err(Failure::NoNumber(arguments.join(" ")));
            }
            let (mut store, _) = options.choice(url).for_reading().await?;
            let most = if *full { usize::MAX } else { SHOWN_BYTES };
            each(&mut store, &ids, None, |letter| {
                if *json { writeln!(out, "{}", as_json(letter)) } else { show(&mut out, letter, most) }
                    .map_err(Into::into)
            })
            .await?;
        }
        Command::Retry { arguments, options, reason, timestamp, json } => {
            let (url, ids) = split_numbers(arguments)?;
            return retry(&mut out, options.choice(url), &ids, *reason, *timestamp, *json).await;
        }
    }
    Ok(true)
}

/// Calls `visit` with the dead letters `ids`, or with all if `ids` is empty, filtered by `reason`.
async fn each(
    store: &mut AnyStore,
    ids: &[u64],
    reason: Option<Reason>,
    mut visit: impl FnMut(&DeadLetter) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let is_selected = |letter: &DeadLetter| reason.is_none_or(|reason| letter.reason == reason);
    for id in ids {
        let page = store.dead_letters(id.saturating_sub(1), 1).await?;
        let letter = page.first().filter(|letter| letter.id == *id).ok_or(Failure::NoSuchDeadLetter(*id))?;
        if is_selected(letter) {
            visit(letter)?;
        }
    }
    let mut after = 0;
    while ids.is_empty() {
        let page = store.dead_letters(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        page.iter().filter(|letter| is_selected(letter)).try_for_each(&mut visit)?;
    }
    Ok(())
}

fn as_json(letter: &DeadLetter) -> Value {
    let headers: Vec<Value> = letter
        .headers
        .iter()
        .map(|(name, value)| json!([name, value.as_deref().map(String::from_utf8_lossy)]))
        .collect();
    let text = std::str::from_utf8(&letter.payload);
    json!({
        "id": letter.id,
        "reason": letter.reason.as_str(),
        "detail": letter.detail,
        "source": letter.key.source,
        "partition": letter.key.partition,
        "place": letter.place,
        "payload": text.ok(),
        // Bytes that are not UTF-8, as hex digits.
        "payload_hex": text.is_err().then(|| letter.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "sender": letter.sender,
        "time": letter.time,
        "environment": letter.environment,
        "key": letter.record_key.as_deref().map(String::from_utf8_lossy),
        "headers": headers,
    })
}

/// Shows a dead letter with at most `most` bytes of its payload.
fn show(out: &mut impl Write, letter: &DeadLetter, most: usize) -> std::io::Result<()> {
    writeln!(out, "dead letter {}", letter.id)?;
    writeln!(out, "reason:      {} ({})", letter.reason, escaped(&letter.detail))?;
    let key = letter.key.to_string();
    writeln!(out, "from:        {} at {}", escaped(&key), escaped(&letter.place))?;
    if let Some(sender) = &letter.sender {
        writeln!(out, "sender:      {}", escaped(sender))?;
    }
    if let Some(time) = letter.time {
        writeln!(out, "time:        {time}")?;
    }
    if let Some(environment) = &letter.environment {
        writeln!(out, "environment: {}", escaped(environment))?;
    }
    if let Some(key) = &letter.record_key {
        writeln!(out, "key:         {}", escaped_bytes(key))?;
    }
    for (name, value) in &letter.headers {
        writeln!(
            out,
            "header:      {} = {}",
            escaped(name),
            escaped_bytes(value.as_deref().unwrap_or_default())
        )?;
    }
    let payload = &letter.payload;
    let shown = cut(payload, most);
    writeln!(out, "{}:", counted(payload.len() as u64, "byte"))?;
    write!(out, "{}", escaped_bytes(shown))?;
    if shown.len() < payload.len() {
        write!(
            out,
            "\n... and {} more; --full shows all",
            counted((payload.len() - shown.len()) as u64, "byte")
        )?;
    }
    writeln!(out, "\n")
}

/// Returns the first `most` bytes, without a character that would be cut in half.
fn cut(payload: &[u8], most: usize) -> &[u8] {
    let Some(shown) = payload.get(..most) else { return payload };
    match std::str::from_utf8(shown) {
        // An incomplete character at the end was cut in half.
        Err(error) if error.error_len().is_none() => shown.get(..error.valid_up_to()).unwrap_or(shown),
        _ => shown,
    }
}

async fn retry(
    out: &mut impl Write,
    choice: StoreChoice<'_>,
    ids: &[u64],
    reason: Option<Reason>,
    time: Option<f64>,
    json: bool,
) -> Result<bool, Failure> {
    let (mut store, settings) = choice.for_writing(None).await?;
    let rules = RowRules::new(&settings, shipped);
    let mut ingest = Ingest::new(&rules, CACHE_BYTES);

    // A retry changes the table that `each` reads, so this collects the numbers first and reads
    // each dead letter again.
    let mut selected = Vec::new();
    each(&mut store, ids, reason, |letter| {
        selected.push(letter.id);
        Ok(())
    })
    .await?;
    let (mut landed, mut refused) = (0_u64, 0_u64);
    for id in selected {
        let letters = store.dead_letters(id.saturating_sub(1), 1).await?;
        let Some(letter) = letters.first().filter(|letter| letter.id == id) else { continue };
        match retry_dead_letter(&mut store, &mut ingest, letter, time).await? {
            Retried::Landed => landed += 1,
            Retried::Refused(why) => {
                refused += 1;
                if !json {
                    writeln!(out, "dead letter {id} still refused: {}", escaped(&why.to_string()))?;
                }
            }
        }
    }
    store.finish()?;
    if json {
        writeln!(out, "{}", json!({"landed": landed, "refused": refused}))?;
    } else {
        writeln!(out, "{landed} landed, {refused} refused")?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_cut_between_characters() {
        let text = "aé€𝄞".as_bytes();
        let whole = |most| std::str::from_utf8(cut(text, most)).unwrap();
        assert_eq!((whole(1), whole(2), whole(3), whole(5)), ("a", "a", "aé", "aé"));
        assert_eq!((whole(6), whole(9), whole(100)), ("aé€", "aé€", "aé€𝄞"));
        assert_eq!(cut(b"\xff\xfe\xfd", 2), b"\xff\xfe", "bytes that are not UTF-8 are cut anywhere");
    }
}
