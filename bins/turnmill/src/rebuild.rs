//! `turnmill rebuild`.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use turnmill_formats::shipped;
use turnmill_ingest::{Ingest, Rebuilt, RowRules};
use turnmill_model::{LexSettings, SenderId, SessionIdMode, Settings};
use turnmill_pipeline::{Attempts, counted, explain, rounded};
use turnmill_sink::{Class, StoreError, Upkeep};
use turnmill_stores::AnyStore;

use crate::console;
use crate::failure::Failure;
use crate::store_args::StoreArgs;

/// Arguments of `turnmill rebuild`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "flags")]
pub(crate) struct Args {
    #[command(flatten)]
    store: StoreArgs,

    /// Assign senders without an assistant to this one.
    #[arg(long, value_name = "NAME")]
    assistant: Option<String>,
    /// Accept these `metadata.session_id` values: canonical UUIDs (uuid), any text (any), or none
    /// (off).
    #[arg(long, value_name = "MODE")]
    session_id: Option<SessionIdMode>,
    /// Store string slot values without quotes.
    #[arg(long, conflicts_with = "no_bare_slot_strings")]
    bare_slot_strings: bool,
    /// Store string slot values with quotes.
    #[arg(long)]
    no_bare_slot_strings: bool,
    /// Write dialogue stack frames for `stack` events.
    #[arg(long, conflicts_with = "no_stack_events")]
    stack_events: bool,
    /// Write no dialogue stack frames for `stack` events.
    #[arg(long)]
    no_stack_events: bool,
    /// Longest silence in seconds inside a session of Amazon Lex whose records name no first
    /// request.
    #[arg(long, value_name = "SECONDS")]
    lex_session_gap: Option<u32>,
    /// Session or request attribute of Lex that names the end user; empty: none.
    #[arg(long, value_name = "NAME")]
    lex_user_attribute: Option<String>,
    /// Session attribute of Lex that hands the conversation over to a person: NAME, or NAME=VALUE;
    /// empty: none.
    #[arg(long, value_name = "NAME")]
    lex_handover_attribute: Option<String>,
    /// Channel of records of Lex that name none; empty: none.
    #[arg(long, value_name = "NAME")]
    lex_channel: Option<String>,
    /// Keys of attributes of Lex whose values are secret, separated by commas. What they match is
    /// blanked in the history too.
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    lex_blanked_keys: Option<Vec<String>>,

    /// Number of senders per transaction.
    #[arg(long, value_name = "SENDERS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print only errors, and JSON if requested.
    #[arg(long, short)]
    quiet: bool,
}

impl Args {
    /// Returns the settings to rebuild with: those of the store, changed by the flags.
    fn settings(&self, stored: &Settings) -> Settings {
        Settings {
            session_id: self.session_id.unwrap_or(stored.session_id),
            bare_slot_strings: (stored.bare_slot_strings || self.bare_slot_strings)
                && !self.no_bare_slot_strings,
            stack_events: (stored.stack_events || self.stack_events) && !self.no_stack_events,
            lex: self.lex(&stored.lex),
        }
    }
}

impl Args {
    fn lex(&self, stored: &LexSettings) -> LexSettings {
        let text = |new: &Option<String>, stored: &Option<String>| {
            let text = new.as_ref().or(stored.as_ref());
            text.filter(|text| !text.is_empty()).cloned()
        };
        LexSettings {
            session_gap: self.lex_session_gap.unwrap_or(stored.session_gap),
            user_attribute: text(&self.lex_user_attribute, &stored.user_attribute),
            handover_attribute: text(&self.lex_handover_attribute, &stored.handover_attribute),
            channel: text(&self.lex_channel, &stored.channel),
            secret_keys: self.lex_blanked_keys.clone().unwrap_or_else(|| stored.secret_keys.clone()),
        }
    }
}

/// Rebuilds all rows.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let choice = args.store.choice();
    let settings = args.settings(&choice.stored_settings().await?);
    let rules = RowRules::new(&settings, shipped);
    let mut rebuild = Rebuild {
        store: choice.store()?.with_notices({
            let quiet = args.quiet;
            move |text| {
                if !quiet {
                    console::message(text);
                }
            }
        }),
        ingest: Ingest::new(&rules, 0),
        display: Display::new(args.quiet || args.json),
        attempts: Attempts::giving_up_after(choice.wait()),
    };
    let began = Instant::now();
    let state = loop {
        match rebuild.store.begin_rebuild(&settings).await {
            Ok(state) => break state,
            Err(error) => rebuild.pause_or_fail(error).await.map_err(|error| choice.gave_up(error))?,
        }
    };
    rebuild.attempts.succeeded();
    let changed = state.stored != settings;
    if changed {
        rebuild
            .display
            .message("the settings changed, so other programs cannot write until the rebuild has finished");
    }
    if state.after.is_some() {
        rebuild.display.message("resuming an interrupted rebuild");
    }
    let assistant = args.assistant.clone().or(state.assistant);
    let rebuilt = rebuild
        .all(state.after, args.batch, assistant.as_deref())
        .await
        .map_err(|error| choice.gave_up(error))?;
    loop {
        match rebuild.store.end_rebuild(&settings).await {
            Ok(()) => break,
            Err(error) => rebuild.pause_or_fail(error).await.map_err(|error| choice.gave_up(error))?,
        }
    }
    let Rebuild { store, display, .. } = rebuild;
    display.bar.finish_and_clear();
    match store.finish() {
        // Another program is using the store, which is allowed.
        Err(error) if matches!(error.class(), Class::Retryable { .. }) => {}
        result => result?,
    }
    let (seconds, resumed) = (began.elapsed().as_secs_f64(), state.after.is_some());
    let Rebuilt { senders, events, duplicates } = rebuilt;
    let mut out = std::io::stdout().lock();
    if args.json {
        let report = json!({
            "senders": senders, "events": events, "duplicates": duplicates, "settings_changed": changed, "resumed": resumed, "seconds": seconds,
        });
        writeln!(out, "{report}")?;
    } else if !args.quiet {
        let (senders, events) = (counted(senders, "sender"), counted(events, "event"));
        writeln!(out, "{senders} with {events} rebuilt in {}", rounded(began.elapsed()))?;
        if duplicates > 0 {
            writeln!(
                out,
                "{} in the history now count as duplicates, by the rules of this version of turnmill",
                counted(duplicates, "event")
            )?;
        }
    }
    Ok(true)
}

/// A rebuild in progress.
struct Rebuild {
    store: AnyStore,
    ingest: Ingest,
    display: Display,
    attempts: Attempts,
}

impl Rebuild {
    /// Rebuilds the rows of all senders after `after`, `step` senders per transaction.
    async fn all(
        &mut self,
        mut after: Option<SenderId>,
        mut step: u32,
        assistant: Option<&str>,
    ) -> Result<Rebuilt, StoreError> {
        let mut sum = Rebuilt::default();
        loop {
            match self.batch(after, step as usize, assistant).await {
                Ok(None) => return Ok(sum),
                Ok(Some((last, rebuilt))) => {
                    after = Some(last);
                    sum.senders += rebuilt.senders;
                    sum.events += rebuilt.events;
                    sum.duplicates += rebuilt.duplicates;
                    self.attempts.succeeded();
                    self.display.progress(last, &sum);
                }
                Err(error @ StoreError::TimeLimit { .. }) if step > 1 => {
                    step /= 2;
                    self.display.message(&format!("{error}; continuing with {step} senders per transaction"));
                }
                Err(error) => self.pause_or_fail(error).await?,
            }
        }
    }

    async fn batch(
        &mut self,
        after: Option<SenderId>,
        step: usize,
        assistant: Option<&str>,
    ) -> Result<Option<(SenderId, Rebuilt)>, StoreError> {
        let senders = self.store.senders(after, step).await?;
        let Some(last) = senders.last() else { return Ok(None) };
        Ok(Some((*last, self.ingest.rebuild(&mut self.store, &senders, assistant).await?)))
    }

    /// Waits before the next attempt if the error is transient. Otherwise returns it.
    async fn pause_or_fail(&mut self, error: StoreError) -> Result<(), StoreError> {
        let Some(pause) = self.attempts.failed(&error) else { return Err(error) };
        self.display.message(&format!("{}; retrying in {}", explain(&error), rounded(pause)));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Shows progress: a bar on a terminal, nothing in a pipe.
struct Display {
    bar: ProgressBar,
    quiet: bool,
}

impl Display {
    fn new(quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new(u64::from(u32::MAX)) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}  {eta}") {
            bar.set_style(style);
        }
        Self { bar, quiet }
    }

    /// Shows that all senders up to `sender` are done. Ids are spread evenly, so their first bits
    /// give the progress.
    fn progress(&self, sender: SenderId, sum: &Rebuilt) {
        let front = (sender.0.as_u128() >> 96) as u64;
        self.bar.set_position(front);
        self.bar.set_message(format!("{}, {}", counted(sum.senders, "sender"), counted(sum.events, "event")));
    }

    fn message(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| console::message(text));
        }
    }
}
