//! All metrics, a file for each family.

mod business;
mod changes;
pub(crate) mod ends;
mod flows;
mod forms;
mod funnel;
pub(crate) mod intents;
pub(crate) mod missed;
mod outcomes;
mod paths;
mod policies;
mod quality;
mod rates;
pub(crate) mod releases;
pub(crate) mod response;
mod search;
mod sessions;
mod training;
pub(crate) mod usage;
mod user_flow;
mod users;
mod work;

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
    &paths::PATHS,
    &funnel::FUNNEL,
    &user_flow::USER_FLOW,
    &changes::CHANGES,
    &sessions::MESSAGES,
    &sessions::TIME_PER_SESSION,
    &sessions::TURNS,
    &sessions::CONCURRENCY,
    &sessions::CALENDAR,
    &sessions::HEAT_MAP,
    &sessions::ACTIVE_SESSIONS,
    &sessions::HUMAN_MESSAGES,
    &sessions::DURATION,
    &sessions::MESSAGES_PER_SESSION,
    &missed::FALLBACK,
    &response::NO_ANSWER,
    &response::FIRST_RESPONSE,
    &response::TURN_STATISTICS,
    &ends::REPEAT_CONTACT,
    &outcomes::RESOLUTION,
    &outcomes::ENGAGEMENT,
    &outcomes::ABANDON_DEPTH,
    &outcomes::TOPICS,
    &outcomes::ERRORS,
    &outcomes::DRIVERS,
    &outcomes::SESSION_END,
    &outcomes::EXIT_POINTS,
    &outcomes::HANDOFF_DETAIL,
    &intents::CONFIDENCE,
    &intents::CONFUSION,
    &intents::DRIFT,
    &intents::INTENT_HOURS,
    &missed::MISSED,
    &missed::MISSED_SHARE,
    &missed::MISSED_BY_INTENT,
    &missed::MISSED_SHARE_BY_INTENT,
    &missed::MISSED_HISTORY,
    &missed::UTTERANCES,
    &missed::UNHANDLED,
    &missed::REPEATS,
    &training::ADD_MISSED,
    &search::SEARCH,
    &users::LIFECYCLE,
    &users::STICKINESS,
    &users::PER_USER,
    &users::RETENTION,
    &forms::FORMS,
    &forms::SLOT_VALUES,
    &forms::ENTITY_VALUES,
    &flows::RESOLUTION,
    &flows::RUNS,
    &flows::REPAIR,
    &flows::AGENTS,
    &work::TOOLS,
    &work::PROCESSING,
    &work::GENERATED,
    &work::SLOT_SOURCES,
    &flows::COMMANDS,
    &releases::MARKERS,
    &releases::MODELS,
    &releases::ENVIRONMENTS,
    &policies::POLICIES,
    &policies::RESPONSES,
    &quality::QUALITY,
    &quality::FRESHNESS,
    &quality::LEFT_OUT,
    &business::SAVINGS,
    &business::AGENT_TIME,
    &business::SATISFACTION,
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
