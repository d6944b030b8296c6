//! All metrics, a file for each family.

mod ends;
mod intents;
mod missed;
mod response;
mod sessions;
mod usage;

use crate::metric::Metric;

/// All metrics, in the order of the pages that show them.
pub static METRICS: &[&Metric] = &[
    &usage::CONVERSATIONS,
    &usage::USERS,
    &usage::SESSIONS,
    &usage::CHANNELS,
    &usage::USER_SESSIONS,
    &intents::TOP_INTENTS,
    &response::RESPONSE_TIME,
    &ends::CONTAINMENT,
    &ends::ABANDONMENT,
    &ends::ESCALATION,
    &ends::THREE_WAYS,
    &sessions::MESSAGES,
    &sessions::TIME_PER_SESSION,
    &sessions::TURNS,
    &sessions::CONCURRENCY,
    &sessions::CALENDAR,
    &sessions::HEAT_MAP,
    &missed::FALLBACK,
    &response::NO_ANSWER,
    &ends::REPEAT_CONTACT,
];

/// Returns the metric with this id, or whose id begins with it and an underscore: `R8` is
/// `R8_containment`.
///
/// ```
/// use turnmill_analytics::metric;
/// assert_eq!(metric("R8").unwrap().id, "R8_containment");
/// assert_eq!(metric("r8_containment").unwrap().title, "Containment rate");
/// assert!(metric("R").is_none());
/// ```
#[must_use]
pub fn metric(id: &str) -> Option<&'static Metric> {
    let is = |metric: &&&Metric| {
        let short = metric.id.split_once('_').map_or(metric.id, |(short, _)| short);
        metric.id.eq_ignore_ascii_case(id)
            || (short.eq_ignore_ascii_case(id) && short.ends_with(|c: char| c.is_ascii_digit()))
    };
    METRICS.iter().find(is).copied()
}
