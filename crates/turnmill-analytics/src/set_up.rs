//! What some metrics need that a store or a question may lack.

use crate::metric::Metric;
use crate::scope::Scope;
use crate::value::{Query, Value};
use crate::view::View;

/// Name of the query that tells whether the store has what a metric needs.
const QUERY: &str = "set_up";

/// Returns the query whether a session of the store can be completed: it ended explicitly, its
/// source names an outcome, or a dialog ran.
pub(crate) fn can_complete(scope: &Scope) -> Query {
    scope.draft().once(
        QUERY,
        "SELECT EXISTS (SELECT 1 FROM ext_session WHERE ended_by = 'explicit' OR outcome IS NOT NULL)\n\
         OR EXISTS (SELECT 1 FROM ext_dialog_run)",
    )
}

/// Returns the query whether an error of the assistant can be seen: there are spans, or flows.
pub(crate) fn can_fail(scope: &Scope) -> Query {
    scope
        .draft()
        .once(QUERY, "SELECT EXISTS (SELECT 1 FROM ext_span) OR EXISTS (SELECT 1 FROM rasa_flow_status)")
}

/// Returns the query whether there is a rating.
pub(crate) fn can_rate(scope: &Scope) -> Query {
    scope.draft().once(QUERY, "SELECT EXISTS (SELECT 1 FROM ext_feedback)")
}

/// Returns what a metric lacks, or `None` if it lacks nothing.
pub(crate) fn missing(metric: &Metric, scope: &Scope, view: &View<'_>) -> Option<&'static str> {
    let in_store = || view.all(QUERY).first().and_then(|row| row.first()).is_some_and(Value::is_true);
    let (is_there, what) = match metric.id {
        "X8_resolution" => (
            !scope.definitions.goal_markers.is_empty() || in_store(),
            "no session can be completed: name a goal marker, or send `session_ended`",
        ),
        "X5_error_rate" => (
            !scope.definitions.error_responses.is_empty() || in_store(),
            "no error can be seen: name error responses, or send spans",
        ),
        "X10_csat" => (
            scope.business.rating_slot.is_some() || in_store(),
            "there are no ratings: name the slot that holds them",
        ),
        "X6_roi" => (
            scope.business.agent_minutes.is_some() && scope.business.agent_minute_cost.is_some(),
            "the minutes of an agent for a conversation and the cost of a minute are not known",
        ),
        "A12_funnel" => (!scope.funnel.steps.is_empty(), "the funnel has no steps"),
        "X39_search" => (scope.text.is_some(), "there is no text to search for"),
        "X34_drift" | "X45_changes" => (
            scope.compared().is_some(),
            "there is no period to compare with: ask for a range and a comparison",
        ),
        _ => return None,
    };
    (!is_there).then_some(what)
}
