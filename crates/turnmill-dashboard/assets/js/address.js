// The address: which page, and every filter that changes a number. It is the only state there is
// of what is shown, so reload, back and a copy to another browser give the same numbers.

/** @import { Address } from "./types.js" */

/** Version of the spelling. An address without one is of this version. */
const VERSION = "1";

/** Names in the order in which they are written. */
export const FILTERS = [
  "from", "to", "last", "tz", "by", "vs", "as_of", "assistant", "channel", "model", "env", "intent", "ending",
  "marker", "locale", "source", "tests", "step", "across", "window",
];

/** What only funnels have: steps in their order, and in what they follow each other. */
export const FUNNEL = ["step", "across", "window"];

/** Names that only the list of conversations has. */
export const LIST_FILTERS = [
  "during", "text", "sender", "slot", "value", "min_turns", "max_turns", "slower", "fallback", "missed_text",
  "weekday", "hour", "order", "offset",
];

/** Filters of which an address may have several values. */
export const MANY = new Set([
  "assistant", "channel", "model", "env", "intent", "ending", "marker", "locale", "source",
]);

/** Pages in the order of the navigation: path, title. */
export const PAGES = /** @type {const} */ ([
  ["overview", "Overview"],
  ["conversations", "Conversations"],
  ["intents", "Intents"],
  ["paths", "Paths & funnels"],
  ["response-time", "Response time"],
  ["missed", "Missed messages"],
  ["forms", "Forms & slots"],
  ["ends", "Ends"],
  ["users", "Users"],
  ["markers", "Markers"],
  ["releases", "Releases"],
  ["policies", "Policies & responses"],
  ["quality", "Data quality"],
]);

const KNOWN = new Set([...FILTERS, ...LIST_FILTERS]);

/**
 * Takes an address apart. Unknown names are kept out of every question, and listed.
 * @param {string} path
 * @param {string} query
 * @param {string} hash
 * @returns {Address}
 */
export function parse(path, query, hash) {
  const [page, session] = path.split("/").filter(Boolean).map(decoded);
  /** @type {Record<string, string[]>} */
  const filters = {};
  const unknown = new Set();
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "v") {
      if (value !== VERSION) unknown.add(`v=${value}`);
    } else if (!KNOWN.has(name)) unknown.add(name);
    else if (MANY.has(name) || name === "step") {
      const values = (filters[name] ??= []);
      if (!values.includes(value)) values.push(value);
    } else filters[name] = [value];
  }
  for (const name of MANY) filters[name]?.sort();
  return {
    page: page || "overview",
    session: session ?? "",
    event: decoded(hash.replace(/^#/, "")),
    filters,
    unknown: [...unknown],
  };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Spells filters in their canonical order.
 * @param {Record<string, string[]>} filters
 * @param {readonly string[]} [names]
 */
export function query(filters, names = [...FILTERS, ...LIST_FILTERS]) {
  const pairs = new URLSearchParams();
  for (const name of names) for (const value of filters[name] ?? []) pairs.append(name, value);
  return pairs.toString();
}

/**
 * Spells an address.
 * @param {Pick<Address, "page" | "filters"> & Partial<Address>} address
 */
export function href(address) {
  const session = address.session ? `/${encodeURIComponent(address.session)}` : "";
  const hash = address.event ? `#${encodeURIComponent(address.event)}` : "";
  const names = address.page === "conversations" ? [...FILTERS, ...LIST_FILTERS] : FILTERS;
  const rest = query(address.filters, names);
  return `/${address.page}${session}?v=${VERSION}${rest ? `&${rest}` : ""}${hash}`;
}

/**
 * Returns filters with some of them changed. An empty list or `null` removes one.
 * @param {Record<string, string[]>} filters
 * @param {Record<string, string | string[] | null | undefined>} changes
 */
export function changed(filters, changes) {
  const next = { ...filters };
  for (const [name, value] of Object.entries(changes)) {
    if (value == null || (Array.isArray(value) && value.length === 0)) delete next[name];
    else next[name] = !Array.isArray(value) ? [value] : name === "step" ? value : [...value].sort();
  }
  return next;
}

/** Whether the store's conversations can be listed. */
let hasConversations = true;

/** Takes what the store can answer. @param {any} store */
export function setLists(store) {
  hasConversations = store.has_conversations !== false;
}

/**
 * Returns the address of what a mark counts: the conversations with the filters of its page, and
 * its own. If conversations cannot be listed, it is the same page with that filter.
 * @param {Address} address
 * @param {Record<string, string | string[] | null | undefined>} own
 */
export function explore(address, own) {
  const filters = Object.fromEntries(Object.entries(address.filters).filter(([name]) => !LIST_FILTERS.includes(name)));
  const page = hasConversations ? "conversations" : address.page;
  return href({ page, filters: changed(filters, own) });
}

/** The pages of the navigation. */
export function pages() {
  return PAGES.filter(([page]) => hasConversations || page !== "conversations");
}
