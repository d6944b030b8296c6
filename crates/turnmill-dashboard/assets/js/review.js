// Missed messages to work through: a status and an intent for each text, and what was chosen as
// training data. The store is only read, so the choices are kept in the browser.

import { html, useState } from "../vendor/vendor.js";
import { at, numeric, table } from "./answer.js";
import { explore } from "./address.js";
import { CardFrame } from "./card.js";
import { named, save } from "./export.js";
import { name, number } from "./format.js";
import { nluYaml } from "./nlu.js";
import { useAnswer } from "./use.js";

/** @import { Address, Answer, Card } from "./types.js" */

/**
 * @typedef {{ status: string, intent: string }} Choice
 */

/** Where the browser keeps the choices. */
const KEY = "turnmill-missed-messages";
/** Messages shown at first, and with each "show more". */
const PART = 20;
const STATUSES = [["", "open"], ["done", "done"], ["ignored", "ignored"]];

/** @returns {Record<string, Choice>} */
function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/** @param {{ card: Card, address: Address, store: any }} props */
export function Review({ card, address, store }) {
  return html`<${CardFrame} card=${card} address=${address} store=${store} what="missed messages" draw=${(/** @type {Answer} */ answer) => html`<${Messages} card=${card} answer=${answer} address=${address} />`} />`;
}

/** @param {{ card: Card, answer: Answer, address: Address }} props */
function Messages({ card, answer, address }) {
  const [choices, setChoices] = useState(stored);
  const [status, setStatus] = useState("");
  const [limit, setLimit] = useState(PART);
  const names = useAnswer("values/intent", "", (raw) => /** @type {{ value: string | null }[]} */ (raw.values));
  const list = table(answer);
  const choose = (/** @type {string} */ text, /** @type {Partial<Choice>} */ change) => {
    const chosen = { ...(choices[text] ?? { status: "", intent: "" }), ...change };
    const next = { ...choices, [text]: chosen };
    if (!chosen.status && !chosen.intent) delete next[text];
    localStorage.setItem(KEY, JSON.stringify(next));
    setChoices(next);
  };
  if (!list) return null;
  const rows = list.rows.map((row) => ({ text: String(at(list, row, card.draw?.label) ?? ""), count: numeric(at(list, row, card.draw?.value)) }));
  const shown = rows.filter((row) => (choices[row.text]?.status ?? "") === status);
  const examples = Object.entries(choices).filter(([, choice]) => choice.intent && choice.status !== "ignored").map(([text, choice]) => ({ text, intent: choice.intent }));
  return html`<div>
    <div class="list-bar">
      <div class="choices" role="group" aria-label="Status">${STATUSES.map(([key, words]) => html`<button key=${key} class="button" type="button" aria-pressed=${status === key} onClick=${() => setStatus(key)}>${words} <span class="muted">${number(rows.filter((row) => (choices[row.text]?.status ?? "") === key).length, "count")}</span></button>`)}</div>
      <span class="count"><button class="button strong" type="button" disabled=${examples.length === 0} onClick=${() => save(named("nlu.yml"), nluYaml(examples), "application/yaml")}>nlu.yml (${examples.length})</button>
      <button class="button" type="button" onClick=${() => save(named("missed-messages.json"), `${JSON.stringify(choices, null, 2)}\n`, "application/json")}>Choices as JSON</button></span>
    </div>
    <datalist id="review-intents">${(names.answer ?? []).filter((each) => each.value !== null).map((each) => html`<option value=${name(each.value)} />`)}</datalist>
    <div class="scroll" tabIndex="0" role="region" aria-label="Missed messages"><table class="lined review"><thead><tr><th>Message</th><th class="num">Times</th><th>Intent it should have</th><th>Status</th></tr></thead>
      <tbody>${shown.slice(0, limit).map(({ text, count }) => html`<tr key=${text}>
        <td><a class="foreign" href=${explore(address, { missed_text: text })}>${text === "" ? "(empty)" : text.length > 160 ? `${text.slice(0, 160)}\u2026` : text}</a></td>
        <td class="num">${number(count, "count")}</td>
        <td><input class="search" list="review-intents" autocomplete="off" aria-label=${`Intent of ${text.slice(0, 60)}`} value=${choices[text]?.intent ?? ""} onChange=${(/** @type {any} */ event) => choose(text, { intent: event.target.value.trim() })} /></td>
        <td><select class="search" aria-label=${`Status of ${text.slice(0, 60)}`} onChange=${(/** @type {any} */ event) => choose(text, { status: event.target.value })}>
          ${STATUSES.map(([key, words]) => html`<option key=${key} value=${key} selected=${(choices[text]?.status ?? "") === key}>${words}</option>`)}</select></td>
      </tr>`)}</tbody></table></div>
    ${shown.length > limit && html`<p class="more"><button class="button" type="button" onClick=${() => setLimit(limit + PART)}>Show more of ${number(shown.length, "count")}</button></p>`}
    ${shown.length === 0 && html`<p class="muted">None of the ${number(rows.length, "count")} texts of this range.</p>`}
    <p class="more muted">Status and intent are kept in this browser only. The file has every message with an intent, also those of other ranges.</p>
  </div>`;
}
