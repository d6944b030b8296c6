// The steps of a funnel, as they are chosen.

import { html, useState } from "../vendor/vendor.js";
import { changed, href } from "./address.js";
import { name } from "./format.js";
import { go } from "./go.js";
import { useAnswer } from "./use.js";

/** @import { Address } from "./types.js" */

/** Most steps of a funnel. */
const MOST = 6;
const KINDS = [["intent", "intent"], ["response", "response"], ["action", "action"], ["slot", "slot set"], ["marker", "marker"], ["flow", "flow:status"]];

/** @param {{ address: Address }} props */
export function FunnelSteps({ address }) {
  const steps = address.filters.step ?? [];
  const [kind, setKind] = useState("intent");
  const names = useAnswer(kind === "intent" || kind === "marker" ? `values/${kind}` : null, "", (raw) => /** @type {{ value: string | null }[]} */ (raw.values));
  const set = (/** @type {Record<string, string | string[] | null>} */ changes) => go(href({ ...address, filters: changed(address.filters, changes) }));
  const add = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const text = String(new FormData(form).get("name") ?? "").trim();
    if (!text) return;
    set({ step: [...steps, `${kind}:${text}`] });
    form.reset();
  };
  return html`<div>
    ${steps.length === 0 && html`<p class="muted">Choose what has to happen first, and what next. The steps are part of the address.</p>`}
    <form class="list-bar" onSubmit=${add}>
      ${steps.map((step, at) => html`<button key=${step} type="button" class="button" aria-label=${`Remove step ${at + 1}, ${step}`} onClick=${() => set({ step: steps.filter((each) => each !== step) })}><span>${at + 1}. ${step}</span> \u00d7</button>`)}
      ${steps.length < MOST && html`<label class="field">Step<select value=${kind} onChange=${(/** @type {any} */ event) => setKind(event.target.value)}>${KINDS.map(([key, words]) => html`<option key=${key} value=${key}>${words}</option>`)}</select></label>
        <label class="field">Name<input name="name" list="funnel-names" autocomplete="off" /></label>
        <datalist id="funnel-names">${(names.answer ?? []).filter((each) => each.value !== null).map((each) => html`<option value=${name(each.value)} />`)}</datalist>
        <button class="button strong">Add step</button>`}
      <button type="button" class="button" aria-pressed=${address.filters.across !== undefined} onClick=${() => set({ across: address.filters.across ? null : "yes" })}>across sessions of a sender</button>
    </form>
  </div>`;
}
