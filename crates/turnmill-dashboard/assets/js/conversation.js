// One conversation: what was said, what the assistant made of it, why it began and why it ended.
// Texts of users and assistants are shown as text.

import { html, useEffect, useMemo, useState } from "../vendor/vendor.js";
import { href } from "./address.js";
import { Loading, RefusedState, zoneOf } from "./card.js";
import { named, save } from "./export.js";
import { clock, counted, longMoment, moment, name, number } from "./format.js";
import { go } from "./go.js";
import { PAGE, listQuery } from "./explorer.js";
import { useAnswer } from "./use.js";

/** @import { Address } from "./types.js" */

/** Turns shown at first, and with each "show earlier ones". */
const TURNS = 50;

/** @param {{ address: Address, store: any }} props */
export function Conversation({ address, store }) {
  const zone = zoneOf(address);
  const asked = useAnswer(`conversations/${encodeURIComponent(address.session)}`, "", (raw) => raw);
  const list = useAnswer("conversations", listQuery(address, { limit: String(PAGE) }), (raw) => raw, { live: false });
  const [all, setAll] = useState(false);
  const raw = useAnswer(all ? `conversations/${encodeURIComponent(address.session)}/events` : null, "", (answer) => answer);
  const [shown, setShown] = useState(TURNS);
  const [current, setCurrent] = useState(-1);
  const conversation = asked.answer;
  // The neighbours in the part of the list that the reader came from.
  const ids = /** @type {string[]} */ ((list.answer?.conversations ?? []).map((/** @type {any} */ row) => row.session_id));
  const place = ids.indexOf(address.session);
  const before = place > 0 ? ids[place - 1] : null, after = place >= 0 ? (ids[place + 1] ?? null) : null;
  const turns = /** @type {any[]} */ (conversation?.turns ?? []);
  const first = Math.max(0, turns.length - shown);
  const visible = turns.slice(first);
  const target = useMemo(() => turns.findIndex((turn) => turn.event_id === address.event || turn.events?.some((/** @type {any} */ event) => event.event_id === address.event)), [conversation, address.event]);

  const history = useMemo(() => byTurn(turns, raw.answer?.events ?? []), [conversation, raw.answer]);
  const marks = useMemo(() => firstMarks(turns), [conversation]);

  useEffect(() => {
    if (target < 0) return;
    if (target < first) setShown(turns.length - target);
    else document.getElementById(`turn-${target}`)?.scrollIntoView({ block: "center" });
  }, [target, first]);
  useEffect(() => {
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
      const move = event.key === "j" ? 1 : event.key === "k" ? -1 : 0;
      if (move !== 0) {
        // What came before the first message may have nothing to show.
        let next = (current < 0 ? first - 1 : current) + move;
        if (next === first && !document.getElementById(`turn-${next}`)) next += move;
        next = Math.max(first, Math.min(turns.length - 1, next));
        setCurrent(next);
        const element = document.getElementById(`turn-${next}`);
        element?.focus();
        element?.scrollIntoView({ block: "nearest" });
      }
      if (event.key === "[" && before) go(to(before));
      if (event.key === "]" && after) go(to(after));
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [turns, first, current, before, after]);

  const to = (/** @type {string} */ session) => href({ page: "conversations", session, filters: address.filters });
  const back = href({ page: "conversations", filters: address.filters });
  if (asked.refused) return html`<section class="card refused"><${RefusedState} refused=${asked.refused} again=${asked.again} /></section>`;
  if (!conversation) return html`<section class="card"><${Loading} slow=${asked.slow} /></section>`;
  const { session } = conversation;
  return html`<article data-card="conversation" data-ready="yes">
    <div class="list-bar">
      <a class="button strong" href=${back}>\u2039 Back to ${list.answer ? counted(list.answer.total, "conversation") : "the list"}</a>
      ${before && html`<a class="button" rel="prev" href=${to(before)}>Previous</a>`}
      ${after && html`<a class="button" rel="next" href=${to(after)}>Next</a>`}
      <button class="button" type="button" aria-pressed=${all} onClick=${() => setAll(!all)}>All events</button>
      <button class="button" type="button" onClick=${() => save(named(`${session.session_id}.json`), `${JSON.stringify(conversation, null, 2)}\n`, "application/json")}>JSON</button>
    </div>
    <p class="crumbs"><a href=${back}>Conversations</a> / <span class="name">${session.sender_key}</span></p>
    <div class="title"><h1 tabIndex="-1">${longMoment(session.started_at, zone)}</h1><span class=${`badge ${session.ending}`}>${session.ending}</span></div>
    <div class="conversation">
      <section class="card" aria-label="Transcript">
        ${conversation.began && html`<p class="why"><b>Why it began here.</b> <span class="foreign">${conversation.began}</span></p>`}
        ${first > 0 && html`<p class="more"><button class="button" type="button" onClick=${() => setShown(shown + TURNS)}>Show ${Math.min(TURNS, first)} earlier turns of ${first}</button></p>`}
        ${visible.map((turn, index) => html`<${Turn} key=${turn.event_id ?? index} turn=${turn} index=${first + index} zone=${zone} all=${all} raw=${all ? (history.get(turn.event_id ?? null) ?? []) : []} marks=${marks} at=${first + index === target} />`)}
        ${conversation.ended && html`<p class="why ended"><b>Why it ended.</b> <span class="foreign">${conversation.ended}</span>${conversation.next && html` <a href=${to(conversation.next)}>The next session of this sender</a>`}</p>`}
      </section>
      <aside class="aside" aria-label="Facts">
        <${Facts} title="Session" rows=${[["Channel", name(session.channel)], ["Turns", number(session.turns, "count")], ["Duration", number(session.duration, "seconds")], ["Model", name(session.model, "not given")],
          ["Environment", name(session.environment, "not given")], ["Session id", session.session_id], ["Events", number(conversation.events, "count")]]} />
        ${conversation.slots?.length > 0 && html`<${Facts} title="Slots at the end" rows=${conversation.slots.map((/** @type {any} */ slot) => [slot.name, slot.value])} />`}
        ${conversation.markers?.length > 0 && html`<${Facts} title="Markers" rows=${conversation.markers.map((/** @type {any} */ marker) => [marker.name, marker.turns?.length ? `${marker.turns.length === 1 ? "turn" : "turns"} ${spans(marker.turns)}` : ""])} />`}
        ${conversation.others?.length > 0 && html`<section class="card"><h2>Other sessions of this sender</h2><ul class="facts-list">${conversation.others.slice(0, 20).map((/** @type {any} */ other) => html`<li key=${other.session_id}><a href=${to(other.session_id)}>${moment(other.started_at, zone)}</a> <span class="muted">${other.ending}</span></li>`)}</ul></section>`}
      </aside>
    </div>
  </article>`;
}

/** @param {{ title: string, rows: [string, string | null][] }} props */
function Facts({ title, rows }) {
  return html`<section class="card"><header><h2>${title}</h2></header><dl class="facts-list">${rows.filter(([, value]) => value !== null).map(([key, value]) => html`<div key=${key}><dt>${key}</dt><dd class="foreign">${value}</dd></div>`)}</dl></section>`;
}

/**
 * The events of the history by the message before them; `null` stands for those before the first.
 * @param {any[]} turns
 * @param {any[]} events
 */
function byTurn(turns, events) {
  const messages = new Set(turns.map((turn) => turn.event_id));
  /** @type {Map<string | null, any[]>} */
  const all = new Map();
  /** @type {string | null} */
  let turn = null;
  for (const event of events) {
    if (messages.has(event.event_id)) turn = event.event_id;
    all.set(turn, [...(all.get(turn) ?? []), event]);
  }
  return all;
}

/** JSON with line ends, or the text as it is. @param {string} raw */
function pretty(raw) {
  try {
    return JSON.stringify(JSON.parse(raw), null, 2);
  } catch {
    return raw;
  }
}

/** The first event of each marker: a marker may hold at every event from then on. @param {any[]} turns */
function firstMarks(turns) {
  const names = new Set(), first = new Set();
  for (const turn of turns) {
    for (const event of turn.events ?? []) {
      if (event.kind !== "marker" || names.has(event.name)) continue;
      names.add(event.name);
      first.add(event);
    }
  }
  return first;
}

/** Spells numbers with runs as one: 1, 3\u20136. @param {number[]} numbers Ascending. */
export function spans(numbers) {
  /** @type {[number, number][]} */
  const runs = [];
  for (const each of numbers) {
    const run = runs.at(-1);
    if (run && each === run[1] + 1) run[1] = each;
    else runs.push([each, each]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : to === from + 1 ? `${from}, ${to}` : `${from}\u2013${to}`)).join(", ");
}

/**
 * @param {{ turn: any, index: number, zone: string, all: boolean, raw: any[], marks: Set<any>, at: boolean }} props
 */
function Turn({ turn, index, zone, all, raw, marks, at }) {
  const events = /** @type {any[]} */ (turn.events ?? []).filter((event) => all || (event.kind !== "action" && (event.kind !== "marker" || marks.has(event))));
  // Before the first message there are often only actions.
  if (!turn.event_id && events.length === 0 && raw.length === 0) return null;
  return html`<section class=${`turn${at ? " at" : ""}`} id=${`turn-${index}`} tabIndex="-1" aria-label=${`Turn ${index + 1}`}>
    <div class="head"><time datetime=${turn.at}>${clock(turn.at, zone)}</time>
      ${turn.event_id && html`<div class="said"><div class="bubble foreign" dir="auto">${turn.text ?? html`<i class="muted">no text</i>`}</div>
        <div class="facts">${turn.intent !== null && turn.intent !== undefined && html`<span class=${`tag${turn.is_missed ? " missed" : ""}`}>${turn.intent}${turn.confidence !== null ? ` ${number(turn.confidence, "fraction")}` : ""}</span>`}
          ${turn.is_missed && html`<span>not understood</span>`}${turn.form_took && html`<span>taken by the form</span>`}</div></div>`}
    </div>
    <div class="answers">
      ${events.map((event) => html`<${Event} key=${event.event_id} event=${event} all=${all} />`)}
      ${turn.event_id && html`<p class="facts answered">${turn.response === null || turn.response === undefined ? "no answer" : `answered after ${number(turn.response, "seconds")}`}</p>`}
      ${raw.length > 0 && html`<details class="raw"><summary>${counted(raw.length, "event")} as they came</summary>${raw.map((event) => html`<details key=${event.event_id}><summary><code>${event.type}</code></summary><pre tabIndex="0">${pretty(event.raw)}</pre></details>`)}</details>`}
    </div>
  </section>`;
}

/** @param {{ event: any, all: boolean }} props */
function Event({ event, all }) {
  switch (event.kind) {
    case "bot": return html`<div><div class="bubble foreign" dir="auto">${event.text ?? html`<i class="muted">${event.shown ?? "no text"}</i>`}</div>
      ${event.template && html`<div class="facts"><span class="tag">${event.template}</span>${event.asks && html`<span>asks for ${event.asks}</span>`}</div>`}</div>`;
    case "slot": return html`<div class="facts">slot <code class="foreign">${event.name} = ${event.value ?? "null"}</code></div>`;
    case "form_rejected": return html`<div class="facts">form <code>${event.name}</code> did not take the message, and asked again</div>`;
    case "marker": return html`<div class="marker"><span aria-hidden="true">\u2691 </span><span class="read">marker </span>${event.name}</div>`;
    default: return all ? html`<div class="facts">${event.kind} <code class="foreign">${event.name ?? ""}</code>${event.policy && html`<span>by ${event.policy}</span>`}</div>` : null;
  }
}
