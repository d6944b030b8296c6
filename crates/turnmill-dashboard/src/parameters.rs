//! Reads the parameters of a request. Their names are those of the pages' addresses.

use percent_encoding::percent_decode_str;
use turnmill_analytics::{
    Compare, DayBlock, Ending, Filters, ListFilters, ListOrder, ListPage, MOST_STEPS, Over, Parts, Question,
    Span, When, Zone, parse_time,
};

use crate::question::{Filter, Refusal};

/// Maximum length of a query string in bytes, and number of its parameters.
const MAX_QUERY: usize = 8 << 10;
const MAX_PARAMETERS: usize = 200;
/// Maximum number of rows of a list of the most frequent.
const MAX_TOP: usize = 1000;
/// Number of conversations on one page, by default and at most.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 10_000;
/// Weekdays as addresses spell them, Sunday first.
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A parameter: name and value.
type Parameter = (String, String);

/// Splits a query string as browsers write it.
pub(crate) fn split(query: &str) -> Result<Vec<Parameter>, Refusal> {
    if query.len() > MAX_QUERY {
        return Err(invalid("query", &"too long"));
    }
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.len() > MAX_PARAMETERS {
        return Err(invalid("query", &"too many parameters"));
    }
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(Into::into).map_err(|_| invalid("query", &"not in UTF-8"))
    };
    pairs
        .into_iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Reads a question about a metric.
pub(crate) fn question(parameters: &[Parameter]) -> Result<Question, Refusal> {
    let (question, rest) = read(parameters)?;
    match rest.first() {
        Some((name, _)) => Err(invalid(name, &"unknown parameter")),
        None => Ok(question),
    }
}

/// Reads a question about conversations.
pub(crate) fn list(parameters: &[Parameter]) -> Result<(Question, ListFilters, ListPage), Refusal> {
    let (question, rest) = read(parameters)?;
    let mut filters = ListFilters::default();
    let mut page = ListPage { order: ListOrder::Newest, offset: 0, limit: PAGE };
    let (mut weekday, mut hour) = (None, None);
    for (name, value) in rest {
        let text = || Some(value.clone());
        match name.as_str() {
            "offset" => page.offset = number(name, value, u32::MAX)?,
            "limit" => page.limit = number(name, value, MAX_PAGE)?,
            "order" => page.order = order(value)?,
            "during" => filters.is_active = one_of(name, value, &["started", "active"])? == 1,
            "text" => filters.text = text(),
            "sender" => filters.sender = text(),
            "slot" => filters.slot = text(),
            "value" => filters.value = text(),
            "min_turns" => filters.min_turns = Some(number(name, value, i64::MAX)?),
            "max_turns" => filters.max_turns = Some(number(name, value, i64::MAX)?),
            "slower" => filters.slower = Some(number(name, value, 1e9)?),
            "fallback" => filters.is_missed = one_of(name, value, &["no", "yes"])? == 1,
            "missed_text" => filters.missed_text = text(),
            "weekday" => weekday = Some(one_of(name, value, &WEEKDAYS)?),
            "hour" => hour = Some(number(name, value, 23)?),
            _ => return Err(invalid(name, &"unknown parameter")),
        }
    }
    filters.block = match (weekday, hour) {
        (Some(weekday), Some(hour)) => Some(DayBlock { weekday, hour }),
        (None, None) => None,
        _ => return Err(invalid("weekday", &"goes together with hour")),
    };
    Ok((question, filters, page))
}

fn order(value: &str) -> Result<ListOrder, Refusal> {
    let orders = [ListOrder::Newest, ListOrder::Oldest, ListOrder::Turns, ListOrder::Duration];
    let at = one_of("order", value, &["newest", "oldest", "turns", "duration"])?;
    Ok(usize::try_from(at).ok().and_then(|at| orders.get(at)).copied().unwrap_or_default())
}

/// Returns the place of a value among those that there are.
fn one_of(name: &str, value: &str, values: &[&str]) -> Result<u32, Refusal> {
    let at = values.iter().position(|known| *known == value).and_then(|at| u32::try_from(at).ok());
    at.ok_or_else(|| invalid(name, &format!("expected {}", values.join(", "))))
}

/// Returns the filter of this name.
pub(crate) fn filter(name: &str) -> Option<Filter> {
    Some(match name {
        "assistant" => Filter::Assistant,
        "channel" => Filter::Channel,
        "model" => Filter::Model,
        "env" => Filter::Environment,
        "intent" => Filter::Intent,
        "ending" => Filter::Ending,
        "marker" => Filter::Marker,
        "locale" => Filter::Locale,
        "source" => Filter::SourceSystem,
        _ => return None,
    })
}

/// Reads a question and returns the parameters that are none of its.
fn read(parameters: &[Parameter]) -> Result<(Question, Vec<&Parameter>), Refusal> {
    let mut question = Question::default();
    // Times without an offset are of the zone, wherever it stands.
    if let Some((name, value)) = parameters.iter().find(|(name, _)| name == "tz") {
        question.zone = value.parse().map_err(|error| invalid(name, &error))?;
    }
    let (mut span, mut rest) = (Span::default(), Vec::new());
    let mut filters = Filters::default();
    for parameter in parameters {
        let (name, value) = parameter;
        let time = |zone: Zone| parse_time(value, zone).map_err(|error| invalid(name, &error));
        // The empty value is NULL.
        let nullable = || (!value.is_empty()).then(|| value.clone());
        match name.as_str() {
            "tz" => {}
            "from" => span.from = Some(time(question.zone)?),
            "to" => span.to = Some(time(question.zone)?),
            "last" => question.when = When::Last(value.parse().map_err(|error| invalid(name, &error))?),
            "as_of" => question.as_of = Some(time(question.zone)?),
            "by" => question.over = Over::Buckets(value.parse().map_err(|error| invalid(name, &error))?),
            "vs" => {
                let compare: Compare = value.parse().map_err(|error| invalid(name, &error))?;
                question.compare = Some(compare);
            }
            "part" => {
                let known = match std::mem::take(&mut question.parts) {
                    Parts::All => Vec::new(),
                    Parts::Named(names) => names,
                };
                // The empty value names no part.
                let named = Some(value.clone()).filter(|name| !name.is_empty());
                question.parts = Parts::Named(known.into_iter().chain(named).collect());
            }
            "top" => question.top = number(name, value, MAX_TOP)?,
            "assistant" => filters.assistants.push(nullable()),
            "channel" => filters.channels.push(nullable()),
            "env" => filters.environments.push(nullable()),
            "model" => filters.models.push(nullable()),
            "intent" => filters.intents.push(nullable()),
            "ending" => {
                let ending: Ending = value.parse().map_err(|error| invalid(name, &error))?;
                filters.endings.push(ending);
            }
            "marker" => filters.markers.push(value.clone()),
            "locale" => filters.locales.push(nullable()),
            "source" => filters.source_systems.push(nullable()),
            "step" if question.funnel.steps.len() >= MOST_STEPS => {
                return Err(invalid(name, &format!("a funnel has at most {MOST_STEPS} steps")));
            }
            "step" => question.funnel.steps.push(value.parse().map_err(|error| invalid(name, &error))?),
            "across" => question.funnel.across_sessions = one_of(name, value, &["no", "yes"])? == 1,
            "window" => question.funnel.window_seconds = Some(number(name, value, u32::MAX)?),
            "tests" if value == "exclude" => filters.exclude_tests = true,
            "tests" => return Err(invalid(name, &"expected exclude")),
            _ => rest.push(parameter),
        }
    }
    question.filters = filters;
    match (&question.when, span == Span::default()) {
        (When::Last(_), false) => Err(invalid("last", &"cannot be used together with from and to")),
        (When::Last(_), true) => Ok((question, rest)),
        (When::Span(_), _) => {
            if span.from.zip(span.to).is_some_and(|(from, to)| from >= to) {
                return Err(invalid("to", &"must be after from"));
            }
            Ok((Question { when: When::Span(span), ..question }, rest))
        }
    }
}

fn number<N: Copy + std::str::FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    value: &str,
    most: N,
) -> Result<N, Refusal> {
    let number = value.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| invalid(name, &format!("expected a number up to {most}")))
}

fn invalid(parameter: &str, message: &impl ToString) -> Refusal {
    Refusal::Invalid { parameter: parameter.into(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use turnmill_analytics::Bucket;

    use super::*;

    #[test]
    fn parameters_are_decoded_as_browsers_write_them() {
        let parsed = split("a=1&a=%C3%9C+x&b&&c=d=e%26").unwrap();
        let expected = [("a", "1"), ("a", "Ü x"), ("b", ""), ("c", "d=e&")];
        assert_eq!(parsed, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for wrong in ["a=%FF", &"a&".repeat(MAX_PARAMETERS + 1), &"a".repeat(MAX_QUERY + 1)] {
            assert!(matches!(split(wrong), Err(Refusal::Invalid { .. })), "{wrong:.20}");
        }
    }

    #[test]
    fn a_question_is_read_whatever_the_order() {
        let query = "from=2026-07-01&channel=web&channel=&to=2026-07-08&by=day&vs=prev&tz=Europe/Berlin\
                     &ending=open&marker=m&env=&tests=exclude&top=3&part=&part=by_channel";
        let read = question(&split(query).unwrap()).unwrap();
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let at = |day| parse_time(day, zone).unwrap();
        let expected = Question {
            when: When::Span(Span { from: Some(at("2026-07-01")), to: Some(at("2026-07-08")) }),
            zone,
            filters: Filters {
                channels: vec![Some("web".into()), None],
                environments: vec![None],
                endings: vec![Ending::Open],
                markers: vec!["m".into()],
                exclude_tests: true,
                ..Filters::default()
            },
            over: Over::Buckets(Bucket::Day),
            compare: Some(Compare::Previous),
            top: 3,
            parts: Parts::Named(vec!["by_channel".into()]),
            ..Question::default()
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (query, parameter) in [
            ("tz=Nowhere", "tz"),
            ("from=yesterday", "from"),
            ("by=decade", "by"),
            ("vs=luck", "vs"),
            ("ending=happy", "ending"),
            ("top=9999", "top"),
            ("last=28x", "last"),
            ("last=28d&from=2026-01-01", "last"),
            ("from=2026-01-02&to=2026-01-02", "to"),
            ("tests=yes", "tests"),
            ("step=greet", "step"),
            (
                "step=intent:a&step=intent:b&step=intent:c&step=intent:d&step=intent:e&step=intent:f&step=intent:g",
                "step",
            ),
            ("across=maybe", "across"),
            ("text=hello", "text"),
            ("v=1", "v"),
        ] {
            match question(&split(query).unwrap()) {
                Err(Refusal::Invalid { parameter: named, .. }) => assert_eq!(named, parameter, "{query}"),
                other => panic!("{query}: {other:?}"),
            }
        }
        for wrong in [
            "limit=10001",
            "colour=blue",
            "order=luck",
            "weekday=Mon",
            "weekday=Someday&hour=2",
            "min_turns=x",
        ] {
            assert!(list(&split(wrong).unwrap()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_has_filters_of_its_own() {
        let query = "text=hello&offset=50&limit=20&order=turns&weekday=Mon&hour=14&fallback=yes&during=active&last=7d";
        let (_, filters, page) = list(&split(query).unwrap()).unwrap();
        let expected = ListFilters {
            is_active: true,
            text: Some("hello".into()),
            is_missed: true,
            block: Some(DayBlock { weekday: 1, hour: 14 }),
            ..ListFilters::default()
        };
        assert_eq!((filters, page), (expected, ListPage { order: ListOrder::Turns, offset: 50, limit: 20 }));
    }
}
