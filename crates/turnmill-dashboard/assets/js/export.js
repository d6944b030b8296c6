// Files of a card: CSV, JSON, SVG and PNG. All of them are made in the browser from the answer that
// the card shows.

import { csvCell } from "./csv.js";
import { name } from "./format.js";
import { cell, tables } from "./tables.js";

/** @import { Answer, Card } from "./types.js" */

/** @param {Answer} answer */
export function csv(answer) {
  return tables(answer)
    .map((table) => [table.columns.map((column) => column.name), ...table.rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n")
    .join("\r\n");
}

/** @param {string} file @param {BlobPart} content @param {string} type */
export function save(file, content, type) {
  const link = document.createElement("a");
  const url = URL.createObjectURL(new Blob([content], { type }));
  link.href = url;
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Properties that the style sheet gives to charts, and that a file of its own needs. */
const STYLES = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-family",
  "font-weight", "paint-order", "text-anchor",
];

/** @param {SVGElement} chart */
function standalone(chart) {
  const copy = /** @type {SVGElement} */ (chart.cloneNode(true));
  const [from, to] = [chart, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  from.forEach((element, at) => {
    const style = getComputedStyle(element);
    for (const property of STYLES) to[at].setAttribute(property, style.getPropertyValue(property));
    for (const left of ["class", "style", "tabindex", "href"]) to[at].removeAttribute(left);
  });
  const { width, height } = chart.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(Math.ceil(width)));
  copy.setAttribute("height", String(Math.ceil(height)));
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  ground.setAttribute("width", "100%");
  ground.setAttribute("height", "100%");
  ground.setAttribute("fill", getComputedStyle(document.documentElement).getPropertyValue("--panel").trim());
  copy.prepend(ground);
  return new XMLSerializer().serializeToString(copy);
}

/**
 * Draws the tables of an answer, for cards whose form is a table.
 * @param {Card} card
 * @param {Answer} answer
 * @param {string} zone
 */
function drawnTables(card, answer, zone) {
  const style = getComputedStyle(document.documentElement);
  /** @param {string} variable */
  const get = (variable) => style.getPropertyValue(variable).trim();
  const root = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  let y = 28;
  /** @param {number} x @param {string} text @param {string} fill @param {string} [weight] */
  const write = (x, text, fill, weight = "400") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "text");
    element.textContent = text.length > 60 ? `${text.slice(0, 59)}\u2026` : text;
    for (const [key, value] of Object.entries({ x, y, fill, "font-weight": weight, "font-size": 13, "font-family": "Inter, system-ui, sans-serif" })) element.setAttribute(key, String(value));
    root.append(element);
  };
  write(16, card.title, get("--ink"), "620");
  let width = 320;
  for (const table of tables(answer)) {
    const texts = table.rows.map((row) => row.map((value, at) => cell(value, table.columns[at].unit, zone, answer.series?.bucket)));
    const widths = table.columns.map((column, at) => 24 + 7.4 * Math.min(60, Math.max(column.name.length, ...texts.map((row) => row[at].length))));
    const lefts = widths.map((_, at) => 16 + widths.slice(0, at).reduce((sum, value) => sum + value, 0));
    y += 28;
    table.columns.forEach((column, at) => write(lefts[at], column.name, get("--muted")));
    for (const row of texts) {
      y += 20;
      row.forEach((text, at) => write(lefts[at], text, get("--ink")));
    }
    width = Math.max(width, ...lefts.map((left, at) => left + widths[at]));
  }
  for (const [key, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width: Math.ceil(width), height: y + 20 })) root.setAttribute(key, String(value));
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [key, value] of Object.entries({ width: "100%", height: "100%", fill: get("--panel") })) ground.setAttribute(key, value);
  root.prepend(ground);
  return new XMLSerializer().serializeToString(root);
}

/**
 * @param {Card} card
 * @param {Answer} answer
 * @param {Element | null} body The card's body, in which a chart may be.
 * @param {string} zone
 */
export function svg(card, answer, body, zone) {
  const chart = body?.querySelector("svg.plot");
  return chart instanceof SVGElement ? standalone(chart) : drawnTables(card, answer, zone);
}

/** @param {string} drawing @returns {Promise<Blob>} */
export async function png(drawing) {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([drawing], { type: "image/svg+xml" }));
  image.src = url;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width * 2;
  canvas.height = image.height * 2;
  const context = canvas.getContext("2d");
  context?.scale(2, 2);
  context?.drawImage(image, 0, 0);
  URL.revokeObjectURL(url);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no image"))), "image/png"));
}

/** How names of files begin. */
let prefix = "turnmill";

/** Sets whether the conversations are those of the demo, which names of files say. @param {boolean} isDemo */
export function setDemo(isDemo) {
  prefix = isDemo ? "turnmill-demo" : "turnmill";
}

/** The name of a file that is not of a card. @param {string} what With its ending. */
export function named(what) {
  return `${prefix}-${what}`;
}

/** The name of a card's file. @param {Card} card @param {Answer} answer @param {string} ending */
export function file(card, answer, ending) {
  const range = [answer.filters.from, answer.filters.to].filter(Boolean).map((text) => String(text).slice(0, 10)).join("_");
  return `${prefix}-${name(card.id).replaceAll(/[^\w-]/g, "-")}${range ? `-${range}` : ""}.${ending}`;
}
