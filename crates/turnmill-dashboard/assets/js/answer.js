// Reads what the API gives into the shapes that charts know.

/** @import { Answer, Cell, Figure, Line, Series, Table, Unit } from "./types.js" */

/** @type {Record<string, Unit>} */
const UNITS = { count: "count", "%": "percent", "0-1": "fraction", s: "seconds", ms: "milliseconds", ratio: "ratio", pp: "points", rows: "rows" };

/** Descriptions of the metrics by id. @type {Map<string, any>} */
const descriptions = new Map();

/** Takes the descriptions of all metrics. @param {any} raw */
export function describe(raw) {
  for (const metric of raw.metrics) descriptions.set(metric.id, metric);
  return raw;
}

/** Whether the store's metrics have one of this id. @param {string} id */
export function exists(id) {
  return descriptions.has(id);
}

/** @param {any} raw @returns {Answer} */
export function read(raw) {
  const about = descriptions.get(raw.id);
  const main = raw.columns ? [{ name: "", columns: raw.columns, rows: raw.rows }] : [];
  const unit = UNITS[raw.unit] ?? "count";
  return {
    id: raw.id,
    title: raw.title,
    definition: about?.definition ?? "",
    unit,
    values: raw.values ?? {},
    units: Object.fromEntries((about?.figures ?? []).map((/** @type {any} */ figure) => [figure.name, UNITS[figure.unit] ?? unit])),
    tables: [...main, ...(raw.tables ?? [])],
    series: series(raw, unit),
    filters: raw.filters ?? {},
    compared: raw.compared ?? null,
    as_of: raw.as_of ?? null,
    sql: raw.sql ?? [],
    raw,
  };
}

/** @param {any} raw @param {Unit} unit @returns {Series | null} */
function series(raw, unit) {
  const first = raw.series?.[0]?.points;
  if (!first?.length) return null;
  const bounds = [...first.map((/** @type {any} */ point) => point.from), first.at(-1).to];
  const lines = raw.series.map((/** @type {any} */ line) => ({
    name: line.name,
    ...("group" in line ? { group: line.group } : {}),
    values: line.points.map((/** @type {Figure} */ point) => point.value),
    small: line.points.map((/** @type {Figure} */ point) => point.small ?? false),
  }));
  return { bucket: raw.filters?.by ?? "day", bounds, unit, lines };
}

/** The lines of the answer's numbers, or those of its split. @param {Answer} answer @param {boolean} split @returns {Line[]} */
export function lines(answer, split) {
  return (answer.series?.lines ?? []).filter((line) => (line.group !== undefined) === split);
}

/** The list of this name, or the main one, which has no name in an answer. @param {Answer} answer @param {string} [name] @returns {Table | undefined} */
export function table(answer, name) {
  return answer.tables.find((each) => each.name === name) ?? answer.tables[0];
}

/** A cell by the name of its column. @param {Table} list @param {Cell[]} row @param {string} column */
export function at(list, row, column) {
  const found = list.columns.indexOf(column);
  return found < 0 ? null : (row[found] ?? null);
}

/** @param {Cell} cell */
export function numeric(cell) {
  return typeof cell === "number" ? cell : 0;
}

/** The unit of a column, by its name and its values. @param {Table} list @param {number} column @returns {Unit} */
export function unitOf(list, column) {
  const name = list.columns[column];
  const some = list.rows.map((row) => row[column]).find((cell) => cell !== null && cell !== undefined);
  if (typeof some === "string") return /^\d{4}-\d{2}-\d{2} [\d:.]+$/.test(some) ? "time" : "text";
  if (/share|rate|percent|^%/.test(name) || /^(escalation|abandonment|was|now)$/.test(name)) return "percent";
  if (/_(change|low|high)$|^(difference|change|escalated|abandoned|finished)$/.test(name) && typeof some === "number" && !Number.isInteger(some)) return "points";
  if (/confidence|margin|fraction|distance/.test(name)) return "fraction";
  if (/_ms$/.test(name)) return "milliseconds";
  if (/seconds|duration|^p\d\d$|^mean$/.test(name)) return "seconds";
  return typeof some === "number" && !Number.isInteger(some) ? "ratio" : "count";
}
