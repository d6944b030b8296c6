// Colours of series. A name keeps its colour on all pages: channels by their rank in the whole
// store, endings by meaning. There are five; the rest is "other".

/** Class suffixes of endings. @type {Record<string, string>} */
const ENDINGS = { finished: "3", abandoned: "2", escalated: "4", open: "1", unused: "other" };

/** Ranks by filter, then name. @type {Map<string, Map<string, string>>} */
const ranked = new Map();

/** Remembers the order of a filter's values in the whole store. @param {string} filter @param {(string | null)[]} names */
export function rank(filter, names) {
  ranked.set(filter, new Map(names.slice(0, 5).map((name, at) => [String(name), String(at + 1)])));
}

/**
 * Returns the colour of a series: a class suffix, `1` to `5` or `other`.
 * @param {string | undefined} filter What the series are, for example `channel`.
 * @param {string | null} name
 * @param {number} at Its place in the chart, for series that have no rank.
 */
export function colour(filter, name, at) {
  if (filter === "ending") return ENDINGS[String(name)] ?? "other";
  const ranks = filter ? ranked.get(filter) : undefined;
  if (ranks) return ranks.get(String(name)) ?? "other";
  if (name === null || name === "Other") return "other";
  return at < 5 ? String(at + 1) : "other";
}
