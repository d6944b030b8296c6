// Numbers, times and names as they are shown. Everything is English and independent of the
// browser's language, so that two people see the same page.

/** @import { Cell, Figure, Unit } from "./types.js" */

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const MINUS = "\u2212";
const SPACE = "\u202f";

/** @param {number} value @param {number} digits */
function fixed(value, digits) {
  const text = new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  return text.replace("-", MINUS);
}

/** Spells a duration in seconds: 8.7 ms, 320 ms, 1.05 s, 2 min 32 s. @param {number} seconds @returns {string} */
export function duration(seconds) {
  const size = Math.abs(seconds);
  if (seconds < 0) return MINUS + duration(size);
  if (size === 0) return "0 s";
  if (size < 0.0995) return `${fixed(size * 1000, size < 0.00995 ? 1 : 0)} ms`;
  if (size < 0.9995) return `${fixed(size * 1000, 0)} ms`;
  if (size < 9.995) return `${fixed(size, 2)} s`;
  if (size < 59.5) return `${fixed(size, 0)} s`;
  const total = Math.round(size);
  if (total < 3600) return pair(Math.floor(total / 60), "min", total % 60, "s");
  const minutes = Math.round(size / 60);
  if (minutes < 1440) return pair(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(size / 3600);
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

/** @param {number} a @param {string} first @param {number} b @param {string} second */
function pair(a, first, b, second) {
  return b === 0 ? `${a} ${first}` : `${a} ${first} ${b} ${second}`;
}

/** Spells a number in its unit. @param {Cell | undefined} value @param {Unit} unit */
export function number(value, unit) {
  if (value === null || value === undefined) return "none";
  if (typeof value !== "number") return String(value);
  switch (unit) {
    case "count": return Number.isInteger(value) ? whole.format(value).replace("-", MINUS) : fixed(value, 1);
    case "percent": return `${fixed(value, 1)}${SPACE}%`;
    case "points": return `${value > 0 ? "+" : ""}${fixed(value, 1)}${SPACE}pp`;
    case "seconds": return duration(value);
    case "milliseconds": return duration(value / 1000);
    case "ratio": return fixed(value, 2);
    case "fraction": return fixed(value, 2);
    default: return Number.isInteger(value) ? whole.format(value) : fixed(value, 2);
  }
}

/** Spells a share without digits that nobody reads: 40 %. @param {number | null | undefined} percent */
export function share(percent) {
  if (percent === null || percent === undefined) return "";
  if (percent > 0 && percent < 0.5) return `<1${SPACE}%`;
  return `${Math.round(percent)}${SPACE}%`;
}

/** Spells a number short, for axes: 1.2k. @param {number} value */
export function short(value) {
  if (Math.abs(value) >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (Math.abs(value) >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return number(value, Number.isInteger(value) ? "count" : "ratio");
}

/**
 * How a number moved: direction, words and whether that is good.
 * Counts and times change by percent, shares by points. Below 2 %, or 0.05 points, nothing moved.
 * @param {Figure | undefined} now
 * @param {Figure | undefined} before
 * @param {Unit} unit
 * @param {"up" | "down" | undefined} better
 */
export function change(now, before, unit, better) {
  const a = now?.value, b = before?.value;
  if (a == null || b == null) return null;
  const points = unit === "percent";
  if (!points && b === 0) return null;
  const size = points ? a - b : (100 * (a - b)) / Math.abs(b);
  const moved = Math.abs(size) >= (points ? 0.05 : 2);
  const up = size > 0;
  const text = points ? `${fixed(Math.abs(size), 1)}${SPACE}pp` : `${fixed(Math.abs(size), Math.abs(size) < 10 ? 1 : 0)}${SPACE}%`;
  const tone = !moved || !better ? "" : (better === "up") === up ? "good" : "bad";
  return { arrow: moved ? (up ? "\u25b2" : "\u25bc") : "\u2022", words: moved ? (up ? "up" : "down") : "about the same,", text, tone };
}

/** The name of a group. NULL is one. @param {Cell | undefined} value @param {string} [none] */
export function name(value, none = "not known") {
  if (value === null || value === undefined) return none;
  return value === "" ? "(empty)" : String(value);
}

/** Reads a time of the API, which is UTC: `2026-11-22 01:46:23.268698`. @param {string} instant */
export function timeOf(instant) {
  return new Date(/^\d{4}-\d{2}-\d{2} [\d:.]+$/.test(instant) ? `${instant.replace(" ", "T")}Z` : instant);
}

/** @param {string} instant @param {string} zone @param {Intl.DateTimeFormatOptions} options */
function spelled(instant, zone, options) {
  const date = timeOf(instant);
  if (Number.isNaN(date.getTime())) return instant;
  try {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone, hourCycle: "h23" }).format(date);
  } catch {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC", hourCycle: "h23" }).format(date);
  }
}

/** 29 Nov, 16:38. @param {string} instant @param {string} zone */
export function moment(instant, zone) {
  return spelled(instant, zone, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

/** Monday 16 November, 09:16. @param {string} instant @param {string} zone */
export function longMoment(instant, zone) {
  return spelled(instant, zone, { weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" }).replace(" at ", ", ");
}

/** 09:16:05. @param {string} instant @param {string} zone */
export function clock(instant, zone) {
  return spelled(instant, zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

/** 2 Nov 2026. @param {string} instant @param {string} zone */
export function day(instant, zone) {
  return spelled(instant, zone, { day: "numeric", month: "short", year: "numeric" });
}

/** The name of a bucket, as long as its width needs. @param {string} instant @param {string} bucket @param {string} zone */
export function bucketName(instant, bucket, zone) {
  if (bucket === "month") return spelled(instant, zone, { month: "short", year: "numeric" });
  if (bucket === "day" || bucket === "week") return spelled(instant, zone, { weekday: bucket === "day" ? "short" : undefined, day: "numeric", month: "short" });
  return spelled(instant, zone, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

/** The same for an axis. @param {string} instant @param {string} bucket @param {string} zone */
export function tickName(instant, bucket, zone) {
  if (bucket === "month") return spelled(instant, zone, { month: "short" });
  if (bucket === "day" || bucket === "week") return spelled(instant, zone, { day: "numeric", month: "short" });
  return spelled(instant, zone, { hour: "2-digit", minute: "2-digit" });
}

/** One thing or many. @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${number(count, "count")} ${count === 1 ? one : many}`;
}
