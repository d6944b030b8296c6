// Answers in components: asked when the question changes, with the old answer kept meanwhile.

import { useEffect, useState } from "../vendor/vendor.js";
import { Refused, ask } from "./api.js";

/**
 * @template T
 * @typedef {{ answer: T | null, refused: Refused | null, loading: boolean, slow: boolean, again: () => void }} Asked
 */

/** How long a question may take before the page says that it waits. */
const SLOW = 300;

/**
 * @template T
 * @param {string | null} path Nothing is asked if it is null.
 * @param {string} query
 * @param {(raw: any) => T} read
 * @returns {Asked<T>}
 */
export function useAnswer(path, query, read) {
  const [state, setState] = useState(/** @type {{ key: string, answer: T | null, refused: Refused | null }} */ ({ key: "", answer: null, refused: null }));
  const [round, setRound] = useState(0);
  const [slow, setSlow] = useState(false);
  const key = path === null ? "" : `${path}?${query}#${round}`;
  useEffect(() => {
    if (path === null) return undefined;
    let left = false;
    setSlow(false);
    const timer = setTimeout(() => !left && setSlow(true), SLOW);
    ask(path, query).then(read).then(
      (answer) => !left && setState({ key, answer, refused: null }),
      (error) => !left && setState({ key, answer: null, refused: error instanceof Refused ? error : new Refused("failed", String(error?.message ?? error)) }),
    ).finally(() => clearTimeout(timer));
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [key]);
  const loading = path !== null && state.key !== key;
  return { answer: state.answer, refused: loading ? null : state.refused, loading, slow: loading && slow, again: () => setRound(round + 1) };
}
