// Heat maps. Each is a table, so that every count can be read without seeing its colour.

import { html, max } from "../../vendor/vendor.js";
import { number } from "../format.js";

/**
 * @param {object} props
 * @param {string[]} props.rows Names of the rows.
 * @param {string[]} props.columns Names of the columns.
 * @param {number[][]} props.counts By row, then column.
 * @param {number} [props.every] Every how many columns one is named.
 * @param {string} props.unit What is counted, for example "sessions".
 * @param {boolean} [props.wide] Whether names of rows are long.
 * @param {(row: number, column: number) => string} props.link
 */
export function Heat({ rows, columns, counts, every = 1, unit, wide = false, link }) {
  const most = max(counts.flat()) || 0;
  // Zero is the first step; each of the other six has the same width.
  const step = (/** @type {number} */ count) => (count <= 0 || most === 0 ? 0 : Math.min(6, Math.max(1, Math.ceil((6 * count) / most))));
  return html`<div>
    <table class=${`heat${wide ? " wide" : ""}`}>
      <thead><tr><th class="corner"><span class="read">${unit}</span></th>${columns.map((column, at) => html`<th scope="col">${at % every === 0 ? column : html`<span class="read">${column}</span>`}</th>`)}</tr></thead>
      <tbody>${rows.map((row, at) => html`<tr key=${row}><th scope="row" title=${row}>${row}</th>
        ${columns.map((column, other) => html`<td class=${`heat-${step(counts[at][other])}`} title=${`${row} ${column}: ${number(counts[at][other], "count")} ${unit}`}>
          <a href=${link(at, other)} tabIndex=${counts[at][other] > 0 ? 0 : -1}>${number(counts[at][other], "count")}</a></td>`)}</tr>`)}</tbody>
    </table>
    <div class="scale" aria-hidden="true"><span>0</span>${[0, 1, 2, 3, 4, 5, 6].map((at) => html`<i class=${`heat-${at}`}></i>`)}<span>${number(most, "count")} ${unit}</span></div>
  </div>`;
}
