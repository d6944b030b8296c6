// Values over time: stacked columns, or lines.

import { area, html, line as lineOf, max, scaleBand, scaleLinear, scaleLog, stack, useRef, useState } from "../../vendor/vendor.js";
import { colour } from "../colours.js";
import { bucketName, duration, name, number, short, tickName, timeOf } from "../format.js";
import { go } from "../go.js";
import { Legend, useWidth } from "./parts.js";

/** @import { Line, Release, Series, Unit } from "../types.js" */

const SPACE = { top: 22, right: 8, bottom: 24, left: 54 };

/**
 * @typedef {object} TimeProps
 * @property {Series} series
 * @property {Series | null} [previous] Drawn as one dashed line: the total, or the first line.
 * @property {"stacked" | "lines"} kind
 * @property {string} zone
 * @property {string} label What the chart shows, for those who cannot see it.
 * @property {string} [filter] What the series are, for their colours.
 * @property {string[]} [names] Names of the lines, where theirs are not for people.
 * @property {string[]} [colours] Colours of the lines, where they have a meaning.
 * @property {number} [height] Height in pixels.
 * @property {boolean} [log]
 * @property {boolean} [band] Whether the area between the first line and the last is filled.
 * @property {Release[]} [releases]
 * @property {(at: number, line: string | null | undefined) => string} link Address of a bucket's
 *   conversations, of all lines or of one.
 */

/** Spells a value of an axis. @param {number} value @param {Unit} unit */
function axisText(value, unit) {
  if (unit === "seconds") return duration(value);
  if (unit === "percent") return `${short(value)} %`;
  return short(value);
}

/** @param {Line[]} lines @param {number} at */
function total(lines, at) {
  const values = lines.map((line) => line.values[at]).filter((value) => value != null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) : null;
}

/** @param {TimeProps} props */
export function TimeChart({ series, previous, kind, zone, label, filter, names, colours: given, height = 268, log, band, releases = [], link }) {
  const [frame, width] = useWidth(640);
  const [cursor, setCursor] = useState(/** @type {number | null} */ (null));
  const spoken = useRef(false);
  const { bounds, bucket, unit, lines } = series;
  const count = Math.max(0, bounds.length - 1);
  const inner = { width: Math.max(40, width - SPACE.left - SPACE.right), height: height - SPACE.top - SPACE.bottom };
  const indexes = Array.from({ length: count }, (_, at) => at);
  const stacked = kind === "stacked";
  const colours = lines.map((line, at) => given?.[at] ?? colour(filter, line.name, at));
  const shown = lines.map((line, at) => names?.[at] ?? name(line.name));

  const before = previous && previous.lines.length ? indexes.map((at) => (stacked ? total(previous.lines, at) : previous.lines[0]?.values[at] ?? null)) : [];
  const everything = stacked ? indexes.map((at) => total(lines, at) ?? 0) : lines.flatMap((line) => line.values.filter((value) => value != null));
  const most = max([...everything, ...before.filter((value) => value != null), 0]) || 1;
  const x = scaleBand(indexes, [0, inner.width]).paddingInner(stacked ? 0.28 : 0).paddingOuter(stacked ? 0.14 : 0);
  const middle = (/** @type {number} */ at) => (x(at) ?? 0) + x.bandwidth() / 2;
  const positive = everything.filter((value) => value > 0);
  const logged = log && positive.length > 0;
  const y = logged
    ? scaleLog([Math.min(...positive) * 0.8, most * 1.15], [inner.height, 0]).clamp(true)
    : scaleLinear([0, unit === "percent" && !stacked ? Math.min(100, most * 1.1) : most], [inner.height, 0]).nice(4);
  const ticks = logged ? logTicks(y.domain()) : y.ticks(4).filter((tick) => unit !== "count" || Number.isInteger(tick));
  const every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor(inner.width / 84))));

  const move = (/** @type {number | null} */ at, /** @type {boolean} */ aloud) => {
    spoken.current = aloud;
    setCursor(at === null || count === 0 ? null : Math.max(0, Math.min(count - 1, at)));
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const at = cursor ?? -1;
    /** @type {Record<string, number | null>} */
    const targets = { ArrowRight: at + 1, ArrowLeft: cursor === null ? count - 1 : at - 1, Home: 0, End: count - 1, Escape: null };
    if (event.key === "Enter" && cursor !== null) go(link(cursor, undefined));
    else if (event.key in targets) move(targets[event.key], true);
    else return;
    event.preventDefault();
  };
  const pointed = (/** @type {PointerEvent} */ event) => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    move(Math.floor(((event.clientX - box.left - SPACE.left) / inner.width) * count), false);
  };
  const values = (/** @type {number} */ at) => [
    ...(stacked && lines.length > 1 ? [{ text: "Total", colour: "", value: total(lines, at) ?? 0 }] : []),
    ...lines.map((line, index) => ({ text: shown[index], colour: colours[index], value: line.values[at] })),
    ...(previous ? [{ text: "Previous period", colour: "dash", value: before[at] ?? null }] : []),
  ];
  const path = lineOf((/** @type {number | null} */ _, at) => middle(at), (value) => y(value ?? 0)).defined((value) => value != null && (!log || value > 0));
  const columns = indexes.map((at) => Object.fromEntries(lines.map((line, index) => [String(index), line.values[at] ?? 0])));
  const layers = stacked ? stack().keys(lines.map((_, at) => String(at)))(columns) : [];
  const first = lines[0]?.values ?? [], last = lines.at(-1)?.values ?? [];
  const filled = area((/** @type {number} */ at) => middle(at), (at) => y(first[at] ?? 1), (at) => y(last[at] ?? 1)).defined((at) => first[at] != null && last[at] != null);
  const left = cursor === null ? 0 : SPACE.left + middle(cursor);

  const items = [
    ...shown.map((text, at) => ({ name: text, colour: colours[at], stroke: !stacked })),
    ...(previous ? [{ name: "previous", colour: "previous", dash: true }] : []),
  ];
  return html`<div>
    ${(lines.length > 1 || previous) && html`<${Legend} items=${items} />`}
    <div class="chart" ref=${frame} tabIndex="0" role="group" aria-roledescription="chart" aria-label=${`${label}. Left and right read the values, Enter opens the conversations.`}
      onKeyDown=${keys} onBlur=${() => move(null, false)} onPointerMove=${pointed} onPointerLeave=${() => move(null, false)}>
      <svg class="plot" width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} aria-hidden="true">
        <g transform=${`translate(${SPACE.left} ${SPACE.top})`}>
          ${ticks.map((tick) => html`<g transform=${`translate(0 ${y(tick)})`}>
            <line class="grid-line" x2=${inner.width} /><text x="-8" dy="0.32em" text-anchor="end">${axisText(tick, unit)}</text>
          </g>`)}
          ${cursor !== null && html`<rect class="cursor" x=${(x(cursor) ?? 0) - (x.step() - x.bandwidth()) / 2} width=${x.step()} height=${inner.height} />`}
          ${band && html`<path class="band" d=${filled(indexes)} />`}
          ${stacked
            ? layers.map((layer, index) => layer.map(([low, high], at) => high > low && html`<a href=${link(at, lines[index].name)} tabindex="-1">
                <rect class=${`fill-${colours[index]}`} data-line=${index} data-at=${at} x=${x(at)} width=${x.bandwidth()} y=${y(high)}
                  height=${Math.max(0.5, y(low) - y(high) - (index < lines.length - 1 ? 0.6 : 0))} /></a>`))
            : lines.map((line, index) => html`<g>
                <path class=${`line-path stroke-${colours[index]}`} d=${path(line.values)} />
                ${alone(line.values).map((at) => html`<circle class=${`fill-${colours[index]}`} r="2" cx=${middle(at)} cy=${y(line.values[at] ?? 0)} />`)}
              </g>`)}
          ${previous && html`<path class="previous" d=${path(before)} />`}
          ${releases.map((release) => {
            const at = bucketOf(bounds, release.at);
            if (at < 0) return null;
            const end = middle(at) > inner.width * 0.75;
            return html`<g transform=${`translate(${x(at) ?? 0} 0)`}><line class="release" y1="-12" y2=${inner.height} /><circle class="release-dot" cy="-12" r="3" />
              <text class="on" x=${end ? -7 : 7} y="-8.500" text-anchor=${end ? "end" : "start"}>model ${release.name.slice(0, 12)}</text></g>`;
          })}
          <line class="axis-line" y1=${inner.height} y2=${inner.height} x2=${inner.width} />
          ${indexes.filter((at) => at % every === 0).map((at) => html`<text x=${middle(at)} y=${inner.height + 16} text-anchor="middle">${tickName(bounds[at], bucket, zone)}</text>`)}
        </g>
      </svg>
      ${cursor !== null && html`<div class="tip" style=${left > width / 2 ? { right: `${width - left + 14}px`, top: "8px" } : { left: `${left + 14}px`, top: "8px" }}>
        <b>${bucketName(bounds[cursor], bucket, zone)}</b>
        ${values(cursor).map((row) => html`<div key=${row.text}><i class=${row.colour === "dash" ? "dash" : row.colour ? `fill-${row.colour}` : "total"}></i>
          <span class="name">${row.text}</span><em>${number(row.value, unit)}</em></div>`)}
      </div>`}
      <div class="read" aria-live="polite">${cursor !== null && spoken.current
        ? `${bucketName(bounds[cursor], bucket, zone)}: ${values(cursor).map((row) => `${row.text} ${number(row.value, unit)}`).join(", ")}` : ""}</div>
    </div>
  </div>`;
}

/** Ticks 1 and 3 of each power of ten. @param {number[]} domain */
function logTicks([low, high]) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const step of [1, 3]) {
      const value = step * 10 ** power;
      if (value >= low && value <= high) ticks.push(value);
    }
  }
  return ticks;
}

/** Places of values without a neighbour, which no line shows. @param {(number | null)[]} values */
function alone(values) {
  return values.flatMap((value, at) => (value != null && values[at - 1] == null && values[at + 1] == null ? [at] : []));
}

/** The bucket that holds an instant, or -1. @param {string[]} bounds @param {string} instant */
function bucketOf(bounds, instant) {
  const time = timeOf(instant).getTime();
  return bounds.findIndex((bound, at) => at + 1 < bounds.length && timeOf(bound).getTime() <= time && time < timeOf(bounds[at + 1]).getTime());
}

/**
 * A small line without axes.
 * @param {{ values: (number | null)[], colour: string, fill?: boolean }} props
 */
export function Spark({ values, colour: suffix, fill = true }) {
  const [frame, width] = useWidth(160);
  const height = 36;
  const known = values.filter((value) => value != null);
  const most = max(known) || 1;
  const x = scaleLinear([0, Math.max(1, values.length - 1)], [1, Math.max(2, width - 1)]);
  const y = scaleLinear([0, most], [height - 2, 3]);
  const points = values.map((value, at) => ({ value, at }));
  const path = lineOf((/** @type {{ value: number | null, at: number }} */ point) => x(point.at), (point) => y(point.value ?? 0)).defined((point) => point.value != null);
  const under = area((/** @type {{ value: number | null, at: number }} */ point) => x(point.at), height, (point) => y(point.value ?? 0)).defined((point) => point.value != null);
  return html`<div class="spark" ref=${frame} aria-hidden="true">
    <svg width=${width} height=${height}>${fill && html`<path class=${`area fill-${suffix}`} d=${under(points)} />`}<path class=${`stroke-${suffix}`} d=${path(points)} /></svg>
  </div>`;
}
