// Categories: bars in the cells of a table, the ways to end, histograms, funnels and lists of texts.

import { html, max, scaleBand, scaleLinear } from "../../vendor/vendor.js";
import { at, numeric, unitOf } from "../answer.js";
import { colour } from "../colours.js";
import { change, duration, name, number, share, short } from "../format.js";
import { Bar, useWidth } from "./parts.js";

/** @import { Cell, Table, Unit } from "../types.js" */

/**
 * A table with a bar in each row.
 * @param {object} props
 * @param {Table} props.list
 * @param {Table} [props.previous] The same list of the period compared with.
 * @param {string} props.label Column with the names.
 * @param {string} props.value Column that the bars show.
 * @param {string} [props.part] Column with the share in percent.
 * @param {number} [props.of] What a share is of, if the list has none.
 * @param {{ column: string, title: string, unit: Unit }[]} [props.more] Further columns.
 * @param {string} [props.head] Title of the first column.
 * @param {string} [props.unit] Title of the value's column.
 * @param {string} [props.filter]
 * @param {string[]} [props.missed] Names that mean "not understood".
 * @param {number} [props.limit]
 * @param {boolean} [props.heads]
 * @param {(name: string | null) => string} props.link
 */
export function BarTable({ list, previous, label, value, part, of, more = [], head = "", unit = "", filter, missed = [], limit = 10, heads = true, link }) {
  const rows = list.rows.slice(0, limit);
  const most = max(rows.map((row) => numeric(at(list, row, value)))) || 1;
  const kind = unitOf(list, list.columns.indexOf(value));
  const shared = part || of;
  // A period without rows has no shares to compare with.
  const compared = part && previous?.rows.length ? previous : undefined;
  /** @param {Cell[]} row */
  const partOf = (row) => (part ? numeric(at(list, row, part)) : of ? (100 * numeric(at(list, row, value))) / of : null);
  /** @param {Cell[]} row */
  const moved = (row) => {
    if (!compared || !part) return null;
    const same = compared.rows.find((other) => at(compared, other, label) === at(list, row, label));
    return change({ value: partOf(row) }, { value: same ? numeric(at(compared, same, part)) : 0 }, "percent", undefined);
  };
  return html`<table class="bars">
    <thead class=${heads ? "" : "read"}><tr><th>${head}</th><th><span class="read">bar</span></th><th class="num">${unit}</th>${shared && html`<th class="num">Share</th>`}
      ${more.map((column) => html`<th class="num">${column.title}</th>`)}${compared && html`<th class="num">Change</th>`}</tr></thead>
    <tbody>${rows.map((row, index) => {
      const own = at(list, row, label);
      const text = own === null ? null : String(own);
      const size = numeric(at(list, row, value));
      const move = moved(row);
      const suffix = missed.includes(String(text)) ? "4" : filter === "channel" ? colour(filter, text, index) : "1";
      return html`<tr key=${String(text)}>
        <td><a class="name" title=${name(text)} href=${link(text)}>${name(text)}</a></td>
        <td class="bar"><${Bar} share=${size / most} colour=${suffix} /></td>
        <td class="num" data-name=${String(text)} data-value=${size}>${number(size, kind)}</td>
        ${shared && html`<td class="num muted">${share(partOf(row))}</td>`}
        ${more.map((column) => html`<td class="num muted">${number(at(list, row, column.column), column.unit)}</td>`)}
        ${compared && html`<td class="num muted">${move && html`<span aria-hidden="true">${move.arrow}</span> <span class="read">${move.words} </span>${move.text}`}</td>`}
      </tr>`;
    })}</tbody>
  </table>`;
}

/**
 * The three ways to end as one bar of three parts, with their numbers.
 * @param {{ parts: { key: string, text: string, value: number, of: number }[], link: (ending: string) => string }} props
 */
export function Outcomes({ parts, link }) {
  const sum = parts.reduce((total, each) => total + each.value, 0) || 1;
  return html`<div>
    <div class="parts" aria-hidden="true">${parts.map((each) => html`<a key=${each.key} tabIndex="-1" href=${link(each.key)} class=${`fill-${colour("ending", each.key, 0)}`} style=${{ flexGrow: each.value / sum }}></a>`)}</div>
    <dl class="outcomes">${parts.map((each) => html`<div key=${each.key}>
      <dt><i class=${`fill-${colour("ending", each.key, 0)}`}></i>${each.text}</dt>
      <dd><a href=${link(each.key)} data-name=${each.key}>${number(each.value, "count")}</a> <small>${share(each.of ? (100 * each.value) / each.of : null)}</small></dd>
    </div>`)}</dl>
  </div>`;
}

/**
 * Counts by size. `low` is the lower bound of each bin, null for the one below the first.
 * @param {{ bins: { low: Cell, count: number }[], unit: Unit, label: string, discrete?: boolean, height?: number }} props
 */
export function Histogram({ bins, unit, label, discrete = false, height = 210 }) {
  const [frame, width] = useWidth(480);
  const space = { top: 14, right: 4, bottom: 24, left: 42 };
  const inner = { width: Math.max(40, width - space.left - space.right), height: height - space.top - space.bottom };
  const indexes = bins.map((_, index) => index);
  const x = scaleBand(indexes, [0, inner.width]).paddingInner(0.12);
  const y = scaleLinear([0, max(bins.map((bin) => bin.count)) || 1], [inner.height, 0]).nice(4);
  /** @param {Cell} low */
  const text = (low) => (low === null ? "less" : unit === "seconds" ? duration(Number(low)) : unit === "fraction" ? number(low, "fraction") : short(Number(low)));
  const every = Math.max(1, Math.ceil(bins.length / Math.max(2, Math.floor(inner.width / 58))));
  return html`<div class="chart" ref=${frame}>
    <svg class="plot" width=${width} height=${height} role="img" aria-label=${`${label}: ${bins.map((bin) => `${text(bin.low)} ${bin.count}`).join(", ")}`}>
      <g transform=${`translate(${space.left} ${space.top})`}>
        ${y.ticks(4).filter(Number.isInteger).map((tick) => html`<g transform=${`translate(0 ${y(tick)})`}><line class="grid-line" x2=${inner.width} /><text x="-8" dy="0.32em" text-anchor="end">${short(tick)}</text></g>`)}
        ${bins.map((bin, index) => html`<g><title>${`${text(bin.low)}: ${bin.count}`}</title><rect class="fill-1" data-count=${bin.count} x=${x(index)} width=${x.bandwidth()} y=${y(bin.count)} height=${inner.height - y(bin.count)} rx="2" /></g>`)}
        <line class="axis-line" y1=${inner.height} y2=${inner.height} x2=${inner.width} />
        ${bins.map((bin, index) => index % every === 0 && html`<text x=${(x(index) ?? 0) + (discrete ? x.bandwidth() / 2 : 0)} text-anchor=${discrete ? "middle" : "start"} y=${inner.height + 16}>${text(bin.low)}</text>`)}
      </g>
    </svg>
  </div>`;
}

/**
 * Steps of which each one has fewer than the one before.
 * @param {{ steps: { name: string, count: number, seconds: Cell }[] }} props
 */
export function Funnel({ steps }) {
  const first = steps[0]?.count || 1;
  return html`<ol class="steps">${steps.map((step, index) => {
    const next = steps[index + 1];
    return html`<li key=${index}>
      <div class="head"><span class="name">${step.name}</span><span>${number(step.count, "count")}</span><span class="muted">${share((100 * step.count) / first)}</span></div>
      <${Bar} share=${step.count / first} ground=${true} />
      ${next && html`<div class="below">${number(step.count - next.count, "count")} left here \u00b7 ${share(step.count ? (100 * next.count) / step.count : null)} went on${typeof next.seconds === "number" ? `, half of them within ${duration(next.seconds)}` : ""}</div>`}
    </li>`;
  })}</ol>`;
}

/**
 * Texts of users with their counts. They are hostile, and shown as text.
 * @param {{ rows: { text: string, count: number }[], link: (text: string) => string }} props
 */
export function Texts({ rows, link }) {
  return html`<table class="lined"><tbody>${rows.map((row) => html`<tr key=${row.text}>
    <td><a class="foreign" href=${link(row.text)}>${row.text === "" ? "(empty)" : `\u201c${row.text.length > 160 ? `${row.text.slice(0, 160)}\u2026` : row.text}\u201d`}</a></td>
    <td class="num">${number(row.count, "count")}</td></tr>`)}</tbody></table>`;
}

/**
 * Shares that changed, with their intervals.
 * @param {{ rows: { what: string, of: string, was: number | null, now: number | null, low: number | null, high: number | null, marked: boolean, better?: "up" | "down", link: string }[] }} props
 */
export function Changes({ rows }) {
  const reach = Math.max(1, ...rows.flatMap((row) => [Math.abs(row.low ?? 0), Math.abs(row.high ?? 0)]));
  const x = scaleLinear([-reach, reach], [2, 88]);
  return html`<table class="lined"><thead><tr><th>Share</th><th class="num">Was</th><th class="num">Now</th><th class="num">Change</th><th class="narrow-hide"><span class="read">interval</span></th></tr></thead>
    <tbody>${rows.map((row) => {
      const size = row.now !== null && row.was !== null ? row.now - row.was : null;
      const tone = row.marked && row.better && size ? ((row.better === "up") === size > 0 ? "good" : "bad") : "";
      return html`<tr key=${row.what + row.of}>
        <td><a class="name inline" href=${row.link}>${row.what}</a> <span class="muted">of ${row.of}</span></td>
        <td class="num muted">${number(row.was, "percent")}</td><td class="num">${number(row.now, "percent")}</td>
        <td class=${`num ${tone}`}>${row.marked ? html`<b>${number(size, "points")}</b>` : number(size, "points")}<span class="read">${row.marked ? ", more than chance" : ""}</span></td>
        <td class="num narrow-hide">${row.low !== null && row.high !== null && size !== null && html`<svg class=${`interval${row.marked ? "" : " weak"}`} width="90" height="16" role="img" aria-label=${`95 % interval from ${number(row.low, "points")} to ${number(row.high, "points")}`}>
          <line class="zero" x1=${x(0)} x2=${x(0)} y2="16" /><line x1=${x(row.low)} x2=${x(row.high)} y1="8" y2="8" /><circle cx=${x(size)} cy="8" r="3.500" /></svg>`}</td>
      </tr>`;
    })}</tbody></table>`;
}
