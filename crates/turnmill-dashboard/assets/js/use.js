// Answers in components: asked when the question changes, with the old answer kept meanwhile.

import { useEffect, useState } from "../vendor/vendor.js";
import { Refused, ask, forget } from "./api.js";

/**
 * @template T
 * @typedef {{ answer: T | null, refused: Refused | null, loading: boolean, slow: boolean, again: () => void }} Asked
 */

/** How long a question may take before the page says that it waits. */
const SLOW = 300;

/** How often the answers were asked for again, because the store has new events. */
let refreshes = 0;
/** @type {Set<(count: number) => void>} */
const watchers = new Set();

/** Asks for every answer again. What is shown stays until the new answer is there. */
export function refresh() {
  forget();
  refreshes += 1;
  for (const watcher of watchers) watcher(refreshes);
}

function useRefreshes() {
  const [count, setCount] = useState(refreshes);
  useEffect(() => {
    watchers.add(setCount);
    return () => void watchers.delete(setCount);
  }, []);
  return count;
}

/**
 * @template T
 * @param {string | null} path Nothing is asked if it is null.
 * @param {string} query
 * @param {(raw: any) => T} read
 * @param {{ live?: boolean }} [how] Whether it is asked again when the store has new events.
 * @returns {Asked<T>}
 */
export function useAnswer(path, query, read, { live = true } = {}) {
  const [state, setState] = useState(/** @type {{ key: string, answer: T | null, refused: Refused | null }} */ ({ key: "", answer: null, refused: null }));
  const [round, setRound] = useState(0);
  const [slow, setSlow] = useState(false);
  const key = path === null ? "" : `${path}?${query}#${round}`;
  const fresh = useRefreshes();
  useEffect(() => {
    if (path === null) return undefined;
    let left = false;
    setSlow(false);
    const timer = setTimeout(() => !left && setSlow(true), SLOW);
    ask(path, query).then(read).then(
      (answer) => !left && setState({ key, answer, refused: null }),
      (error) => {
        if (left) return;
        const refused = error instanceof Refused ? error : new Refused("failed", String(error?.message ?? error));
        // A refresh that fails leaves what is shown: it is still true, and the next one may succeed.
        setState((old) => (old.key === key && old.answer !== null ? old : { key, answer: null, refused }));
      },
    ).finally(() => clearTimeout(timer));
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [key, live ? fresh : 0]);
  const loading = path !== null && state.key !== key;
  return { answer: state.answer, refused: loading ? null : state.refused, loading, slow: loading && slow, again: () => setRound(round + 1) };
}
