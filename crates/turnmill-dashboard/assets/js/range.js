// The range of an address, and the bucket that suits its length.

import { setLists } from "./address.js";
import { timeOf } from "./format.js";

/** @import { Address } from "./types.js" */

const DAY = 86_400_000;
/** Length of a unit of `last` in days. @type {Record<string, number>} */
const UNITS = { h: 1 / 24, d: 1, w: 7, m: 30 };

/** First and newest event of the store. @type {{ first: number, newest: number } | null} */
let extent = null;

/** Takes the times of the store, and what it can list. @param {any} store */
export function setStore(store) {
  extent = store.first ? { first: timeOf(store.first).getTime(), newest: timeOf(store.newest).getTime() } : null;
  setLists(store);
  return store;
}

/** The length of the range in days. @param {Address} address */
function days(address) {
  const { from, to, last } = address.filters;
  const found = last?.[0]?.match(/^(\d+)([hdwm])$/);
  if (found) return Number(found[1]) * UNITS[found[2]];
  const start = from ? timeOf(from[0]).getTime() : (extent?.first ?? 0);
  const end = to ? timeOf(to[0]).getTime() : (extent?.newest ?? 0);
  return (end - start) / DAY;
}

/** The bucket of an address: its own, or one that gives some tens of columns. @param {Address} address */
export function bucketFor(address) {
  const own = address.filters.by?.[0];
  if (own) return own;
  const length = days(address);
  if (length <= 0.25) return "5min";
  if (length <= 3) return "1h";
  if (length <= 100) return "day";
  return length <= 800 ? "week" : "month";
}
