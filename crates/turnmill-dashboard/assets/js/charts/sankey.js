// Paths of conversations, by step. A column is the n-th intent; on a phone it is a list instead.

import { html, sankey, sankeyJustify, sankeyLinkHorizontal, useState } from "../../vendor/vendor.js";
import { number } from "../format.js";
import { useWidth } from "./parts.js";

/**
 * @typedef {{ id: string, step: number, name: string, kind: "start" | "intent" | "missed" | "other" | "end" }} PathNode
 * @typedef {{ source: string, target: string, value: number }} PathLink
 */

const HEADS = ["Session", "1st intent", "2nd intent", "3rd intent", "4th intent", "5th intent", "6th intent", "7th intent", "8th intent"];

/**
 * @param {{ nodes: PathNode[], links: PathLink[], label: string, height?: number, link: (node: PathNode) => string }} props
 */
export function Paths({ nodes, links, label, height = 400, link }) {
  const [frame, width] = useWidth(640);
  const [over, setOver] = useState(/** @type {string | null} */ (null));
  const order = { start: 0, intent: 1, missed: 1, other: 2, end: 3 };
  const layout = sankey()
    .nodeId((/** @type {any} */ node) => node.id)
    .nodeWidth(9)
    .nodePadding(11)
    .nodeAlign((/** @type {any} */ node, /** @type {number} */ count) => (node.step ?? sankeyJustify(node, count)))
    .nodeSort((/** @type {any} */ a, /** @type {any} */ b) => order[/** @type {PathNode} */ (a).kind] - order[/** @type {PathNode} */ (b).kind] || b.value - a.value)
    .extent([[1, 26], [Math.max(200, width - 96), height - 4]]);
  const graph = /** @type {any} */ (layout)({ nodes: nodes.map((node) => ({ ...node })), links: links.map((each) => ({ ...each })) });
  const curve = sankeyLinkHorizontal();
  const columns = Math.max(...nodes.map((node) => node.step)) + 1;
  const reach = Math.max(200, width - 96) - 9;
  return html`<div class="chart" ref=${frame}>
    <svg class=${`plot sankey${over === null ? "" : " dim"}`} width=${width} height=${height} role="group" aria-label=${label}>
      ${Array.from({ length: columns }, (_, at) => html`<text class="head" x=${1 + (reach * at) / Math.max(1, columns - 1)} y="12">${HEADS[at]}</text>`)}
      <g>${graph.links.map((/** @type {any} */ each) => html`<path class=${`link ${each.source.kind === "missed" || each.target.kind === "missed" ? "missed" : each.target.kind === "intent" ? "" : "other"}${over === each.source.id || over === each.target.id ? " lit" : ""}`}
        d=${curve(each)} stroke-width=${Math.max(1, each.width ?? 1)} data-value=${each.value}><title>${`${each.source.name} to ${each.target.name}: ${number(each.value, "count")}`}</title></path>`)}</g>
      <g>${graph.nodes.map((/** @type {any} */ node) => html`<a href=${link(node)} aria-label=${`${node.name} ${number(node.value, "count")}, ${HEADS[node.step]}`}
          onMouseEnter=${() => setOver(node.id)} onMouseLeave=${() => setOver(null)} onFocus=${() => setOver(node.id)} onBlur=${() => setOver(null)}>
        <rect class=${`node ${node.kind}`} x=${node.x0} y=${node.y0} width=${node.x1 - node.x0} height=${Math.max(1, node.y1 - node.y0)} rx="1.500" />
        ${(node.y1 - node.y0 > 7 || node.kind === "start") && html`<text x=${node.x1 + 6} y=${(node.y0 + node.y1) / 2} dy="0.35em">${node.name.length > 22 ? `${node.name.slice(0, 21)}\u2026` : node.name} ${number(node.value, "count")}</text>`}
      </a>`)}</g>
    </svg>
  </div>`;
}
