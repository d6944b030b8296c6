// The list of conversations: every filter of a mark, further ones, order and pages.

import { html, useState } from "../vendor/vendor.js";
import { FILTERS, FUNNEL, LIST_FILTERS, changed, href, query } from "./address.js";
import { Loading, RefusedState, zoneOf } from "./card.js";
import { csvCell } from "./csv.js";
import { named, save } from "./export.js";
import { moment, name, number } from "./format.js";
import { go } from "./go.js";
import { ConversationTable } from "./page.js";
import { useAnswer } from "./use.js";

/** @import { Address } from "./types.js" */

/** Conversations on one page of the list. */
export const PAGE = 50;

/** Filters of the list that are typed. @type {[string, string, string][]} */
const TYPED = [
  ["text", "Text", "search"], ["sender", "Sender", "text"], ["slot", "Slot", "text"], ["value", "Slot value", "text"],
  ["min_turns", "Turns, at least", "number"], ["max_turns", "at most", "number"], ["slower", "A response over, s", "number"],
];

/** What the list asks the API. @param {Address} address @param {Record<string, string>} more */
export function listQuery(address, more) {
  const names = [...FILTERS.filter((each) => each !== "by" && each !== "vs" && !FUNNEL.includes(each)), ...LIST_FILTERS];
  return [query(address.filters, names), new URLSearchParams(more).toString()].filter(Boolean).join("&");
}

/** @param {{ address: Address, store: any }} props */
export function Explorer({ address }) {
  // The list itself stays while new conversations come, so that no row moves under the pointer.
  const asked = useAnswer("conversations", listQuery(address, { limit: String(PAGE) }), (raw) => raw, { live: false });
  const newest = useAnswer(asked.answer ? "conversations" : null, listQuery(address, { limit: "1" }), (raw) => /** @type {number} */ (raw.total));
  const added = asked.answer && newest.answer !== null ? newest.answer - asked.answer.total : 0;
  const [more, setMore] = useState(() => TYPED.some(([key]) => address.filters[key]));
  const zone = zoneOf(address);
  const { answer } = asked;
  const offset = Number(address.filters.offset?.[0] ?? 0);
  const set = (/** @type {Record<string, string | null>} */ changes) => go(href({ ...address, filters: changed(address.filters, { offset: null, ...changes }) }));
  const submit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    set(Object.fromEntries(TYPED.filter(([key]) => form.has(key)).map(([key]) => [key, String(form.get(key)).trim() || null])));
  };
  const file = async () => {
    const response = await fetch(`/api/v1/conversations?${listQuery(address, { limit: "10000" })}`);
    const { conversations } = await response.json();
    const columns = Object.keys(conversations[0] ?? { session_id: "" });
    const lines = [columns, ...conversations.map((/** @type {any} */ row) => columns.map((column) => row[column]))];
    save(named("conversations.csv"), lines.map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n", "text/csv;charset=utf-8");
  };
  const order = address.filters.order?.[0] ?? "newest";
  const page = (/** @type {number} */ at) => href({ ...address, filters: changed(address.filters, { offset: at > 0 ? String(at) : null }) });
  return html`<section class="card span-12" data-card="explorer" data-ready=${answer && !asked.loading ? "yes" : undefined} aria-label="List of conversations">
    <form class="list-bar" onSubmit=${submit}>
      ${TYPED.filter(([key]) => more || key === "text").map(([key, label, type]) => html`<label class="field" key=${key}>${label}<input name=${key} type=${type} min=${type === "number" ? 0 : undefined} step=${key === "slower" ? "any" : undefined} value=${address.filters[key]?.[0] ?? ""} /></label>`)}
      <button class="button strong">Search</button>
      <button class="button bare" type="button" aria-expanded=${more} onClick=${() => setMore(!more)}>${more ? "Fewer" : "More"} filters</button>
      <label class="field">Order<select onChange=${(/** @type {any} */ event) => set({ order: event.target.value === "newest" ? null : event.target.value })}>
        ${[["newest", "newest first"], ["oldest", "oldest first"], ["turns", "most turns"], ["duration", "longest"]].map(([key, words]) => html`<option key=${key} value=${key} selected=${order === key}>${words}</option>`)}</select></label>
      <label class="field">Time<select onChange=${(/** @type {any} */ event) => set({ during: event.target.value === "started" ? null : event.target.value })}>
        ${[["started", "started in the range"], ["active", "active in the range"]].map(([key, words]) => html`<option key=${key} value=${key} selected=${(address.filters.during?.[0] ?? "started") === key}>${words}</option>`)}</select></label>
      <span class="count" role="status">${answer && html`<b data-name="total">${number(answer.total, "count")}</b> conversations`}
        ${added > 0 && html` <button class="button" type="button" onClick=${asked.again}>${number(added, "count")} more since then: show</button>`}</span>
    </form>
    <${Chips} address=${address} />
    ${asked.refused ? html`<${RefusedState} refused=${asked.refused} again=${asked.again} />`
      : !answer ? html`<${Loading} slow=${asked.slow} />`
      : answer.conversations.length === 0 ? html`<div class="state"><h3>No conversation matches.</h3><p>Fewer filters or a longer range may help.</p><a class="button strong" href=${href({ page: "conversations", filters: {} })}>Show all of them</a></div>`
      : html`<div class=${`body${asked.loading ? " stale" : ""}`}><${ConversationTable} rows=${answer.conversations} address=${address} zone=${zone} />
        <div class="pager">
          ${offset > 0 && html`<a class="button" rel="prev" href=${page(Math.max(0, offset - PAGE))}>Previous</a>`}
          <span>${number(offset + 1, "count")} to ${number(offset + answer.conversations.length, "count")} of ${number(answer.total, "count")}</span>
          ${offset + answer.conversations.length < answer.total && html`<a class="button" rel="next" href=${page(offset + PAGE)}>Next</a>`}
          <button class="button" type="button" onClick=${file}>CSV</button>
        </div></div>`}
  </section>`;
}

/** Filters that a mark brought along, each with a link that drops it. @param {{ address: Address }} props */
function Chips({ address }) {
  const zone = zoneOf(address);
  const shown = Object.entries(address.filters).filter(([key]) => ["intent", "ending", "marker", "from", "to", "weekday", "hour", "fallback", "missed_text"].includes(key));
  if (!shown.length) return null;
  const spelled = (/** @type {string} */ key, /** @type {string} */ value) => ((key === "from" || key === "to") && value.length > 10 ? moment(value, zone) : name(value || null));
  return html`<p class="list-bar">${shown.flatMap(([key, values]) => values.map((value) => html`<a key=${key + value} class="button" aria-label=${`Drop the filter ${key} ${value}`}
    href=${href({ ...address, filters: changed(address.filters, { offset: null, [key]: values.filter((each) => each !== value) }) })}><span>${key}: ${spelled(key, value)}</span> \u00d7</a>`))}</p>`;
}
