// Spelling of CSV files.

/** @import { Cell } from "./types.js" */

/**
 * Spells a cell of CSV. A text that a spreadsheet would run as a formula gets an apostrophe.
 * @param {Cell} cell
 */
export function csvCell(cell) {
  if (cell === null || cell === undefined) return "";
  if (typeof cell !== "string") return String(cell);
  const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]|^'/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
