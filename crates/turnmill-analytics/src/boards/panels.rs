//! The panels, in the order of the board.

use super::{Column, Panel, Shows};
use crate::catalogue::{ends, intents, missed, releases, response, usage};
use crate::metric::Unit;

const NUMBER: (u32, u32) = (3, 4);
const HALF: (u32, u32) = (12, 8);
const THIRD: (u32, u32) = (8, 9);

const SESSIONS: Column = Column::new("sessions", Unit::Count, "coalesce(sum(q.sessions), 0)");
const USERS: Column = Column::new("users", Unit::Count, "coalesce(sum(q.users), 0)");
const NEW_USERS: Column = Column::new("new", Unit::Count, "coalesce(sum(q.new_users), 0)");
const MEAN: Column = Column::new("mean", Unit::Seconds, "sum(q.total) / 1000000.0 / nullif(sum(q.n), 0)");
const CONTAINMENT: Column = Column::new(
    "containment",
    Unit::Percent,
    "100.0 * sum(q.sessions - q.escalated) / nullif(sum(q.sessions), 0)",
);
const CONTAINMENT_ENGAGED: Column = Column::new(
    "containment_engaged",
    Unit::Percent,
    "100.0 * sum(q.engaged - q.escalated) / nullif(sum(q.engaged), 0)",
);
const ABANDONMENT: Column = Column::new(
    "abandonment",
    Unit::Percent,
    "100.0 * coalesce(sum(q.sessions) FILTER (WHERE q.ending = 'abandoned'), 0)\n  \
     / nullif(sum(q.sessions) FILTER (WHERE q.ending IN ('escalated', 'abandoned', 'finished')), 0)",
);
const ESCALATION: Column =
    Column::new("escalation", Unit::Percent, "100.0 * sum(q.escalated) / nullif(sum(q.sessions), 0)");
const MISSED: Column =
    Column::new("missed", Unit::Percent, "100.0 * sum(q.missed) / nullif(sum(q.turns), 0)");

pub(super) static PANELS: &[Panel] = &[
    Panel {
        key: "conversations",
        metric: &usage::CONVERSATIONS,
        suffix: "",
        query: "conversations",
        columns: &["conversations"],
        shows: Shows::Number(Column::new("conversations", Unit::Count, "coalesce(sum(q.conversations), 0)")),
        size: NUMBER,
    },
    Panel {
        key: "users",
        metric: &usage::USERS,
        suffix: "",
        query: "users",
        columns: &["users", "new_users"],
        shows: Shows::Number(USERS),
        size: NUMBER,
    },
    Panel {
        key: "sessions",
        metric: &usage::SESSIONS,
        suffix: "",
        query: "sessions",
        columns: &["sessions"],
        shows: Shows::Number(SESSIONS),
        size: NUMBER,
    },
    Panel {
        key: "response",
        metric: &response::RESPONSE_TIME,
        suffix: "",
        query: "time",
        columns: &["n", "total", "p50", "p90", "p95", "p99"],
        shows: Shows::Number(MEAN),
        size: NUMBER,
    },
    Panel {
        key: "containment",
        metric: &ends::CONTAINMENT,
        suffix: "",
        query: "sessions",
        columns: &["sessions", "escalated", "engaged"],
        shows: Shows::Number(CONTAINMENT),
        size: NUMBER,
    },
    Panel {
        key: "abandonment",
        metric: &ends::ABANDONMENT,
        suffix: "",
        query: "endings",
        columns: &["ending", "sessions"],
        shows: Shows::Number(ABANDONMENT),
        size: NUMBER,
    },
    Panel {
        key: "escalation",
        metric: &ends::ESCALATION,
        suffix: "",
        query: "sessions",
        columns: &["sessions", "escalated"],
        shows: Shows::Number(ESCALATION),
        size: NUMBER,
    },
    Panel {
        key: "fallback",
        metric: &missed::FALLBACK,
        suffix: "",
        query: "turns",
        columns: &["turns", "missed", "intents", "taken"],
        shows: Shows::Number(MISSED),
        size: NUMBER,
    },
    Panel {
        key: "sessions-channels",
        metric: &usage::SESSIONS,
        suffix: ", by channel",
        query: "by_channel",
        columns: &["channel", "sessions"],
        shows: Shows::Groups { group: "channel", count: "sessions" },
        size: HALF,
    },
    Panel {
        key: "endings",
        metric: &ends::THREE_WAYS,
        suffix: "",
        query: "endings",
        columns: &["ending", "sessions"],
        shows: Shows::Series {
            numbers: &[
                Column::new(
                    "escalated",
                    Unit::Count,
                    "coalesce(sum(q.sessions) FILTER (WHERE q.ending = 'escalated'), 0)",
                ),
                Column::new(
                    "abandoned",
                    Unit::Count,
                    "coalesce(sum(q.sessions) FILTER (WHERE q.ending = 'abandoned'), 0)",
                ),
                Column::new(
                    "finished",
                    Unit::Count,
                    "coalesce(sum(q.sessions) FILTER (WHERE q.ending = 'finished'), 0)",
                ),
                Column::new(
                    "open",
                    Unit::Count,
                    "coalesce(sum(q.sessions) FILTER (WHERE q.ending = 'open'), 0)",
                ),
                Column::new(
                    "unused",
                    Unit::Count,
                    "coalesce(sum(q.sessions) FILTER (WHERE q.ending = 'unused'), 0)",
                ),
            ],
            stacked: true,
        },
        size: HALF,
    },
    Panel {
        key: "containment-series",
        metric: &ends::CONTAINMENT,
        suffix: ", over time",
        query: "sessions",
        columns: &["sessions", "escalated", "engaged"],
        shows: Shows::Series { numbers: &[CONTAINMENT, CONTAINMENT_ENGAGED], stacked: false },
        size: HALF,
    },
    Panel {
        key: "response-series",
        metric: &response::RESPONSE_TIME,
        suffix: ", over time",
        query: "time",
        columns: &["n", "total", "p50", "p90", "p95", "p99"],
        shows: Shows::Series {
            numbers: &[
                MEAN,
                Column::new("p50", Unit::Seconds, "max(q.p50) / 1000000.0"),
                Column::new("p95", Unit::Seconds, "max(q.p95) / 1000000.0"),
            ],
            stacked: false,
        },
        size: HALF,
    },
    Panel {
        key: "fallback-series",
        metric: &missed::FALLBACK,
        suffix: ", over time",
        query: "turns",
        columns: &["turns", "missed", "intents", "taken"],
        shows: Shows::Series { numbers: &[MISSED], stacked: false },
        size: HALF,
    },
    Panel {
        key: "users-series",
        metric: &usage::USERS,
        suffix: ", over time",
        query: "users",
        columns: &["users", "new_users"],
        shows: Shows::Series { numbers: &[USERS, NEW_USERS], stacked: false },
        size: HALF,
    },
    Panel {
        key: "intents",
        metric: &intents::TOP_INTENTS,
        suffix: "",
        query: "by_intent",
        columns: &["intent", "messages"],
        shows: Shows::List {
            name: "by_intent",
            columns: &[
                Column::name("intent", "coalesce(q.intent, '(none)')"),
                Column::new("messages", Unit::Count, "q.messages"),
                Column::new("share", Unit::Percent, "100.0 * q.messages / sum(q.messages) OVER ()"),
            ],
            keep: "TRUE",
            order: "q.messages DESC, q.intent COLLATE \"C\" NULLS LAST",
            most: 10,
            bars: true,
        },
        size: THIRD,
    },
    Panel {
        key: "channels",
        metric: &usage::CHANNELS,
        suffix: "",
        query: "by_channel",
        columns: &["channel", "sessions"],
        shows: Shows::List {
            name: "by_channel",
            columns: &[
                Column::name("channel", "coalesce(q.channel, '(none)')"),
                Column::new("sessions", Unit::Count, "q.sessions"),
                Column::new("share", Unit::Percent, "100.0 * q.sessions / sum(q.sessions) OVER ()"),
            ],
            keep: "TRUE",
            order: "q.sessions DESC, q.channel COLLATE \"C\" NULLS LAST",
            most: 100,
            bars: true,
        },
        size: THIRD,
    },
    Panel {
        key: "missed-intents",
        metric: &missed::MISSED_BY_INTENT,
        suffix: "",
        query: "by_intent_before",
        columns: &["intent_before", "missed"],
        shows: Shows::List {
            name: "by_intent_before",
            columns: &[
                Column::name("intent_before", "coalesce(q.intent_before, '(none)')"),
                Column::new("missed", Unit::Count, "q.missed"),
                Column::new("share", Unit::Percent, "100.0 * q.missed / sum(q.missed) OVER ()"),
            ],
            keep: "TRUE",
            order: "q.missed DESC, q.intent_before COLLATE \"C\" NULLS LAST",
            most: 10,
            bars: true,
        },
        size: THIRD,
    },
    Panel {
        key: "abandoned-responses",
        metric: &ends::ABANDONMENT,
        suffix: ", by last response",
        query: "by_last_template",
        columns: &["last_template", "abandoned", "sessions"],
        shows: Shows::List {
            name: "by_last_template",
            columns: &[
                Column::name("last_template", "coalesce(q.last_template, '(none)')"),
                Column::new("abandoned", Unit::Count, "q.abandoned"),
                Column::new("sessions", Unit::Count, "q.sessions"),
                Column::new("share", Unit::Percent, "100.0 * q.abandoned / q.sessions"),
            ],
            keep: "q.abandoned > 0",
            order: "q.sessions DESC, q.last_template COLLATE \"C\" NULLS LAST",
            most: 100,
            bars: false,
        },
        size: THIRD,
    },
    Panel {
        key: "markers",
        metric: &releases::MARKERS,
        suffix: "",
        query: "markers",
        columns: &["marker", "sessions", "turns", "micros"],
        shows: Shows::List {
            name: "markers",
            columns: &[
                Column::name("marker", "q.marker"),
                Column::new("sessions", Unit::Count, "q.sessions"),
                Column::new("mean_turns_before", Unit::Ratio, "1.0 * q.turns / q.sessions"),
                Column::new("mean_seconds", Unit::Seconds, "q.micros / 1000000.0 / q.sessions"),
            ],
            keep: "TRUE",
            order: "q.sessions DESC, q.marker COLLATE \"C\"",
            most: 100,
            bars: false,
        },
        size: THIRD,
    },
    Panel {
        key: "models",
        metric: &releases::MODELS,
        suffix: "",
        query: "endings_by",
        columns: &["model", "sessions", "escalated", "abandoned", "over", "first", "last"],
        shows: Shows::List {
            name: "models",
            columns: &[
                Column::name("model", "coalesce(q.model, '(none)')"),
                Column::name("first", "q.first"),
                Column::new("sessions", Unit::Count, "q.sessions"),
                Column::new("escalation", Unit::Percent, "100.0 * q.escalated / q.sessions"),
                Column::new("abandonment", Unit::Percent, "100.0 * q.abandoned / nullif(q.over, 0)"),
            ],
            keep: "TRUE",
            order: "q.first, q.model COLLATE \"C\" NULLS LAST",
            most: 100,
            bars: false,
        },
        size: THIRD,
    },
];
