// Every answer as tables: the table form of a card, and what its CSV file holds.

import { unitOf } from "./answer.js";
import { bucketName, name, number } from "./format.js";

/** @import { Answer, Cell, Unit } from "./types.js" */

/**
 * `units` are those of the values of each row, where they differ from row to row.
 * @typedef {{ title: string, columns: { name: string, unit: Unit }[], rows: Cell[][], units?: Unit[] }} Sheet
 */

/**
 * Returns the tables of an answer: its numbers, its lists, and its values over time.
 * @param {Answer} answer
 * @returns {Sheet[]}
 */
export function tables(answer) {
  /** @type {Sheet[]} */
  const all = [];
  const values = Object.entries(answer.values);
  if (values.length > 0) {
    const has = (/** @type {"n" | "d" | "was"} */ key) => values.some(([, figure]) => figure[key] !== undefined);
    const columns = [["n", "n"], ["d", "of"], ["was", "was"]].filter(([key]) => has(/** @type {"n"} */ (key)));
    /** @param {import("./types.js").Figure} figure @param {string} key */
    const cell = (figure, key) => (key === "was" ? (figure.was?.value ?? null) : (figure[/** @type {"n" | "d"} */ (key)] ?? null));
    all.push({
      title: "Numbers",
      columns: [{ name: "number", unit: "text" }, { name: "value", unit: "ratio" }, ...columns.map(([key, text]) => ({ name: text, unit: /** @type {Unit} */ (key === "was" ? "ratio" : "count") }))],
      units: values.map(([label]) => answer.units[label] ?? answer.unit),
      rows: values.map(([label, figure]) => [label, figure.value, ...columns.map(([key]) => cell(figure, key))]),
    });
  }
  for (const list of answer.tables) {
    if (list.columns.length > 0) all.push({ title: list.name ? list.name.replaceAll("_", " ") : "List", columns: list.columns.map((column, at) => ({ name: column, unit: unitOf(list, at) })), rows: list.rows });
  }
  if (answer.series) {
    const { bounds, lines, unit } = answer.series;
    const title = (/** @type {import("./types.js").Line} */ line) => (line.group === undefined ? line.name : `${line.name}: ${name(line.group)}`);
    const columns = lines.map((line) => ({ name: title(line), unit: line.group === undefined ? (answer.units[line.name] ?? unit) : /** @type {Unit} */ ("count") }));
    const rows = bounds.slice(0, -1).map((bound, at) => [bound, ...lines.map((line) => line.values[at] ?? null)]);
    all.push({ title: "Over time", columns: [{ name: "from", unit: "time" }, ...columns], rows });
  }
  return all;
}

/**
 * Spells a cell of a table.
 * @param {Cell} cell
 * @param {Unit} unit
 * @param {string} zone
 * @param {string} [bucket]
 */
export function cell(cell, unit, zone, bucket) {
  if (cell === null) return unit === "text" || unit === "time" ? name(cell) : "none";
  if (unit === "time") return bucketName(String(cell), bucket ?? "1h", zone);
  if (typeof cell === "boolean") return cell ? "yes" : "no";
  return number(cell, unit);
}
