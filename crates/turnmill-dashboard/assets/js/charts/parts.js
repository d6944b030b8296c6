// What several charts are made of.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../../vendor/vendor.js";

/** Returns a reference for an element, and its width in pixels. @param {number} [first] */
export function useWidth(first = 0) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const [width, setWidth] = useState(first);
  useLayoutEffect(() => {
    const target = element.current;
    if (!target) return undefined;
    const measure = () => setWidth(Math.floor(target.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(target);
    return () => observer.disconnect();
  }, []);
  return /** @type {const} */ ([element, width]);
}

/** Whether the window is as narrow as a phone. */
export function useNarrow() {
  const query = "(max-width: 760px)";
  const [narrow, setNarrow] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const changed = () => setNarrow(list.matches);
    list.addEventListener("change", changed);
    return () => list.removeEventListener("change", changed);
  }, []);
  return narrow;
}

/**
 * The names of series in stacking order.
 * @param {{ items: { name: string, colour: string, dash?: boolean, stroke?: boolean }[] }} props
 */
export function Legend({ items }) {
  return html`<div class="legend">
    ${items.map((item) => html`<span key=${item.name}>
      <i class=${`${item.colour === "previous" ? "fill-previous" : `fill-${item.colour}`}${item.stroke ? " stroke" : ""}${item.dash ? " stroke dash" : ""}`}></i>
      <span class="name">${item.name}</span>
    </span>`)}
  </div>`;
}

/**
 * A horizontal bar, of which `share` (0 to 1) is filled. The width is set by script, which the
 * content security policy allows and an attribute would not be.
 * @param {{ share: number, colour?: string, ground?: boolean }} props
 */
export function Bar({ share, colour = "1", ground = false }) {
  return html`<div class=${`bar-track${ground ? " ground" : ""}`} aria-hidden="true">
    <div class=${`bar-fill fill-${colour}`} style=${{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }}></div>
  </div>`;
}
