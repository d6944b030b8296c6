// Starts the dashboard: reads the address, shows its page, and follows links.

import { html, render, useEffect, useState } from "../vendor/vendor.js";
import { FILTERS, PAGES, href, parse, query } from "./address.js";
import { describe } from "./answer.js";
import { RefusedState } from "./card.js";
import { rank } from "./colours.js";
import { Conversation } from "./conversation.js";
import { Explorer } from "./explorer.js";
import { setDemo } from "./export.js";
import { followed, go } from "./go.js";
import { useLive } from "./live.js";
import { CARDS } from "./pages.js";
import { Page } from "./page.js";
import { FilterBar, Keys, Navigation, Title, useTheme } from "./shell.js";
import { setStore } from "./range.js";
import { useAnswer } from "./use.js";

/** @import { Address } from "./types.js" */

function here() {
  return parse(location.pathname, location.search, location.hash);
}

/** Takes what the store is. @param {any} store */
function described(store) {
  setDemo(store.is_demo === true);
  return setStore(store);
}

function App() {
  const [address, setAddress] = useState(here);
  const [menu, setMenu] = useState(false);
  const [keys, setKeys] = useState(false);
  const { theme, toggle } = useTheme();
  const asked = useAnswer("store", "", described, { live: false });
  const [newer, setNewer] = useState(/** @type {any} */ (null));
  const live = useLive(asked.answer, (now) => setNewer(described(now)));
  const store = { ...asked, answer: newer ?? asked.answer };
  const metrics = useAnswer("metrics", "", describe);
  const channels = useAnswer("values/channel", "", (raw) => {
    rank("channel", raw.values.map((/** @type {{ value: string | null }} */ each) => each.value));
    return raw;
  });

  useEffect(() => {
    const moved = () => setAddress(here());
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLSelectElement;
      if (event.key === "?" && !typing) setKeys(true);
    };
    addEventListener("popstate", moved);
    document.addEventListener("click", followed);
    document.addEventListener("keydown", pressed);
    return () => {
      removeEventListener("popstate", moved);
      document.removeEventListener("click", followed);
      document.removeEventListener("keydown", pressed);
    };
  }, []);
  // The first address is spelled as every other one is, so that a copy of it is complete.
  useEffect(() => {
    if (location.pathname === "/" && !location.search) go(href({ page: "overview", filters: { last: ["28d"], vs: ["prev"] } }), { replace: true });
    else if (location.pathname === "/" || !location.search) go(href(here()), { replace: true });
  }, []);

  const title = PAGES.find(([page]) => page === address.page)?.[1];
  return html`<div class=${`frame${menu ? " open" : ""}`}>
    <a class="skip" href="#content" onClick=${(/** @type {Event} */ event) => {
      event.preventDefault();
      document.getElementById("content")?.focus();
    }}>Skip to the numbers</a>
    <${Navigation} address=${address} store=${store.answer} close=${() => setMenu(false)} />
    <button class="scrim" type="button" aria-label="Close the list of pages" onClick=${() => setMenu(false)}></button>
    <div>
      <header><${FilterBar} address=${address} store=${store.answer} theme=${theme} toggleTheme=${toggle} openMenu=${() => setMenu(true)} openKeys=${() => setKeys(true)} /></header>
      <main class="content" id="content" tabIndex="-1">${store.refused
        ? html`<section class="card refused"><${RefusedState} refused=${store.refused} again=${store.again} /></section>`
        : (store.answer && metrics.answer && !channels.loading) && shown(address, title, store.answer, live)}</main>
    </div>
    ${keys && html`<${Keys} close=${() => setKeys(false)} />`}
  </div>`;
}

/** @param {Address} address @param {string | undefined} title @param {any} store @param {import("./live.js").Live} live */
function shown(address, title, store, live) {
  if (address.page === "conversations" && address.session) return html`<${Conversation} key=${address.session} address=${address} store=${store} />`;
  if (!title) return html`<${Title} title="No such page" address=${address} store=${store} live=${live} />`;
  return html`<div>
    <${Title} title=${title} address=${address} store=${store} live=${live} />
    ${CARDS[address.page] && html`<${Page} key=${address.page} cards=${CARDS[address.page]} address=${address} store=${store} />`}
    ${address.page === "conversations" && html`<${Explorer} key=${query(address.filters, FILTERS)} address=${address} store=${store} />`}
  </div>`;
}

const root = document.getElementById("app");
if (root) render(html`<${App} />`, root);
