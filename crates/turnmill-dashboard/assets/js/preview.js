// What a marker would find in the stored history, before it is uploaded.

import { html, useState } from "../vendor/vendor.js";
import { href } from "./address.js";
import { Refused, preview } from "./api.js";
import { RefusedState, zoneOf } from "./card.js";
import { counted, moment, number } from "./format.js";

/** @import { Address, Card } from "./types.js" */

const EXAMPLE = `asked_twice:
  at_least_once:
    - seq:
        - intent: nlu_fallback
        - intent: nlu_fallback
`;
/** Where the browser keeps the definitions that were typed. */
const KEY = "turnmill-marker-draft";

/** @param {{ card: Card, address: Address }} props */
export function MarkerPreview({ card, address }) {
  const [text, setText] = useState(() => localStorage.getItem(KEY) ?? EXAMPLE);
  const [state, setState] = useState(/** @type {{ asking: boolean, found: any, refused: Refused | null }} */ ({ asking: false, found: null, refused: null }));
  const zone = zoneOf(address);
  const typed = (/** @type {any} */ event) => {
    localStorage.setItem(KEY, event.target.value);
    setText(event.target.value);
  };
  const ask = async (/** @type {Event | null} */ event) => {
    event?.preventDefault();
    setState({ ...state, asking: true });
    try {
      setState({ asking: false, found: await preview(text), refused: null });
    } catch (error) {
      setState({ asking: false, found: null, refused: error instanceof Refused ? error : new Refused("failed", String(error)) });
    }
  };
  const { asking, found, refused } = state;
  return html`<section class=${`card span-${card.span}`} data-card=${card.id} aria-labelledby=${`card-${card.id}`} data-ready=${asking ? undefined : "yes"}>
    <header><div><h2 id=${`card-${card.id}`}>${card.title}</h2><p class="line">what it would find in the stored history; nothing is written</p></div></header>
    <form class="draft" onSubmit=${ask}>
      <label class="field" for="marker-draft">Definition, as in a marker file</label>
      <textarea id="marker-draft" rows="8" spellcheck=${false} value=${text} onInput=${typed}></textarea>
      <button class="button strong" disabled=${asking}>${asking ? "Reading the history \u2026" : "Preview"}</button>
    </form>
    <div class="body" aria-live="polite">
      ${refused?.kind === "invalid" ? html`<pre class="bad" role="alert">${refused.message}</pre>` : refused && html`<${RefusedState} refused=${refused} again=${() => ask(null)} />`}
      ${found && html`<p class="muted">${found.complete ? "In all" : "Up to the time limit, in"} ${counted(found.senders, "user")}, ${counted(found.sessions, "session")} and ${counted(found.events, "event")}:</p>
        <div class="scroll" tabIndex="0" role="region" aria-label="Results"><table class="lined">
          <thead><tr><th>Marker</th><th class="num">Times</th><th class="num">Sessions</th><th class="num">Users</th><th>For example</th></tr></thead>
          <tbody>${found.markers.map((/** @type {any} */ marker) => html`<tr key=${marker.name}>
            <td class="foreign">${marker.name}</td><td class="num" data-name="results">${number(marker.results, "count")}</td><td class="num">${number(marker.sessions, "count")}</td><td class="num">${number(marker.senders, "count")}</td>
            <td>${marker.samples.map((/** @type {any} */ sample, /** @type {number} */ at) => html`${at > 0 && ", "}<a href=${href({ page: "conversations", session: sample.session_id, event: sample.event_id, filters: {} })}>${moment(sample.timestamp, zone)}</a>`)}</td></tr>`)}</tbody>
        </table></div>
        <p class="more muted">Save the definition in a file, then <code>turnmill markers upload</code> applies it to the store.</p>`}
    </div>
  </section>`;
}
