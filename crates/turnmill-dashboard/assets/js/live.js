// Refreshes the pages of a running service when its store has new events.

import { useEffect, useState } from "../vendor/vendor.js";
import { Refused, askAgain, settled } from "./api.js";
import { refresh } from "./use.js";

/** Least time between two looks at the store. */
const PAUSE = 10_000;
/** The pages ask for at most this part of the time, however slow the store is. */
const PART = 10;

/**
 * @typedef {{ on: boolean, away: string, toggle: () => void }} Live
 */

/**
 * Looks for new events while the page is visible, and then asks for every answer again.
 * @param {any} store The store as it was described first.
 * @param {(store: any) => void} changed
 * @returns {Live}
 */
export function useLive(store, changed) {
  const [on, setOn] = useState(true);
  const [away, setAway] = useState("");
  const isLive = store?.is_live === true;
  useEffect(() => {
    if (!isLive || !on) return undefined;
    let left = false;
    let known = mark(store);
    /** @type {number | undefined} */
    let timer;
    const look = async () => {
      const start = performance.now();
      if (!document.hidden) {
        try {
          const now = await askAgain("store", "");
          if (left) return;
          setAway("");
          changed(now);
          if (mark(now) !== known) {
            known = mark(now);
            refresh();
            await settled();
          }
        } catch (error) {
          if (!left) setAway(error instanceof Refused ? error.message : String(error));
        }
      }
      if (!left) timer = setTimeout(look, Math.max(PAUSE, PART * (performance.now() - start)));
    };
    timer = setTimeout(look, PAUSE);
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [isLive, on]);
  return { on, away, toggle: () => setOn(!on) };
}

/** What differs when there are new events. @param {any} store */
function mark(store) {
  return [store.newest, store.events, store.dead_letters].join(" ");
}
