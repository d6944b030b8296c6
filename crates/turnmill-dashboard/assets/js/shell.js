// The frame of every page: navigation, filter bar, title with freshness.

import { html, useEffect, useRef, useState } from "../vendor/vendor.js";
import { FILTERS, FUNNEL, MANY, changed, explore, href, pages, query } from "./address.js";
import { exists, read } from "./answer.js";
import { hasSession } from "./api.js";
import { rangeText, zoneOf } from "./card.js";
import { counted, moment, name, number } from "./format.js";
import { go } from "./go.js";
import { Icon, Mark } from "./icons.js";
import { CARDS } from "./pages.js";
import { bucketFor } from "./range.js";
import { useAnswer } from "./use.js";

/** @import { Address } from "./types.js" */

/** The theme is of this browser, not of the address. */
export function useTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [theme, setTheme] = useState(() => localStorage.getItem("turnmill-theme") ?? "");
  const [system, setSystem] = useState(dark.matches);
  useEffect(() => {
    const follow = () => setSystem(dark.matches);
    dark.addEventListener("change", follow);
    return () => dark.removeEventListener("change", follow);
  }, []);
  const shown = theme || (system ? "dark" : "light");
  document.documentElement.dataset.theme = shown;
  const toggle = () => {
    const next = shown === "dark" ? "light" : "dark";
    localStorage.setItem("turnmill-theme", next);
    setTheme(next);
  };
  return { theme: shown, toggle };
}

/** @param {{ address: Address, store: any, close: () => void }} props */
export function Navigation({ address, store, close }) {
  // A page of which no card can be answered is left out.
  const shown = pages().filter(([page]) => page === "conversations" || CARDS[page]?.some((card) => exists(card.metric)));
  return html`<nav class="side" aria-label="Pages">
    <div class="brand"><${Mark} />turnmill</div>
    <ul>${shown.map(([page, title]) => html`<li key=${page}><a href=${href({ page, filters: address.filters })} aria-current=${address.page === page ? "page" : undefined} onClick=${close}>
      <${Icon} name=${page} />${title}</a></li>`)}</ul>
    <div class="about">${store && html`<span class="name" title=${store.name}>${String(store.name).replace(/^sqlite:.*\//, "")}</span>${store.events !== undefined && html`<span> \u00b7 ${counted(store.events, "event")}</span>`}<br />read-only`}
      ${store && hasSession() && html`<form method="post" action="/logout"><button class="button bare">Log out</button></form>`}</div>
  </nav>`;
}

/**
 * A button that opens a panel below it.
 * @param {{ text: string, label?: string, kind?: string, children: any }} props
 */
function Menu({ text, label, kind = "", children }) {
  const [open, setOpen] = useState(false);
  const root = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (!open) return undefined;
    const outside = (/** @type {Event} */ event) => !root.current?.contains(/** @type {Node} */ (event.target)) && setOpen(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || !open) return;
    setOpen(false);
    root.current?.querySelector("button")?.focus();
  };
  return html`<div class=${`pop ${kind.includes("wide") ? "wide" : ""}`} ref=${root} onKeyDown=${keys}>
    <button type="button" class=${`button ${kind}`} aria-expanded=${open} aria-label=${label} onClick=${() => setOpen(!open)}><span>${text}</span></button>
    ${open && html`<div class="panel">${typeof children === "function" ? children(() => setOpen(false)) : children}</div>`}
  </div>`;
}

/** Values of a filter with how many sessions have them. @param {{ address: Address, filter: string }} props */
function Values({ address, filter }) {
  const [search, setSearch] = useState("");
  const asked = useAnswer(`values/${filter}`, "", (raw) => /** @type {{ value: string | null, count: number }[]} */ (raw.values));
  const chosen = address.filters[filter] ?? [];
  const toggle = (/** @type {string} */ value) => {
    const next = chosen.includes(value) ? chosen.filter((each) => each !== value) : [...chosen, value];
    go(href({ ...address, filters: changed(address.filters, { [filter]: next }) }));
  };
  if (asked.refused) return html`<p class="muted">${asked.refused.message}</p>`;
  if (!asked.answer) return html`<p class="muted" role="status">Asking the store \u2026</p>`;
  const shown = asked.answer.filter((each) => name(each.value).toLowerCase().includes(search.toLowerCase()));
  return html`<div>
    ${asked.answer.length > 8 && html`<div class="row"><input class="search" type="search" placeholder="Search" aria-label=${`Search ${filter}`} value=${search} onInput=${(/** @type {any} */ event) => setSearch(event.target.value)} /></div>`}
    ${shown.slice(0, 60).map((each) => html`<button key=${String(each.value)} type="button" class="choice" aria-pressed=${chosen.includes(each.value ?? "")} onClick=${() => toggle(each.value ?? "")}>
      <span class="name">${name(each.value)}</span><span class="count">${number(each.count, "count")}</span></button>`)}
    ${shown.length === 0 && html`<p class="muted">The store has none.</p>`}
    ${shown.length > 60 && html`<p class="muted">${shown.length - 60} more: search for them.</p>`}
    ${chosen.length > 0 && html`<button type="button" class="choice" onClick=${() => go(href({ ...address, filters: changed(address.filters, { [filter]: null }) }))}>All of them</button>`}
  </div>`;
}

const LENGTHS = /** @type {const} */ ([["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["28d", "Last 28 days"], ["12w", "Last 12 weeks"], ["12m", "Last 12 months"]]);
const BUCKETS = /** @type {const} */ ([["", "automatic"], ["5min", "5 minutes"], ["1h", "hour"], ["6h", "6 hours"], ["day", "day"], ["week", "week"], ["month", "month"]]);
const COMPARISONS = /** @type {const} */ ([["", "nothing"], ["prev", "previous period"], ["week", "a week before"], ["month", "a month before"], ["year", "a year before"]]);
/** @type {Record<string, string>} */
const LABELS = { assistant: "Assistant", channel: "Channel", model: "Model", env: "Environment", intent: "Intent", ending: "Ending", marker: "Marker", locale: "Locale", source: "Source" };

/** @param {{ address: Address, store: any }} props */
function Range({ address, store }) {
  const set = (/** @type {Record<string, string | null>} */ changes, /** @type {() => void} */ close) => {
    close();
    go(href({ ...address, filters: changed(address.filters, changes) }));
  };
  const submit = (/** @type {() => void} */ close) => (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
    const [from, until] = [form.get("from"), form.get("until")].map(String);
    const zone = String(form.get("tz") ?? "").trim();
    set({ from: from || null, to: until ? dayAfter(until) : null, last: null, tz: zone && zone !== "UTC" ? zone : null }, close);
  };
  const { from, to, tz } = address.filters;
  return html`<${Menu} text=${rangeText(address, store)} label=${`Range: ${rangeText(address, store)}`} kind="strong">${(/** @type {() => void} */ close) => html`<div>
    ${LENGTHS.map(([key, text]) => html`<button key=${key} type="button" class="choice" aria-pressed=${address.filters.last?.[0] === key} onClick=${() => set({ last: key, from: null, to: null }, close)}>${text}</button>`)}
    <button type="button" class="choice" aria-pressed=${!address.filters.last && !from && !to} onClick=${() => set({ last: null, from: null, to: null }, close)}>Everything</button>
    <form onSubmit=${submit(close)}><div class="row">
      <label class="field">From<input type="date" name="from" value=${from?.[0]?.slice(0, 10) ?? ""} /></label>
      <label class="field">To, with that day<input type="date" name="until" value=${to ? dayBefore(to[0]) : ""} /></label>
      <label class="field">Time zone<input name="tz" value=${tz?.[0] ?? "UTC"} placeholder="Europe/Berlin" /></label>
      <button class="button strong">Show</button></div></form>
    <p class="muted">The last days are those of the store's newest event.</p>
  </div>`}<//>`;
}

/** @param {string} text @param {number} days */
function moved(text, days) {
  const date = new Date(`${text.slice(0, 10)}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}
const dayAfter = (/** @type {string} */ text) => moved(text, 1);
const dayBefore = (/** @type {string} */ text) => moved(text, -1);

/** One of several choices. @param {{ address: Address, filter: string, text: string, choices: readonly (readonly [string, string])[], kind?: string }} props */
function Choice({ address, filter, text, choices, kind = "wide" }) {
  const chosen = address.filters[filter]?.[0] ?? "";
  return html`<${Menu} text=${text} kind=${kind}>${(/** @type {() => void} */ close) => choices.map(([key, words]) => html`<button key=${key} type="button" class="choice" aria-pressed=${chosen === key}
    onClick=${() => { close(); go(href({ ...address, filters: changed(address.filters, { [filter]: key || null }) })); }}>${words}</button>`)}<//>`;
}

/** @param {string[]} values */
function listed(values) {
  return values.length === 1 ? name(values[0], "not known") || "not known" : `${values.length} of them`;
}

/** @param {{ address: Address, store: any, theme: string, toggleTheme: () => void, openMenu: () => void, openKeys: () => void }} props */
export function FilterBar({ address, store, theme, toggleTheme, openMenu, openKeys }) {
  const [open, setOpen] = useState(false);
  const usual = [...(store?.assistants > 1 ? ["assistant"] : []), "channel", "model", "env"];
  const filters = [...usual, ...[...MANY].filter((filter) => !usual.includes(filter) && address.filters[filter])];
  const others = [...MANY].filter((filter) => !filters.includes(filter));
  const by = bucketFor(address);
  const against = COMPARISONS.find(([key]) => key === (address.filters.vs?.[0] ?? ""));
  return html`<div class=${`top${open ? " open" : ""}`} role="region" aria-label="Filters">
    <button class="icon menu" type="button" aria-label="Pages" onClick=${openMenu}><${Icon} name="menu" /></button>
    <${Range} address=${address} store=${store} />
    <button class="button narrow-only" type="button" aria-expanded=${open} onClick=${() => setOpen(!open)}>Filters</button>
    <${Choice} address=${address} filter="by" text=${`by ${BUCKETS.find(([key]) => key === by)?.[1] ?? by}`} choices=${BUCKETS} />
    <${Choice} address=${address} filter="vs" text=${against?.[0] ? `vs ${against[1]}` : "vs nothing"} choices=${COMPARISONS} kind=${against?.[0] ? "wide on" : "wide"} />
    ${filters.map((filter) => html`<${Menu} key=${filter} text=${`${LABELS[filter]}: ${address.filters[filter] ? listed(address.filters[filter]) : "all"}`} kind=${address.filters[filter] ? "wide on" : "wide"}><${Values} address=${address} filter=${filter} /><//>`)}
    <${Menu} text="+ Filter" kind="wide dashed">${others.map((filter) => html`<details key=${filter}><summary class="choice">${LABELS[filter]}</summary><${Values} address=${address} filter=${filter} /></details>`)}<//>
    ${Object.keys(address.filters).some((filter) => MANY.has(filter)) && html`<a class="button bare wide" href=${href({ ...address, filters: changed(address.filters, Object.fromEntries([...MANY].map((filter) => [filter, null]))) })}>Clear filters</a>`}
    <div class="end">
      <button class="icon narrow-hide" type="button" aria-label="Keyboard" title="Keyboard (?)" onClick=${openKeys}><${Icon} name="keys" /></button>
      <button class="icon" type="button" aria-label=${theme === "dark" ? "Light theme" : "Dark theme"} title=${theme === "dark" ? "Light theme" : "Dark theme"} onClick=${toggleTheme}><${Icon} name=${theme === "dark" ? "sun" : "moon"} /></button>
    </div>
  </div>`;
}

/** How fresh the data are, and whether anything is missing in them. @param {{ store: any, zone: string, live: import("./live.js").Live }} props */
export function Freshness({ store, zone, live }) {
  if (!store?.newest) return null;
  const parts = [`Data until ${moment(store.newest, zone)}${zone === "UTC" ? " UTC" : ""}`];
  if (store.late !== undefined) parts.push(store.late ? `${number(store.late, "count")} late` : "nothing late");
  if (store.dead_letters !== undefined) parts.push(store.dead_letters ? `${number(store.dead_letters, "count")} refused` : "nothing refused");
  if (store.lag_seconds !== undefined && store.lag_seconds !== null) parts.push(`lag ${number(store.lag_seconds, "seconds")}`);
  return html`<p class=${`fresh${store.is_old || live.away ? " old" : ""}`}>${parts.join(" \u00b7 ")}
    ${store.is_live && html`<button class="button bare" type="button" aria-pressed=${live.on} title="Shows new events as they are stored" onClick=${live.toggle}>${live.on ? "Live" : "Paused"}</button>`}
    <span role="status">${live.away}</span></p>`;
}

/** @param {{ title: string, address: Address, store: any, live: import("./live.js").Live }} props */
export function Title({ title, address, store, live }) {
  useEffect(() => {
    document.title = `${title} \u00b7 turnmill`;
  }, [title]);
  return html`<div>
    <div class="title"><h1 tabIndex="-1">${title}</h1><${Freshness} store=${store} zone=${zoneOf(address)} live=${live} /></div>
    ${store?.is_demo && html`<p class="notice demo"><b>Demo.</b> Conversations with an invented assistant for parcels, which a real Rasa server wrote; their times are spread over eight weeks.</p>`}
    ${address.unknown.length > 0 && html`<p class="notice">The address has parts that this version does not know, and that change nothing: ${address.unknown.join(", ")}</p>`}
    <${LeftOut} address=${address} />
  </div>`;
}

/** What the numbers of the page leave out. @param {{ address: Address }} props */
function LeftOut({ address }) {
  const { answer } = useAnswer(exists("X56_left_out") ? "metrics/X56_left_out" : null, query(address.filters, FILTERS.filter((name) => name !== "by" && name !== "vs" && !FUNNEL.includes(name))), read);
  /** @type {[string, number][]} */
  const rows = Object.entries(answer?.values ?? {}).map(([what, figure]) => /** @type {[string, number]} */ ([what, figure.value ?? 0])).filter(([, count]) => count > 0);
  if (!rows.length) return null;
  const link = (/** @type {string} */ what) => explore(address, what === "unused" || what === "open" ? { ending: [what] } : {});
  return html`<p class="left-out">Not in the ways to end: ${rows.map(([what, count], at) => html`<span key=${what}>${at > 0 ? ", " : ""}<a href=${link(what)}>${number(count, "count")} ${what.replaceAll("_", " ")}</a></span>`)}</p>`;
}

/** The list of keys. @param {{ close: () => void }} props */
export function Keys({ close }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => dialog.current?.showModal(), []);
  const keys = [["?", "this list"], ["\u2190 \u2192", "in a chart: read the values"], ["Home End", "in a chart: first and last"], ["Enter", "in a chart: the conversations of that bucket"],
    ["Esc", "leave a chart or close a menu"], ["j k", "in a conversation: next and previous turn"], ["[ ]", "in a conversation: previous and next conversation"]];
  return html`<dialog ref=${dialog} onClose=${close} aria-label="Keyboard"><h2>Keyboard</h2><dl>${keys.map(([key, words]) => html`<dt><kbd>${key}</kbd></dt><dd>${words}</dd>`)}</dl>
    <form method="dialog"><button class="button strong">Close</button></form></dialog>`;
}
