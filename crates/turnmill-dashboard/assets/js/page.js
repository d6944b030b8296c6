// A page: its cards, each drawn in its form.

import { html, useState } from "../vendor/vendor.js";
import { FUNNEL, changed, explore, href } from "./address.js";
import { FunnelSteps } from "./funnel.js";
import { at, exists, lines, numeric, table, unitOf } from "./answer.js";
import { BarTable, Changes, Funnel, Histogram, Outcomes, Texts } from "./charts/bars.js";
import { Heat } from "./charts/heat.js";
import { Paths } from "./charts/sankey.js";
import { Spark, TimeChart } from "./charts/time.js";
import { useNarrow } from "./charts/parts.js";
import { CardFrame, Definition, Exports, Loading, Tables, Tools, useCard, zoneOf } from "./card.js";
import { change, moment, name, number, share, timeOf } from "./format.js";
import { MarkerPreview } from "./preview.js";
import { Review } from "./review.js";
import { cell } from "./tables.js";
import { useAnswer } from "./use.js";

/** @import { Address, Answer, Card, Line, Release } from "./types.js" */

/** Folds groups beyond the five that have a colour into "Other". @param {Line[]} all @returns {Line[]} */
function folded(all) {
  if (all.length <= 6) return all;
  const [first, rest] = [all.slice(0, 5), all.slice(5)];
  const values = first[0].values.map((_, index) => rest.reduce((sum, line) => sum + (line.values[index] ?? 0), 0));
  return [...first, { name: first[0].name, group: "Other", values, small: values.map(() => false) }];
}

/** An end of a range for the address: a date where it is local midnight. @param {string} instant @param {string} zone */
export function boundary(instant, zone) {
  const date = timeOf(instant);
  const clock = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" }).format(date);
  return clock.endsWith(" 00:00:00") ? clock.slice(0, 10) : date.toISOString().replace(".000Z", "Z");
}

/** The filters of a bucket. @param {Answer} answer @param {number} index @param {string} zone */
function bucketFilters(answer, index, zone) {
  const bounds = answer.series?.bounds ?? [];
  return { from: boundary(bounds[index], zone), to: boundary(bounds[index + 1], zone), last: null };
}

/**
 * What a card draws.
 * @param {{ card: Card, answer: Answer, previous: Answer | null, address: Address, releases: Release[] }} props
 */
function Drawn({ card, answer, previous, address, releases }) {
  const zone = zoneOf(address);
  const draw = card.draw ?? {};
  const narrow = useNarrow();
  const list = table(answer, draw.table);
  const own = (/** @type {string | null} */ value) => explore(address, draw.filter ? { [draw.filter]: value === null ? [""] : [value] } : {});
  switch (card.form) {
    case "stacked":
    case "lines": return html`<${OverTime} card=${card} answer=${answer} previous=${previous} address=${address} zone=${zone} releases=${releases} />`;
    case "outcomes": {
      const parts = [["finished", "Finished"], ["abandoned", "Abandoned"], ["escalated", "Escalated"]].map(([key, text]) => ({ key, text, value: answer.values[key]?.n ?? answer.values[key]?.value ?? 0 }));
      const of = parts.reduce((sum, part) => sum + part.value, 0);
      return html`<${Outcomes} parts=${parts.map((part) => ({ ...part, of }))} link=${(/** @type {string} */ ending) => explore(address, { ending: [ending] })} />`;
    }
    case "figures": return html`<${Figures} answer=${answer} names=${draw.names} />`;
    default:
  }
  if (!list) return html`<${Tables} answer=${answer} zone=${zone} />`;
  switch (card.form) {
    case "bars":
      return html`<${BarTable} list=${list} previous=${previous ? table(previous, draw.table) : undefined} label=${draw.label} value=${draw.value} part=${draw.part} of=${draw.of?.(answer)} more=${narrow ? [] : draw.more} head=${draw.head} unit=${draw.unit} filter=${draw.filter}
        missed=${draw.missed} limit=${draw.limit} heads=${draw.heads} link=${own} />`;
    case "histogram": {
      const bins = list.rows.map((row) => ({ low: at(list, row, draw.low), count: numeric(at(list, row, draw.value)) }));
      return html`<${Histogram} bins=${bins} unit=${draw.unit ?? "count"} label=${card.title} discrete=${draw.discrete} height=${draw.height} />`;
    }
    case "heat": return html`<${Heat} ...${draw.cells(list)} unit=${draw.unit} link=${(/** @type {number} */ row, /** @type {number} */ column) => explore(address, draw.own(list, row, column))} />`;
    case "drift": return html`<div><${Figures} answer=${answer} /><${Sheet} list=${list} draw=${draw} zone=${zone} own=${own} /></div>`;
    case "sankey": return html`<${DrawnPaths} card=${card} answer=${answer} address=${address} narrow=${narrow} />`;
    case "funnel": return html`<div><${FunnelSteps} address=${address} />
      ${list.rows.length > 0 && html`<${Funnel} steps=${list.rows.map((row) => ({ name: name(at(list, row, draw.label)), count: numeric(at(list, row, draw.value)), seconds: at(list, row, "median_seconds") }))} />`}</div>`;
    case "changes": return html`<${Changes} rows=${draw.rows(list, address)} />`;
    case "texts": return html`<${Texts} rows=${list.rows.slice(0, draw.limit ?? 8).map((row) => ({ text: String(at(list, row, draw.label) ?? ""), count: numeric(at(list, row, draw.value)) }))} link=${(/** @type {string} */ text) => explore(address, { missed_text: text })} />`;
    default: return list.rows.length > 0 ? html`<${Sheet} list=${list} draw=${draw} zone=${zone} own=${own} />` : html`<${Nothing} card=${card} />`;
  }
}

/** Numbers over time, as columns of the split or as lines. @param {{ card: Card, answer: Answer, previous: Answer | null, address: Address, zone: string, releases: Release[] }} props */
function OverTime({ card, answer, previous, address, zone, releases }) {
  const draw = card.draw ?? {};
  const split = draw.split === true && lines(answer, true).length > 0;
  /** @param {Answer} from */
  const chosen = (from) => {
    const all = lines(from, split);
    const some = split ? folded(all) : draw.lines ? draw.lines.flatMap((/** @type {string} */ each) => all.filter((line) => line.name === each)) : all.slice(0, 1);
    // A share or percentile of too little is not drawn.
    return some.map((/** @type {Line} */ line) => ({ ...line, name: line.group === undefined ? line.name : line.group, values: line.values.map((value, index) => (line.small[index] ? null : value)) }));
  };
  if (!answer.series) return html`<${Tables} answer=${answer} zone=${zone} />`;
  const unit = split ? "count" : (answer.units[draw.lines?.[0]] ?? answer.unit);
  const series = { ...answer.series, unit, lines: chosen(answer) };
  const before = previous?.series ? { ...previous.series, unit, lines: split ? lines(previous, false).slice(0, 1) : chosen(previous) } : null;
  const link = (/** @type {number} */ index, /** @type {string | null | undefined} */ line) => explore(address, {
    ...bucketFilters(answer, index, zone),
    ...(split && draw.filter && line !== undefined && line !== "Other" ? { [draw.filter]: line === null ? [""] : [line] } : {}),
  });
  return html`<${TimeChart} series=${series} previous=${before} kind=${card.form} zone=${zone} label=${`${card.title}, ${card.line(answer, address)}`} filter=${split ? draw.filter : undefined}
    names=${draw.names} height=${draw.height} log=${draw.log} band=${draw.band} colours=${draw.colours} releases=${releases} link=${link} />`;
}

/** A list without rows. What has to be set up first says how. @param {{ card: Card }} props */
function Nothing({ card }) {
  if (!card.setup) return html`<div class="state"><h3>Nothing to list.</h3><p>The range and the filters leave no row.</p></div>`;
  return html`<div class="state"><h3>${card.setup.text}</h3><pre tabIndex="0"><code>${card.setup.command}</code></pre></div>`;
}

/** A list as it is, with links in its first column. @param {{ list: import("./types.js").Table, draw: Record<string, any>, zone: string, own: (value: string | null) => string }} props */
function Sheet({ list, draw, zone, own }) {
  const units = list.columns.map((_, column) => unitOf(list, column));
  const rows = list.rows.slice(0, draw.limit ?? 20);
  return html`<div class="scroll" tabIndex="0" role="region" aria-label=${list.name}><table class="lined">
    <thead><tr>${list.columns.map((column, index) => html`<th class=${units[index] === "text" || units[index] === "time" ? "" : "num"}>${draw.titles?.[column] ?? column.replaceAll("_", " ")}</th>`)}</tr></thead>
    <tbody>${rows.map((row, place) => html`<tr key=${place}>${row.map((value, index) => {
      const text = cell(value, units[index], zone);
      const linked = draw.filter && list.columns[index] === (draw.label ?? list.columns[0]);
      const session = list.columns[index] === "session_id" && value !== null;
      const link = session && draw.sessions !== false ? href({ page: "conversations", session: String(value), filters: {} }) : linked ? own(value === null ? null : String(value)) : null;
      return html`<td class=${units[index] === "text" ? "foreign" : units[index] === "time" ? "" : "num"}>${link ? html`<a href=${link}>${session ? "open" : text}</a>` : text}</td>`;
    })}</tr>`)}</tbody></table>
    ${list.rows.length > rows.length && html`<p class="muted">${number(list.rows.length - rows.length, "count")} more in the table form and in the CSV file.</p>`}
  </div>`;
}

/** Numbers with their names. @param {{ answer: Answer, names?: [string, string][] }} props */
function Figures({ answer, names }) {
  const shown = names ?? Object.keys(answer.values).map((key) => /** @type {const} */ ([key, key.replaceAll("_", " ")]));
  return html`<dl class="pairs">${shown.map(([key, text]) => {
    const figure = answer.values[key];
    const unit = answer.units[key] ?? answer.unit;
    return html`<div key=${key}><dt>${text}</dt><dd data-name=${key}>${number(figure?.value, unit)}${figure?.d !== undefined && html`<small>${number(figure.n, "count")} of ${number(figure.d, "count")}</small>`}</dd></div>`;
  })}</dl>`;
}

/** @param {{ card: Card, answer: Answer, address: Address, narrow: boolean }} props */
function DrawnPaths({ card, answer, address, narrow }) {
  const { nodes, links, paths } = card.draw?.graph(answer);
  if (narrow && paths.length) {
    const most = paths[0].count || 1;
    return html`<ol class="steps">${paths.slice(0, 8).map((/** @type {any} */ path) => html`<li key=${path.names.join("\u0000")}><div class="path">${path.names.map((/** @type {string} */ each, /** @type {number} */ index) => html`${index > 0 && " \u203a "}<span class="tag">${each}</span>`)}</div>
      <div class="head"><span class="bar-track" aria-hidden="true"><span class="bar-fill fill-1" style=${{ display: "block", width: `${(100 * path.count) / most}%` }}></span></span><span>${number(path.count, "count")}</span><span class="muted">${share(path.part)}</span></div></li>`)}</ol>`;
  }
  return html`<${Paths} nodes=${nodes} links=${links} height=${card.draw?.height} label=${`${card.title}, ${card.line(answer, address)}`} link=${(/** @type {any} */ node) => explore(address, node.kind === "intent" || node.kind === "missed" ? { intent: [node.name] } : {})} />`;
}

/**
 * One number of the strip.
 * @param {{ card: Card, address: Address, open: string, toggle: (what: string) => void }} props
 */
function Figure({ card, address, open, toggle }) {
  const { answer, refused, loading, again } = useCard(card, address);
  const draw = card.draw ?? {};
  const key = draw.value ?? Object.keys(answer?.values ?? {})[0] ?? "";
  const unit = answer?.units[key] ?? answer?.unit ?? "count";
  const figure = answer?.values[key];
  const few = figure?.d !== undefined && figure.small;
  const moved = answer && change(figure, figure?.was, unit, draw.better);
  const line = answer ? lines(answer, false).find((each) => each.name === key) : undefined;
  const text = !figure || figure.value === null ? "none" : few ? `${number(figure.n, "count")} of ${number(figure.d, "count")}` : number(figure.value, unit);
  return html`<div class="figure" data-card=${card.id} data-metric=${card.metric} data-ready=${answer && !loading ? "yes" : undefined} role="group" aria-label=${card.title}>
    <h2>${card.title}</h2>
    ${answer && html`<${Tools} open=${open} toggle=${toggle} title=${card.title} />`}
    ${refused ? html`<div class="change bad">${refused.message} <button class="button bare" type="button" onClick=${again}>Try again</button></div>`
      : !answer ? html`<div class="big muted">\u2026</div>`
      : html`<a class="big" data-name=${key} href=${explore(address, draw.own ?? {})}>${text}</a>
        <div class="change">${few ? (figure?.d ? "too few for a rate" : "nothing to divide by") : html`${moved && html`<b class=${moved.tone}><span aria-hidden="true">${moved.arrow} </span><span class="read">${moved.words} </span>${moved.text}</b>${" "}${figure?.was && !draw.beside && html`was ${number(figure.was.value, unit)}`}`}${draw.beside?.(answer, moved) ?? ""}`}</div>
        <${Spark} values=${line?.values ?? []} colour=${draw.colour ?? "1"} />`}
  </div>`;
}

/** The numbers at the top, in one card. @param {{ cards: Card[], address: Address }} props */
function Strip({ cards, address }) {
  const [open, setOpen] = useState(/** @type {{ id: string, what: string }} */ ({ id: "", what: "" }));
  const card = cards.find((each) => each.id === open.id);
  return html`<section class="card strip" aria-label="Numbers">
    ${cards.map((each) => html`<${Figure} key=${each.id} card=${each} address=${address} open=${open.id === each.id ? open.what : ""}
      toggle=${(/** @type {string} */ what) => setOpen(open.id === each.id && open.what === what ? { id: "", what: "" } : { id: each.id, what })} />`)}
    ${card && html`<${Detail} key=${card.id} card=${card} address=${address} what=${open.what} />`}
  </section>`;
}

/** @param {{ card: Card, address: Address, what: string }} props */
function Detail({ card, address, what }) {
  const { answer } = useCard(card, address, true);
  const zone = zoneOf(address);
  if (!answer) return html`<div class="strip-detail"><${Loading} slow=${false} /></div>`;
  return html`<div class="strip-detail"><h3 class="sub">${card.title}</h3>${what === "definition" ? html`<${Definition} answer=${answer} />`
    : what === "save" ? html`<${Exports} card=${card} answer=${answer} body=${() => null} zone=${zone} />` : html`<${Tables} answer=${answer} zone=${zone} />`}</div>`;
}

/** The newest conversations that match the filters. @param {{ card: Card, address: Address }} props */
function Latest({ card, address }) {
  const asked = useAnswer("conversations", [new URLSearchParams(Object.entries(address.filters).filter(([key]) => !["by", "vs", ...FUNNEL].includes(key)).flatMap(([key, values]) => values.map((value) => [key, value]))).toString(), "limit=8"].filter(Boolean).join("&"), (raw) => raw);
  const zone = zoneOf(address);
  return html`<section class=${`card span-${card.span}`} data-card=${card.id} aria-labelledby=${`card-${card.id}`} data-ready=${asked.answer && !asked.loading ? "yes" : undefined}>
    <header><div><h2 id=${`card-${card.id}`}>${card.title}</h2><p class="line">${asked.answer ? `the newest of ${number(asked.answer.total, "count")} sessions` : "\u00a0"}</p></div></header>
    <div class=${`body${asked.loading && asked.answer ? " stale" : ""}`}>${asked.refused ? html`<div class="state" role="alert"><h3>${asked.refused.message}</h3><button class="button strong" type="button" onClick=${asked.again}>Try again</button></div>`
      : !asked.answer ? html`<${Loading} slow=${asked.slow} />` : asked.answer.conversations.length === 0 ? html`<div class="state"><h3>No conversation matches.</h3></div>` : html`<${ConversationTable} rows=${asked.answer.conversations} address=${address} zone=${zone} />`}
      <p class="more"><a href=${href({ page: "conversations", filters: changed(address.filters, {}) })}>All conversations</a></p></div>
  </section>`;
}

/** @param {{ rows: any[], address: Address, zone: string }} props */
export function ConversationTable({ rows, address, zone }) {
  const link = (/** @type {any} */ row) => href({ page: "conversations", session: row.session_id, filters: address.filters });
  return html`<table class="lined list">
    <thead><tr><th>Started</th><th>Channel</th><th>First message</th><th class="num">Turns</th><th class="num">Duration</th><th>Outcome</th></tr></thead>
    <tbody>${rows.map((row) => html`<tr key=${row.session_id}>
      <td><a href=${link(row)}>${moment(row.started_at, zone)}</a></td>
      <td class="name">${name(row.channel)}</td>
      <td class="text-cell"><span class="foreign">${row.first_text === null ? "" : short(row.first_text)}</span>${" "}${row.first_intent !== null && html`<span class="tag">${row.first_intent}</span>`}</td>
      <td class="num">${number(row.turns, "count")}<small class="narrow-only"> turns</small></td>
      <td class="num">${number(row.duration, "seconds")}</td>
      <td class="ending"><span class=${`badge ${row.ending}`}>${row.ending}</span></td>
    </tr>`)}</tbody>
  </table>`;
}

/** @param {string} text */
function short(text) {
  return text.length > 120 ? `${text.slice(0, 119)}\u2026` : text;
}

/** Gives the columns that a row of twelve leaves free to its widest card. @param {Card[]} cards */
function packed(cards) {
  /** @type {Card[]} */
  const all = [];
  /** @type {Card[]} */
  let row = [];
  const finish = () => {
    const free = 12 - row.reduce((sum, card) => sum + card.span, 0);
    const widest = Math.max(...row.map((card) => card.span));
    const first = row.findIndex((card) => card.span === widest);
    all.push(...row.map((card, index) => (index === first && free > 0 ? { ...card, span: card.span + free } : card)));
    row = [];
  };
  for (const card of cards) {
    if (row.length && row.reduce((sum, each) => sum + each.span, card.span) > 12) finish();
    row.push(card);
  }
  if (row.length) finish();
  return all;
}

/** A card with those below it. @param {Card} card @param {Card[]} all @returns {Card[]} */
function stack(card, all) {
  const next = all.find((each) => each.id === card.below);
  return next ? [card, ...stack(next, all)] : [card];
}

/** Forms that are whole cards. @type {Record<string, any>} */
const WHOLE = { conversations: Latest, preview: MarkerPreview, review: Review };

/** Whether a card can be shown: a metric that this version of the service does not have is left out. @param {Card} card @param {any} store */
function isThere(card, store) {
  if (card.form === "conversations") return store.has_conversations !== false;
  return card.form === "preview" || exists(card.metric);
}

/**
 * @param {{ cards: Card[], address: Address, store: any }} props
 */
export function Page({ cards, address, store }) {
  const there = cards.filter((card) => isThere(card, store));
  const strip = there.filter((card) => card.form === "number");
  const below = new Set(there.flatMap((card) => (card.below ? [card.below] : [])));
  const releases = /** @type {Release[]} */ (store.releases ?? []);
  /** @param {Card} card */
  const drawn = (card) => (WHOLE[card.form]
    ? html`<${WHOLE[card.form]} key=${card.id} card=${card} address=${address} store=${store} />`
    : html`<${CardFrame} key=${card.id} card=${card} address=${address} store=${store} what=${card.draw?.counted ?? "sessions"}
        draw=${(/** @type {Answer} */ answer, /** @type {Answer | null} */ previous) => html`<${Drawn} card=${card} answer=${answer} previous=${previous} address=${address} releases=${releases} />`} />`);
  return html`<div class="grid">
    ${strip.length > 0 && html`<${Strip} cards=${strip} address=${address} />`}
    ${packed(there.filter((card) => card.form !== "number" && !below.has(card.id))).map((card) => {
      const column = stack(card, there);
      return column.length > 1 ? html`<div key=${card.id} class=${`pair span-${card.span} of-${column.length}`}>${column.map(drawn)}</div>` : drawn(card);
    })}
  </div>`;
}
