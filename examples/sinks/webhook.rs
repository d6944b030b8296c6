//! Posts every batch of changes as JSON to an address, in order and at least once.
//!
//! ```text
//! cargo run -p turnmill --example sink_webhook -- sqlite:rasa.sqlite http://localhost:8080/changes
//! ```

#![allow(clippy::print_stderr, reason = "it is a program that prints")]

use std::error::Error;
use std::time::Duration;

use turnmill_pipeline::{OnRefusal, OutboxRunner, SinkEvent, Stop, explain};
use turnmill_sink::outbox::{ChangeBatch, SinkSpec};
use turnmill_sink::{Sink, SinkError};
use turnmill_stores::AnyStore;

/// An address that takes changes.
pub(crate) struct Webhook {
    agent: ureq::Agent,
    address: String,
}

impl Webhook {
    pub(crate) fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10)));
        Self { agent: config.build().new_agent(), address: address.to_owned() }
    }
}

impl Sink for Webhook {
    async fn write(&mut self, batch: &ChangeBatch) -> Result<(), SinkError> {
        let body = serde_json::to_string(batch).map_err(|error| SinkError::fatal(error.to_string()))?;
        let request = self
            .agent
            .post(&self.address)
            .header("content-type", "application/json")
            // A batch that is posted again has the same key, so the receiver can tell.
            .header("idempotency-key", batch.origin.to_string());
        match request.send(&body) {
            Ok(_) => Ok(()),
            // The receiver will never take this batch.
            Err(ureq::Error::StatusCode(code @ (400 | 413 | 422))) => {
                Err(SinkError::refused(None, format!("{} answers {code}", self.address)))
            }
            // A person has to look.
            Err(ureq::Error::StatusCode(code @ (401 | 403 | 404))) => {
                Err(SinkError::fatal(format!("{} answers {code}", self.address)))
            }
            Err(error) => Err(SinkError::retryable(error.to_string())),
        }
    }
}

fn tell(event: &SinkEvent<'_>) {
    match event {
        SinkEvent::Retrying { error, pause, .. } => eprintln!("retrying in {pause:?}: {error}"),
        SinkEvent::Skipped { refused } => eprintln!("skipped: {}", explain(*refused)),
        SinkEvent::Progress { state } => {
            eprintln!("position {}, lag {} transactions", state.position, state.lag());
        }
        _ => {}
    }
}

#[allow(dead_code, reason = "the tests have a main of their own")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, address] = arguments.as_slice() else { return Err("usage: sink_webhook STORE ADDRESS".into()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let store = AnyStore::from_url(url)?.with_password_of_process();
        let settings = store.stored_settings().await?;
        let spec = SinkSpec::new("webhook");
        let mut runner = OutboxRunner::new(store, &settings, spec, Webhook::new(address), Stop::default())
            .with_refusals(OnRefusal::Skip);
        Ok(runner.run(&mut tell).await?)
    })
}
