// A card: title, one line, chart or table, definition with SQL, exports, and every state in which
// there is nothing to draw.

import { html, useRef, useState } from "../vendor/vendor.js";
import { FILTERS, FUNNEL, changed, href, query } from "./address.js";
import { read } from "./answer.js";
import { cell, tables } from "./tables.js";
import { csv, file, png, save, svg } from "./export.js";
import { day, moment, number } from "./format.js";
import { Icon } from "./icons.js";
import { bucketFor } from "./range.js";
import { useAnswer } from "./use.js";

/** @import { Address, Answer, Card } from "./types.js" */
/** @import { Refused } from "./api.js" */
/** @import { Asked } from "./use.js" */

/** Lists that a form draws, for forms that do not draw all of them. @type {Partial<Record<Card["form"], string[]>>} */
const DRAWN = { number: [], lines: [], stacked: [], outcomes: [], sankey: ["links", "most_frequent"] };

/** The parts that a card draws, as parameters. Nothing means all. @param {Card} card */
function drawn(card) {
  const parts = DRAWN[card.form];
  return parts ? (parts.length > 0 ? parts : [""]).map((part) => `part=${part}`).join("&") : "";
}

/**
 * What a card asks: the filters of the address that count for it, and its own.
 * @param {Card} card
 * @param {Address} address
 * @param {boolean} [whole] Whether all parts are asked for, not only those that the card draws.
 */
function question(card, address, whole = false) {
  const { options = {} } = card;
  const own = new URLSearchParams(options).toString();
  const names = FILTERS.filter((name) => !(name in options) && name !== "by" && (card.form === "funnel" || !FUNNEL.includes(name)));
  const by = card.over ? `by=${bucketFor(address)}` : "";
  return [query(address.filters, names), by, own, whole ? "" : drawn(card)].filter(Boolean).join("&");
}

/**
 * Asks the metric of a card, with the filters of the address.
 * @param {Card} card
 * @param {Address} address
 * @param {boolean} [whole] Whether all parts are asked for, not only those that the card draws.
 * @returns {Asked<Answer>}
 */
export function useCard(card, address, whole = false) {
  return useAnswer(metricPath(card), question(card, address, whole), read);
}

/** @param {Card} card */
function metricPath(card) {
  return `metrics/${encodeURIComponent(card.metric)}`;
}

/**
 * Asks the same for the period compared with, if the card draws it.
 * @param {Card} card
 * @param {Address} address
 * @param {Answer | null} answer
 * @returns {Answer | null}
 */
export function usePrevious(card, address, answer) {
  const compared = card.draw?.previous ? answer?.compared : null;
  const { options = {} } = card;
  const names = FILTERS.filter((name) => !["from", "to", "last", "vs", "by", ...FUNNEL].includes(name) && !(name in options));
  const range = compared ? { from: `${compared.from.replace(" ", "T")}Z`, to: `${compared.to.replace(" ", "T")}Z`, by: card.over ? bucketFor(address) : "", ...options } : {};
  const asked = useAnswer(compared ? metricPath(card) : null, [query(address.filters, names), new URLSearchParams(Object.entries(range).filter(([, value]) => value)).toString(), drawn(card)].filter(Boolean).join("&"), read);
  return compared ? asked.answer : null;
}

/** @param {Address} address */
export function zoneOf(address) {
  return address.filters.tz?.[0] ?? "UTC";
}

/**
 * The three buttons of a card.
 * @param {{ open: string, toggle: (what: string) => void, title: string }} props
 */
export function Tools({ open, toggle, title }) {
  const button = (/** @type {string} */ what, /** @type {string} */ icon, /** @type {string} */ label) => html`<button class="icon" type="button" aria-label=${`${label}: ${title}`} title=${label}
    aria-expanded=${open === what} onClick=${() => toggle(what)}><${Icon} name=${icon} /></button>`;
  return html`<div class="tools">${button("definition", "info", "Definition and SQL")}${button("table", "table", "Table")}${button("save", "save", "Export")}</div>`;
}

/**
 * The definition in words, the SQL that ran, and what is needed to take the numbers elsewhere.
 * @param {{ answer: Answer, raw?: boolean }} props
 */
export function Definition({ answer }) {
  const [copied, setCopied] = useState(false);
  const spelled = (/** @type {{ name: string, sql: string, values: any[] }} */ each) => `-- ${each.name}\n${each.sql.trim()}` + each.values.map((value, at) => `\n-- ${at + 1}: ${JSON.stringify(value)}`).join("");
  const text = answer.sql.map(spelled).join("\n\n");
  const parts = Object.entries(answer.values).filter(([, figure]) => figure.d !== undefined);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true), () => setCopied(false));
  return html`<div class="definition">
    <p>${answer.definition || "No definition was given."}</p>
    ${parts.length > 0 && html`<p class="muted">${parts.map(([name, figure]) => `${name}: ${number(figure.n, "count")} of ${number(figure.d, "count")}`).join(" \u00b7 ")}</p>`}
    ${text && html`<pre tabIndex="0" aria-label="SQL"><code>${text}</code></pre>`}
    <div class="row">${text && html`<button class="button" type="button" onClick=${copy}>${copied ? "Copied" : "Copy SQL"}</button>`}</div>
  </div>`;
}

/**
 * Files of a card.
 * @param {{ card: Card, answer: Answer, body: () => Element | null, zone: string }} props
 */
export function Exports({ card, answer, body, zone }) {
  const drawn = () => svg(card, answer, body(), zone);
  return html`<div class="exports">
    <button class="button" type="button" onClick=${() => save(file(card, answer, "csv"), csv(answer), "text/csv;charset=utf-8")}>CSV</button>
    <button class="button" type="button" onClick=${() => save(file(card, answer, "json"), `${JSON.stringify(answer.raw, null, 2)}\n`, "application/json")}>JSON</button>
    <button class="button" type="button" onClick=${() => save(file(card, answer, "svg"), drawn(), "image/svg+xml")}>SVG</button>
    <button class="button" type="button" onClick=${async () => save(file(card, answer, "png"), await png(drawn()), "image/png")}>PNG</button>
  </div>`;
}

/** The answer as tables. @param {{ answer: Answer, zone: string }} props */
export function Tables({ answer, zone }) {
  return html`<div>${tables(answer).map((table) => html`<div key=${table.title}>
    <h3 class="sub">${table.title}</h3>
    <div class="scroll" tabIndex="0" role="region" aria-label=${table.title}><table class="lined">
      <thead><tr>${table.columns.map((column) => html`<th class=${column.unit === "text" || column.unit === "time" ? "" : "num"}>${column.name}</th>`)}</tr></thead>
      <tbody>${table.rows.map((row, place) => html`<tr>${row.map((value, at) => {
        const column = table.columns[at].unit;
        const unit = column === "ratio" ? (table.units?.[place] ?? column) : column;
        return html`<td class=${unit === "text" ? "foreign" : unit === "time" ? "" : "num"}>${cell(value, unit, zone, answer.series?.bucket)}</td>`;
      })}</tr>`)}</tbody>
    </table></div></div>`)}</div>`;
}

/** Waiting for the first answer. @param {{ slow: boolean }} props */
export function Loading({ slow }) {
  return html`<div aria-busy="true"><div class="loading" aria-hidden="true">${Array.from({ length: 10 }, () => html`<i></i>`)}</div><p class="asking" role="status">${slow ? "Asking the store \u2026" : ""}</p></div>`;
}

/** Why there is no answer. @param {{ refused: Refused, again: () => void }} props */
export function RefusedState({ refused, again }) {
  if (refused.kind === "not_given") return html`<div class="state"><h3>This source does not give it.</h3><p>${refused.message}</p></div>`;
  if (refused.kind === "not_set_up") {
    return html`<div class="state"><h3>Nothing is set up.</h3><p>${refused.message}</p>${refused.command && html`<pre tabIndex="0"><code>${refused.command}</code></pre>`}</div>`;
  }
  const title = sentence(refused.message);
  const help = refused.kind === "timed_out" ? "The other charts are complete. A shorter range or fewer filters may help." : "The other charts are not affected.";
  return html`<div class="state" role="alert"><h3>${title}</h3><p>${help}</p><button class="button strong" type="button" onClick=${again}>Try again</button></div>`;
}

/** @param {string} text */
function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

/**
 * No event in the range.
 * @param {{ what: string, address: Address, store: any }} props
 */
export function Empty({ what, address, store }) {
  const zone = zoneOf(address);
  const filtered = Object.keys(address.filters).some((name) => !["tz", "by", "vs"].includes(name));
  const all = href({ ...address, filters: changed({}, { tz: address.filters.tz ?? null }) });
  if (!store?.first) return html`<div class="state"><h3>The store has no events yet.</h3><p>Fill it with turnmill-replay or turnmill run.</p></div>`;
  return html`<div class="state"><h3>No ${what} ${filtered ? "match these filters" : "in this range"}.</h3>
    <p>The store has events from ${moment(store.first, zone)} to ${moment(store.newest, zone)}.</p>
    ${filtered && html`<a class="button strong" href=${all}>Show all of them</a>`}</div>`;
}

/** Nothing to compare with. @param {{ address: Address }} props */
function Compare({ address }) {
  const { from, to, last } = address.filters;
  const range = last || (from && to) ? {} : { last: "28d", from: null, to: null };
  return html`<div class="state"><h3>Nothing to compare with.</h3><p>Choose a range and the period before it.</p>
    <a class="button strong" href=${href({ ...address, filters: changed(address.filters, { vs: "prev", ...range }) })}>Compare with the period before</a></div>`;
}

/** Whether an answer counts nothing: its numbers, or those at the ends of its rows. @param {Answer} answer */
export function isEmpty(answer) {
  const figures = Object.values(answer.values);
  if (figures.length > 0) return !figures.some((figure) => (figure.d ?? figure.n ?? figure.value ?? 0) !== 0);
  return answer.tables.every((list) => list.rows.every((row) => row[row.length - 1] === 0));
}

/**
 * A card with the form that draws it.
 * @param {object} props
 * @param {Card} props.card
 * @param {Address} props.address
 * @param {any} props.store
 * @param {(answer: Answer, previous: Answer | null) => any} props.draw
 * @param {string} [props.what] What is counted, for the empty state.
 * @param {boolean} [props.own] Whether the form shows an empty answer itself.
 */
export function CardFrame({ card, address, store, draw, what = "sessions", own = false }) {
  const [open, setOpen] = useState("");
  const asked = useCard(card, address, open !== "");
  const body = useRef(/** @type {HTMLElement | null} */ (null));
  const { answer, refused, loading, slow, again } = asked;
  const previous = usePrevious(card, address, answer);
  const zone = zoneOf(address);
  const toggle = (/** @type {string} */ which) => setOpen(open === which ? "" : which);
  const failed = refused && !["not_given", "not_set_up"].includes(refused.kind);
  return html`<section class=${`card span-${card.span}${card.half ? " half" : ""}${failed ? " refused" : ""}`} aria-labelledby=${`card-${card.id}`} data-card=${card.id} data-metric=${card.metric} data-question=${question(card, address, true)} data-ready=${answer && !loading ? "yes" : undefined}>
    <header>
      <div><h2 id=${`card-${card.id}`}>${card.title}</h2><p class="line">${answer ? card.line(answer, address) : "\u00a0"}</p></div>
      ${answer && html`<${Tools} open=${open} toggle=${toggle} title=${card.title} />`}
    </header>
    ${answer && open === "definition" && html`<${Definition} answer=${answer} />`}
    ${answer && open === "save" && html`<${Exports} card=${card} answer=${answer} body=${() => body.current} zone=${zone} />`}
    <div class=${`body${loading && answer ? " stale" : ""}`} ref=${body} aria-busy=${loading}>
      ${refused ? html`<${RefusedState} refused=${refused} again=${again} />`
        : !answer ? html`<${Loading} slow=${slow} />`
        : open === "table" ? html`<${Tables} answer=${answer} zone=${zone} />`
        : card.needs && !answer.compared ? html`<${Compare} address=${address} />`
        : isEmpty(answer) && !own && card.form !== "funnel" ? html`<${Empty} what=${what} address=${address} store=${store} />`
        : draw(answer, previous)}
      ${loading && answer && slow && html`<p class="asking" role="status">Asking the store \u2026</p>`}
      ${card.more && answer && !refused && html`<p class="more"><a href=${href({ page: card.more.page, filters: address.filters })}>${card.more.text}</a></p>`}
    </div>
  </section>`;
}

/** How a range reads: 2 Nov - 29 Nov 2026. @param {Address} address @param {any} store */
export function rangeText(address, store) {
  const zone = zoneOf(address);
  const { from, to, last } = address.filters;
  if (last?.[0]) {
    const found = last[0].match(/^(\d+)([hdwm])$/);
    const units = { h: "hours", d: "days", w: "weeks", m: "months" };
    return found ? `Last ${found[1]} ${units[/** @type {"h"} */ (found[2])]}` : `Last ${last[0]}`;
  }
  if (!from && !to) return store?.first ? `${day(store.first, zone)} \u2013 ${day(store.newest, zone)}` : "All times";
  const start = from ? spelled(from[0], zone) : "start";
  const end = to ? spelled(to[0], zone, true) : "now";
  return start === end ? start : `${start} \u2013 ${end}`;
}

/** A date of the address as it is shown. The end of a range is the last day inside. @param {string} text @param {string} zone @param {boolean} [end] */
function spelled(text, zone, end = false) {
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) {
    const date = new Date(`${text}T00:00:00Z`);
    if (end) date.setUTCDate(date.getUTCDate() - 1);
    return day(date.toISOString(), "UTC");
  }
  return moment(text, zone);
}
