//! Client of a running service's HTTP API for patterns.

use std::time::Duration;

use serde_json::{Value, json};
use turnmill_markers::MarkerSet;
use turnmill_text::{escaped, redact};

use super::Failure;

/// A running service.
#[derive(Debug)]
pub(super) struct RemoteService {
    url: String,
    agent: ureq::Agent,
    token: Option<String>,
}

type CallResult = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

impl RemoteService {
    /// Returns the service at `url`, with the token in `TURNMILL_API_TOKEN`.
    pub(super) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        let token = std::env::var("TURNMILL_API_TOKEN").ok().filter(|token| !token.is_empty());
        Self { url: url.trim_end_matches('/').to_owned(), agent: config.build().new_agent(), token }
    }

    fn patterns(&self, rest: &str) -> String {
        format!("{}/api/v1/patterns{rest}", self.url)
    }

    fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {}", token.trim()))
    }

    /// Returns all patterns, or only the active ones.
    pub(super) fn list(&self, active: bool) -> Result<Value, Failure> {
        let mut request = self.agent.get(self.patterns(if active { "?active=true" } else { "" }));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        self.read(request.call())
    }

    /// Replaces the active patterns by `markers`.
    pub(super) fn upload(&self, markers: &MarkerSet) -> Result<Value, Failure> {
        let mut request = self.agent.put(self.patterns("")).content_type("application/json");
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        self.read(request.send(body(markers)))
    }

    /// Ends the pattern with this id.
    pub(super) fn remove(&self, id: &str) -> Result<Value, Failure> {
        let mut request = self.agent.delete(self.patterns(&format!("/{id}")));
        if let Some(bearer) = self.bearer() {
            request = request.header("authorization", bearer);
        }
        self.read(request.call())
    }

    fn read(&self, result: CallResult) -> Result<Value, Failure> {
        let failed = |error| Failure::Unreachable { url: printable(&self.url), source: Box::new(error) };
        let mut response = result.map_err(failed)?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(failed)?;
        let json = serde_json::from_str::<Value>(&text);
        match (status, json) {
            (200, Ok(value)) => Ok(value),
            (422, Ok(Value::Array(errors))) => {
                let of = |error: &Value, key: &str| {
                    error.get(key).and_then(Value::as_str).unwrap_or("?").to_owned()
                };
                let line = |error: &Value| {
                    let line =
                        format!("{}: {} ({})", of(error, "name"), of(error, "message"), of(error, "kind"));
                    escaped(&line).to_string()
                };
                let lines: Vec<String> = errors.iter().map(line).collect();
                Err(Failure::Refused(lines.join("\n")))
            }
            _ => {
                let hint = match status {
                    401 => "set TURNMILL_API_TOKEN to the token of the service".into(),
                    403 => "the service has no TURNMILL_API_TOKEN, so run this command on the same machine"
                        .into(),
                    _ => text.chars().take(200).collect::<String>().trim().to_owned(),
                };
                Err(Failure::Response { url: printable(&self.url), status, detail: hint })
            }
        }
    }
}

/// Returns a URL without password and control characters.
fn printable(url: &str) -> String {
    escaped(&redact(url)).to_string()
}

/// Returns the set as one JSON document, in the order of definition.
fn body(markers: &MarkerSet) -> String {
    let marker = |marker: &turnmill_markers::Marker| {
        let config = marker.config.to_string();
        let description = marker.description.as_ref().map(|text| format!("\"description\":{},", json!(text)));
        format!(
            "{}:{{{}{}",
            json!(marker.name),
            description.unwrap_or_default(),
            config.strip_prefix('{').unwrap_or(&config)
        )
    };
    let fields: Vec<String> = markers.markers().iter().map(marker).collect();
    format!("{{{}}}", fields.join(","))
}

#[cfg(test)]
mod tests {
    use turnmill_markers::SourceFile;

    use super::*;

    #[test]
    fn the_body_is_the_set() {
        let yaml = "b: {description: 'said \"no\"', seq: [{intent: x}, {slot_was_set: s}]}\na: {intent: y}\n";
        let read = |name: &str, text: String| {
            MarkerSet::parse(&[SourceFile::new(name, text.into_bytes())]).unwrap().0
        };
        let set = read("a.yml", yaml.into());
        assert_eq!(read("a.json", body(&set)), set);
        assert_eq!(body(&MarkerSet::default()), "{}");
    }
}
