// Every page as data: its cards, each a metric and the form that draws it.

import { at, numeric, table } from "./answer.js";
import { explore } from "./address.js";
import { counted, name, number } from "./format.js";

/** @import { Address, Answer, Card, Table } from "./types.js" */

/** @param {Answer} answer @param {string} key */
function value(answer, key) {
  return answer.values[key]?.value ?? 0;
}

/** The first number of an answer as a count of things. @param {string} one @param {string} [many] @returns {Card["line"]} */
function first(one, many) {
  return (answer) => {
    const figure = Object.values(answer.values)[0];
    return counted(figure?.d ?? figure?.n ?? figure?.value ?? 0, one, many);
  };
}

/** @param {string} text @returns {Card["line"]} */
function says(text) {
  return () => text;
}

/** Intents that mean that the assistant did not understand. */
const MISSED = ["nlu_fallback", "out_of_scope", "FallbackIntent", "AMAZON.FallbackIntent", "None", ""];
const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const HOURS = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0"));

/** Weekdays, Monday first, by blocks of two hours. @param {Table} list */
function week(list) {
  const blocks = HOURS.filter((_, hour) => hour % 2 === 0);
  const counts = DAYS.map(() => blocks.map(() => 0));
  for (const row of list.rows) {
    const day = DAYS.indexOf(String(at(list, row, "weekday")));
    if (day >= 0) counts[day][Math.floor(numeric(at(list, row, "hour")) / 2)] += numeric(row[row.length - 1]);
  }
  return { rows: DAYS, columns: blocks, counts, every: 1 };
}

/** Intents by hour of the day. @param {Table} list */
function hours(list) {
  /** @type {Map<string, number[]>} */
  const byIntent = new Map();
  for (const row of list.rows) {
    const intent = name(at(list, row, "intent"));
    const counts = byIntent.get(intent) ?? HOURS.map(() => 0);
    counts[numeric(at(list, row, "hour"))] += numeric(row[row.length - 1]);
    byIntent.set(intent, counts);
  }
  const sum = (/** @type {number[]} */ counts) => counts.reduce((total, count) => total + count, 0);
  const most = [...byIntent].sort((one, other) => sum(other[1]) - sum(one[1])).slice(0, 12);
  return { rows: most.map(([intent]) => intent), columns: HOURS, counts: most.map(([, counts]) => counts), every: 3, wide: true };
}

/** Steps, links and most frequent paths. @param {Answer} answer */
function graph(answer) {
  const links = table(answer, "links"), paths = table(answer, "most_frequent");
  /** @type {Map<string, import("./charts/sankey.js").PathNode>} */
  const nodes = new Map();
  /** @param {number} step @param {string} text */
  const node = (step, text) => {
    const id = `${step}:${text}`;
    const kind = text === "START" ? "start" : text === "End" ? "end" : text === "Other" ? "other" : MISSED.includes(text) ? "missed" : "intent";
    if (!nodes.has(id)) nodes.set(id, { id, step, name: text === "START" ? "Start" : text, kind });
    return id;
  };
  // Step 0 is the first intent; its links come from the start.
  const edges = (links?.rows ?? []).map(([step, from, to, sessions]) => ({
    source: node(numeric(step), String(from)),
    target: node(numeric(step) + 1, String(to)),
    value: numeric(sessions),
  }));
  const sum = numeric(answer.values.sessions?.value ?? 0);
  const list = (paths?.rows ?? []).map(([path, sessions]) => ({
    names: [...String(path).split(" > "), "End"],
    count: numeric(sessions),
    part: sum ? (100 * numeric(sessions)) / sum : null,
  }));
  return { nodes: [...nodes.values()], links: edges.filter((edge) => edge.value > 0), paths: list };
}

/** Whether more of a share is better. @type {Record<string, "up" | "down">} */
const BETTER = { escalated: "down", abandoned: "down", finished: "up", missed: "down", nlu_fallback: "down" };

/** Rows of "what changed". @param {Table} list @param {Address} address */
function changes(list, address) {
  const size = (/** @type {any[]} */ row) => Math.abs(numeric(at(list, row, "difference")));
  const marked = (/** @type {any[]} */ row) => (at(list, row, "marked") === true ? 1 : 0);
  return [...list.rows].sort((one, other) => marked(other) - marked(one) || size(other) - size(one)).slice(0, 8).map((row) => {
    const cell = (/** @type {string} */ column) => at(list, row, column);
    const kind = String(cell("kind")), own = cell("name");
    const filter = { ending: "ending", channel: "channel", intent: "intent", marker: "marker" }[kind];
    const named = kind === "channel" || kind === "marker" || (own === null && kind !== "missed");
    return {
      what: kind === "missed" ? "fallback" : named ? `${kind} ${name(own)}` : name(own),
      of: kind === "intent" ? "messages" : kind === "missed" ? "turns" : "sessions",
      was: /** @type {number | null} */ (cell("was")), now: /** @type {number | null} */ (cell("now")),
      low: /** @type {number | null} */ (cell("low")), high: /** @type {number | null} */ (cell("high")),
      marked: cell("marked") === true,
      better: BETTER[kind === "missed" ? kind : String(own)],
      link: explore(address, kind === "missed" ? { fallback: "yes" } : filter ? { [filter]: own === null ? [""] : [String(own)] } : {}),
    };
  });
}

/** @type {Record<string, Card[]>} */
export const CARDS = {
  overview: [
    { id: "conversations", metric: "R1_conversations", form: "number", span: 12, title: "Conversations", line: first("session"), over: true, draw: { better: "up" } },
    { id: "users", metric: "R2_users", form: "number", span: 12, title: "Users", line: first("user"), over: true, draw: { better: "up" } },
    { id: "containment", metric: "R8_containment", form: "number", span: 12, title: "Containment", line: first("session"), over: true, draw: { better: "up", colour: "3" } },
    { id: "abandoned", metric: "R9_abandonment", form: "number", span: 12, title: "Abandoned", line: first("session"), over: true, draw: { better: "down", colour: "2", own: { ending: ["abandoned"] } } },
    { id: "escalated", metric: "R10_escalation", form: "number", span: 12, title: "Escalated", line: first("session"), over: true, draw: { better: "down", colour: "4", own: { ending: ["escalated"] } } },
    { id: "fallback", metric: "X24_fallback", form: "number", span: 12, title: "Fallback", line: first("turn"), over: true, draw: { better: "down", colour: "5", own: { fallback: "yes" } } },
    { id: "response", metric: "R7_response_time", form: "number", span: 12, title: "Response, median", line: first("turn"), over: true, draw: {
      value: "p50", better: "down", beside: (/** @type {Answer} */ answer) => (answer.values.p95 ? ` p95 ${number(answer.values.p95.value, "seconds")}` : "") } },
    { id: "sessions", metric: "R4_channels", form: "stacked", span: 8, title: "Sessions", line: (answer) => `${counted(value(answer, Object.keys(answer.values)[0]), "session")}, by channel${answer.compared ? "; the dashed line is the period compared with" : ""}`, over: true, draw: { split: true, filter: "channel", previous: true, height: 372 } },
    { id: "endings", metric: "three_ways_to_end", form: "outcomes", span: 4, below: "channels", title: "How sessions ended", line: (answer) => counted(["finished", "abandoned", "escalated"].reduce((sum, key) => sum + (answer.values[key]?.n ?? value(answer, key)), 0), "session") },
    { id: "intents", metric: "R6_top_intents", form: "bars", span: 6, title: "Top intents", line: first("user message"), draw: { label: "intent", value: "messages", part: "share", head: "Intent", unit: "Messages", filter: "intent", missed: MISSED, previous: true, counted: "messages" } },
    { id: "response-over-time", metric: "R7_response_time", form: "lines", span: 6, title: "Response time", line: (answer) => `from a message to the first answer in its turn, ${counted(answer.values.p50?.n ?? 0, "answer")}; logarithmic`, over: true, draw: { lines: ["p50", "p90", "p95"], names: ["median", "90 %", "95 %"], colours: ["1", "3", "5"], log: true, band: true, counted: "answers" } },
    { id: "paths", metric: "L19_paths", form: "sankey", span: 8, title: "Conversation paths", line: (answer) => `the first four intents of ${counted(Object.values(answer.values)[0]?.value ?? 0, "session")}; equal neighbours are one step`, draw: { graph, height: 456 } },
    { id: "engagement", metric: "X9_engagement", form: "figures", span: 4, below: "resolution", title: "Engagement", line: (answer) => `${counted(value(answer, "engagement") === null ? 0 : (answer.values.engagement?.d ?? 0), "session")}, with more than one message`, draw: {} },
    { id: "resolution", metric: "X8_resolution", form: "figures", span: 4, below: "user-sessions", title: "Resolution", line: says("completed and not escalated, of the engaged ones") },
    { id: "user-sessions", metric: "R5_user_sessions", form: "histogram", span: 4, title: "Sessions per user", line: (answer) => `${number(answer.values.per_sender?.value, "ratio")} on average, ${counted(answer.values.per_sender?.d ?? 0, "user")}`, draw: { table: "histogram", low: "sessions", value: "senders", discrete: true, counted: "users", height: 150 } },
    { id: "channels", metric: "R4_channels", form: "bars", span: 4, title: "Channels", line: first("session"), draw: { label: "channel", value: "sessions", part: "share", filter: "channel", heads: false, limit: 8 } },
    { id: "week", metric: "L17_heat_sessions", form: "heat", span: 6, title: "When people write", line: (_, address) => `sessions by weekday and hour, ${address.filters.tz?.[0] ?? "UTC"}`, draw: { cells: week, unit: "sessions", own: (/** @type {Table} */ _, /** @type {number} */ day, /** @type {number} */ block) => ({ weekday: DAYS[day], hour: String(block * 2) }) } },
    { id: "changes", metric: "X45_changes", form: "changes", needs: "vs", span: 6, title: "What changed", line: (answer) => `shares against the period compared with, with 95 % intervals; ${number(value(answer, "compared"), "count")} compared`, draw: { rows: changes } },
    { id: "unhandled", metric: "X25_unhandled", form: "texts", span: 4, title: "Not understood", line: says("messages that were answered by falling back, same words together"), draw: { label: "text", value: "messages", counted: "missed messages" }, more: { page: "missed", text: "All missed messages" } },
    { id: "latest", metric: "X39_search", form: "conversations", span: 8, title: "Latest conversations", line: says("") },
  ],
  conversations: [
    { id: "turns", metric: "LN5_turns", form: "histogram", span: 4, half: true, title: "Turns per conversation", line: (answer) => `${number(answer.values.turns?.value, "ratio")} on average, at most ${number(answer.values.most?.value, "count")}`, draw: { table: "histogram", low: "turns", value: "sessions", discrete: true } },
    { id: "time", metric: "X1_time_per_session", form: "histogram", span: 4, half: true, title: "Time per session", line: says("from the first event to the last"), draw: { table: "histogram", low: "from_seconds", value: "sessions", unit: "seconds" } },
    { id: "concurrent", metric: "LN6_concurrency", form: "lines", span: 4, half: true, title: "Concurrent sessions", line: says("most sessions active at one moment"), over: true },
  ],
  intents: [
    { id: "intents", metric: "R6_top_intents", form: "bars", span: 6, title: "Top intents", line: first("user message"), options: { top: "20" }, draw: { label: "intent", value: "messages", part: "share", head: "Intent", unit: "Messages", filter: "intent", missed: MISSED, limit: 20, previous: true, counted: "messages" } },
    { id: "intents-over-time", metric: "R6_top_intents", form: "stacked", span: 6, title: "Intents over time", line: first("user message"), over: true, draw: { split: true, filter: "intent", counted: "messages", height: 480 } },
    { id: "drift", metric: "X34_drift", form: "drift", needs: "vs", span: 4, half: true, title: "Drift", line: says("distance to the period compared with, 0 to 1, and the intents that moved"), draw: { table: "movers", counted: "messages", filter: "intent", label: "intent", limit: 5 } },
    { id: "hours", metric: "L18_heat_intent", form: "heat", span: 8, title: "Intents by hour", line: (_, address) => `messages by hour of the day, ${address.filters.tz?.[0] ?? "UTC"}`, draw: { cells: hours, unit: "messages", own: (/** @type {Table} */ list, /** @type {number} */ row) => ({ intent: [hours(list).rows[row]] }), counted: "messages" } },
    { id: "confidence", metric: "X22_confidence", form: "histogram", span: 6, title: "Confidence", line: first("message with a confidence", "messages with a confidence"), draw: { table: "histogram", low: "from", value: "messages", unit: "fraction", counted: "messages", height: 400 } },
    { id: "confusion", metric: "X23_confusion", form: "table", span: 6, title: "Ambiguous intents", line: says("pairs of intents with nearly the same confidence"), draw: { table: "pairs", counted: "ambiguous messages", limit: 10 } },
    { id: "impact", metric: "X11_topic_impact", form: "table", span: 6, title: "What an intent goes with", line: says("rates of sessions with the intent minus those without it, in points"), draw: { filter: "intent", label: "intent", limit: 12 } },
    { id: "exits", metric: "X14_exit_intent", form: "table", span: 6, title: "Exit points", line: says("the last intent of sessions"), draw: { filter: "intent", label: "last_intent", limit: 12 } },
    { id: "topics", metric: "X4_topics", form: "histogram", span: 6, title: "Topics per session", line: says("different intents in a session"), draw: { low: "intents", value: "sessions", discrete: true } },
  ],
  paths: [
    { id: "paths", metric: "L19_paths", form: "sankey", span: 12, title: "Conversation paths", line: (answer) => `the first four intents of ${counted(Object.values(answer.values)[0]?.value ?? 0, "session")}; equal neighbours are one step`, draw: { graph } },
    { id: "funnel", metric: "A12_funnel", form: "funnel", span: 12, title: "Funnel", line: (_, address) => `${address.filters.across ? "senders" : "sessions"} that reach each step, in this order`, draw: { label: "match", value: "reached" } },
    { id: "next", metric: "L19_paths", form: "table", span: 12, title: "From one intent to the next", line: says("transitions, those that go back marked"), draw: { table: "transitions", limit: 15 } },
    { id: "transitions", metric: "L19_paths", form: "table", span: 12, title: "Most frequent paths", line: says("the whole path of a session, equal neighbours merged"), options: { top: "20" }, draw: { table: "most_frequent" } },
  ],
  "response-time": [
    { id: "response", metric: "R7_response_time", form: "figures", span: 4, half: true, title: "Response time", line: first("answer"), draw: { names: [["mean", "Mean"], ["p50", "Median"], ["p90", "90 %"], ["p95", "95 %"], ["p99", "99 %"]], counted: "answers" } },
    { id: "response-over-time", metric: "R7_response_time", form: "lines", span: 8, title: "Response time over time", line: says("from a message to the first answer in its turn; logarithmic"), over: true, draw: { lines: ["p50", "p90", "p95"], names: ["median", "90 %", "95 %"], colours: ["1", "3", "5"], log: true, band: true, counted: "answers" } },
    { id: "histogram", metric: "R7_response_time", form: "histogram", span: 6, title: "Distribution", line: first("answer"), draw: { table: "histogram", low: "from_seconds", value: "turns", unit: "seconds", counted: "answers" } },
    { id: "slowest", metric: "R7_response_time", form: "table", span: 6, title: "Slowest answers", line: says("the turns that took longest"), draw: { table: "slowest", counted: "answers", limit: 10, session: "session_id" } },
    { id: "response-by-intent", metric: "R7_response_time", form: "table", span: 6, title: "By intent", line: first("answer"), draw: { table: "by_intent", filter: "intent", label: "intent", counted: "answers" } },
    { id: "response-by-channel", metric: "R7_response_time", form: "table", span: 6, title: "By channel", line: first("answer"), draw: { table: "by_channel", filter: "channel", label: "channel", counted: "answers" } },
    { id: "response-by-model", metric: "R7_response_time", form: "table", span: 6, title: "By model", line: first("answer"), draw: { table: "by_model", filter: "model", label: "model", counted: "answers" } },
    { id: "first", metric: "X40_time_first", form: "figures", span: 6, half: true, title: "First response", line: says("of each session's first turn"), draw: { counted: "answers" } },
    { id: "no-answer", metric: "X46_noanswer", form: "lines", span: 6, title: "Turns without an answer", line: first("turn"), over: true, draw: { previous: true, counted: "turns" } },
    { id: "no-answer-by", metric: "X46_noanswer", form: "table", span: 6, title: "Without an answer, by intent", line: first("turn"), draw: { table: "by_intent", filter: "intent", label: "intent", counted: "turns" } },
    { id: "processing", metric: "X51_processing", form: "lines", span: 6, title: "Processing time", line: says("time that the assistant worked on a turn, as it says itself; logarithmic"), over: true, draw: { lines: ["p50", "p90", "p95"], names: ["median", "90 %", "95 %"], colours: ["1", "3", "5"], log: true, counted: "turns" } },
    { id: "processing-parts", metric: "X51_processing", form: "table", span: 6, title: "Parts of the processing time", line: says("mean over the turns that have the part"), draw: { table: "parts", counted: "turns" } },
  ],
  missed: [
    { id: "fallback", metric: "X24_fallback", form: "lines", span: 8, title: "Fallback rate", line: first("turn"), over: true, draw: { previous: true, counted: "turns" } },
    { id: "fallback-figures", metric: "X24_fallback", form: "figures", span: 4, half: true, title: "In numbers", line: first("turn"), draw: { counted: "turns" } },
    { id: "groups", metric: "X25_unhandled", form: "review", span: 12, title: "What was not understood", line: says("same words together, the most frequent first: choose what each should have been"), options: { top: "100" }, draw: { label: "text", value: "messages", counted: "missed messages" } },
    { id: "missed-by-intent", metric: "L9_missed_by_intent", form: "bars", span: 6, title: "Missed after which intent", line: says("the intent of the message before"), draw: { label: "intent_before", value: "missed", filter: "intent", heads: false, counted: "missed messages" } },
    { id: "missed-before", metric: "X24_fallback", form: "table", span: 6, title: "Missed after what", line: says("intent and response of the turn before"), draw: { table: "by_preceding", filter: "intent", label: "intent_before", counted: "missed messages" } },
    { id: "repeat", metric: "X26_repeat", form: "figures", span: 6, half: true, title: "Repetition", line: says("users who say it again, answers that come again"), draw: { counted: "messages" } },
    { id: "history", metric: "L11_missed_history", form: "table", span: 12, title: "Missed messages", line: says("the newest ones"), draw: { counted: "missed messages", limit: 50 } },
  ],
  forms: [
    { id: "forms", metric: "X27_slot_fill", form: "table", span: 12, title: "Forms", line: says("sessions that have a form, and how it went"), draw: { counted: "forms" } },
    { id: "stopped", metric: "X27_slot_fill", form: "table", span: 6, title: "Where they stopped", line: says("the slot that was asked for last in forms left open"), draw: { table: "stopped_at", counted: "forms" } },
    { id: "slots", metric: "X28_slot_values", form: "table", span: 6, title: "Slots at the end", line: first("session"), draw: { table: "fill_rates", counted: "slots", limit: 30 } },
    { id: "slot-values", metric: "X28_slot_values", form: "table", span: 6, title: "Values of slots", line: says("the most frequent ones at the end of sessions"), draw: { table: "values", counted: "slots", limit: 30 } },
    { id: "entities", metric: "L20_slot_top", form: "table", span: 6, title: "Values said", line: says("entities of messages, by intent"), draw: { counted: "entities", limit: 20 } },
    { id: "flows", metric: "X44_flow_resolution", form: "table", span: 12, title: "Flows", line: says("sessions in which a flow starts, and in which it completes"), draw: { counted: "flows" } },
    { id: "runs", metric: "X47_flow_runs", form: "table", span: 12, title: "Runs of flows", line: says("how runs of flows end, and how long those done take"), draw: { counted: "runs" } },
    { id: "runs-stopped", metric: "X47_flow_runs", form: "table", span: 6, title: "Where flows stopped", line: says("the last step of runs that are not done"), draw: { table: "stopped", counted: "runs", limit: 20 } },
    { id: "runs-entered", metric: "X47_flow_runs", form: "table", span: 6, title: "How flows were entered", line: says("by a message, a link, a call or an interruption"), draw: { table: "entered_by", counted: "runs", limit: 20 } },
    { id: "repair", metric: "X48_repair", form: "lines", span: 6, title: "Conversation repair", line: first("message"), over: true, draw: { previous: true, counted: "messages" } },
    { id: "repair-patterns", metric: "X48_repair", form: "table", span: 6, title: "Repaired by", line: says("messages in whose turn such a pattern opens"), draw: { table: "patterns", counted: "messages" } },
    { id: "repair-flows", metric: "X48_repair", form: "table", span: 6, title: "Repaired in which flow", line: says("the flow that the pattern is about"), draw: { table: "by_flow", counted: "messages", limit: 20 } },
    { id: "repair-reasons", metric: "X48_repair", form: "table", span: 6, title: "Why it could not go on", line: says("reasons of cannot handle and of internal errors"), draw: { table: "reasons", counted: "messages" } },
    { id: "agents", metric: "X49_agents", form: "table", span: 12, title: "Sub agents", line: says("how runs of sub agents end"), draw: { counted: "runs" } },
    { id: "tools", metric: "X50_tools", form: "table", span: 6, title: "Tools", line: says("calls, and those that report an error"), draw: { counted: "calls" } },
    { id: "failed-actions", metric: "X50_tools", form: "table", span: 6, title: "Failed actions", line: says("actions that failed"), draw: { table: "failed_actions", counted: "actions" } },
    { id: "slot-sources", metric: "X53_slot_sources", form: "table", span: 6, title: "Who filled the slots", line: says("slots that were set, by what filled them"), draw: { table: "slots", counted: "slots", limit: 20 } },
    { id: "commands", metric: "X54_commands", form: "table", span: 6, title: "Commands", line: first("command"), draw: { counted: "commands", limit: 20 } },
    { id: "unnamed", metric: "X54_commands", form: "table", span: 6, title: "Flows that no command named", line: says("called and linked ones"), draw: { table: "unnamed", counted: "runs", limit: 20 } },
  ],
  ends: [
    { id: "endings", metric: "three_ways_to_end", form: "outcomes", span: 4, half: true, title: "How sessions ended", line: (answer) => counted(["finished", "abandoned", "escalated"].reduce((sum, key) => sum + (answer.values[key]?.n ?? value(answer, key)), 0), "session") },
    { id: "containment", metric: "R8_containment", form: "lines", span: 8, title: "Containment", line: first("session"), over: true, draw: { previous: true, colours: ["3"] } },
    { id: "abandonment", metric: "R9_abandonment", form: "lines", span: 6, title: "Abandonment", line: first("session of the three ways", "sessions of the three ways"), over: true, draw: { previous: true, colours: ["2"] } },
    { id: "escalation", metric: "R10_escalation", form: "lines", span: 6, title: "Escalation", line: first("session"), over: true, draw: { previous: true, colours: ["4"] } },
    { id: "by-template", metric: "R9_abandonment", form: "table", span: 6, title: "Abandoned after which response", line: says("by the last response of the session"), draw: { table: "by_last_template" } },
    { id: "before-handover", metric: "R10_escalation", form: "bars", span: 6, title: "Handed over after which intent", line: first("session"), draw: { table: "by_preceding_intent", label: "intent", value: "sessions", filter: "intent", heads: false } },
    { id: "handoff", metric: "X41_handoff_detail", form: "table", span: 6, title: "Hand-overs", line: says("what went before them"), draw: { counted: "hand-overs" } },
    { id: "depth", metric: "X3_abandon_depth", form: "histogram", span: 6, title: "Abandoned after how many turns", line: (answer) => `${number(answer.values.turns?.value, "ratio")} turns on average`, draw: { table: "histogram", low: "turns", value: "sessions", discrete: true } },
    { id: "repeat", metric: "X12_callback", form: "figures", span: 6, half: true, title: "Repeat contact", line: says("senders who came back within a day") },
    { id: "ended-by", metric: "X13_session_end", form: "table", span: 6, half: true, title: "What ended sessions", line: says("by the rule that ended it"), draw: { table: "ended_by" } },
    { id: "resolution", metric: "X8_resolution", form: "figures", span: 6, half: true, title: "Resolution", line: says("completed and not escalated, of the engaged ones") },
    { id: "engagement", metric: "X9_engagement", form: "figures", span: 6, half: true, title: "Engagement", line: first("session") },
  ],
  users: [
    { id: "users", metric: "R2_users", form: "lines", span: 8, title: "Users", line: first("user"), over: true, draw: { previous: true, counted: "users" } },
    { id: "user-sessions", metric: "R5_user_sessions", form: "histogram", span: 4, title: "Sessions per user", line: says("users by their number of sessions"), draw: { table: "histogram", low: "sessions", value: "senders", discrete: true, counted: "users" } },
    { id: "lifecycle", metric: "X19_lifecycle", form: "table", span: 6, title: "New, returning, lost", line: says("users by week"), draw: { counted: "users" } },
    { id: "days", metric: "X20_stickiness", form: "histogram", span: 6, title: "Days with a session", line: says("users by their number of days"), draw: { table: "active_days", low: "days", value: "users", discrete: true, counted: "users" } },
    { id: "stickiness", metric: "X20_stickiness", form: "figures", span: 6, half: true, title: "Stickiness", line: says("users of a day, a week and 30 days"), draw: { counted: "users" } },
    { id: "retention", metric: "A32_retention", form: "table", span: 12, title: "Who came back", line: says("users by the week of their first session, and how many were active weeks later"), draw: { counted: "users", limit: 40 } },
  ],
  markers: [
    { id: "markers", metric: "X29_markers", form: "table", span: 12, title: "Markers", line: says("sessions in which a marker applied"), setup: { text: "No marker applied in this range, or none is set up.", command: "turnmill markers upload markers.yml --on STORE" }, draw: { filter: "marker", label: "marker" } },
    { id: "preview", metric: "", form: "preview", span: 12, title: "Preview a marker", line: says("") },
  ],
  releases: [
    { id: "models", metric: "X30_model_compare", form: "table", span: 12, title: "Models", line: says("rates by model, with 95 % intervals"), draw: { filter: "model", label: "model" } },
    { id: "environments", metric: "X31_env", form: "table", span: 12, title: "Environments", line: says("rates by environment"), draw: { filter: "env", label: "environment" } },
  ],
  policies: [
    { id: "policies", metric: "X32_policy", form: "table", span: 6, title: "Policies", line: first("action"), draw: { table: "policies", counted: "actions" } },
    { id: "responses", metric: "X33_templates", form: "table", span: 6, title: "Responses", line: first("bot message"), draw: { table: "responses", counted: "bot messages", limit: 30 } },
    { id: "generated", metric: "X52_generated", form: "table", span: 6, title: "Who made the answers", line: says("bot messages by what made their text"), draw: { table: "by", counted: "bot messages" } },
  ],
  quality: [
    { id: "quality", metric: "X38_quality", form: "figures", span: 12, title: "Data quality", line: says("what is odd in the events, and what is missing") , draw: { counted: "events" } },
    { id: "freshness", metric: "X55_freshness", form: "table", span: 12, title: "Freshness", line: says("newest event of each source and assistant"), draw: { counted: "sources" } },
    { id: "errors", metric: "X5_error_rate", form: "figures", span: 6, half: true, title: "Errors", line: first("session") },
  ],
};
