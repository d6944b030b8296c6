// Icons of 16 pixels, as strokes.

import { html } from "../vendor/vendor.js";

/** @type {Record<string, string>} */
const PATHS = {
  overview: "M2 2h5v5H2zM9 2h5v3H9zM9 7h5v7H9zM2 9h5v5H2z",
  conversations: "M2 3h12v8H7l-3 3v-3H2z",
  intents: "M8 1v4M8 11v4M1 8h4M11 8h4M8 5a3 3 0 1 0 .01 0",
  paths: "M2 3c6 0 6 10 12 10M2 13c3 0 4-2 5-4M9 5c1-1 3-2 5-2",
  "response-time": "M8 2a6 6 0 1 0 .01 0M8 5v3l2 2",
  missed: "M3 3l10 10M13 3L3 13",
  forms: "M2 4h12v8H2zM5 8h3",
  ends: "M3 2v12M3 3h9l-2 3 2 3H3",
  users: "M6 7a2.5 2.5 0 1 0-.01 0M1.5 14c0-3 2-4.5 4.500-4.500S10.500 11 10.500 14M11 7.500a2 2 0 1 0 0-4M12 9.800c1.700.400 2.500 1.800 2.500 4.200",
  markers: "M4 14V2h8l-2 3 2 3H4",
  releases: "M8 1.500l5.500 3.200v6.600L8 14.500l-5.500-3.200V4.700z",
  policies: "M3 2h10v4H3zM3 10h10v4H3zM8 6v4",
  quality: "M1 8h3l2-5 3 10 2-5h4",
  info: "M8 2a6 6 0 1 0 .01 0M8 7.500v3.500M8 4.800v.400",
  table: "M2 3h12v10H2zM2 6.500h12M2 10h12M6.500 3v10",
  save: "M8 2v8M4.500 7L8 10.500 11.500 7M3 14h10",
  moon: "M13.500 9.500A6 6 0 0 1 6.500 2.500a6 6 0 1 0 7 7z",
  sun: "M8 5a3 3 0 1 0 .01 0M8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  menu: "M2 4h12M2 8h12M2 12h12",
  keys: "M1.500 4h13v8h-13zM4 7h.100M7 7h.100M10 7h.100M5 10h6",
};

/** @param {{ name: string }} props */
export function Icon({ name }) {
  return html`<svg viewBox="0 0 16 16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"><path d=${PATHS[name] ?? PATHS.info} /></svg>`;
}

/** The mark of turnmill. */
export function Mark() {
  return html`<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="10" class="fill-1" /><path d="M12 12V2a10 10 0 0 1 8.660 5z" fill="var(--panel)" /></svg>`;
}
