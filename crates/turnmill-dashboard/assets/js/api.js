// Questions to the API.

/** Why there is no answer. `kind` is that of the API, or `offline` if the server is away. */
export class Refused extends Error {
  /**
   * @param {string} kind
   * @param {string} message
   * @param {{ command?: string, parameter?: string }} [rest]
   */
  constructor(kind, message, rest = {}) {
    super(message);
    this.kind = kind;
    this.command = rest.command;
    this.parameter = rest.parameter;
  }
}

/** Answers by their address, the one used last at the end. @type {Map<string, Promise<any>>} */
const answers = new Map();
const MAX_ANSWERS = 200;

/**
 * Asks the API, or returns the answer that it gave before.
 * @param {string} path
 * @param {string} query
 * @returns {Promise<any>}
 */
export function ask(path, query) {
  const url = `/api/v1/${path}${query ? `?${query}` : ""}`;
  const known = answers.get(url);
  answers.delete(url);
  const answer = known ?? fetched(url);
  answers.set(url, answer);
  // A refusal may be a matter of the moment, so the next one asks again.
  if (!known) answer.catch(() => answers.delete(url));
  for (const first of answers.keys()) {
    if (answers.size <= MAX_ANSWERS) break;
    answers.delete(first);
  }
  return answer;
}

/** Forgets all answers, so that the store is asked again. */
export function forget() {
  answers.clear();
}

/** @param {string} url */
async function fetched(url) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, { headers: { accept: "application/json" } });
  } catch {
    throw new Refused("offline", "turnmill does not answer. It may have been stopped.");
  }
  const body = await response.json().catch(() => null);
  const error = body?.error;
  if (response.ok && body !== null && !error) return body;
  if (error) throw new Refused(error.kind, error.message, error);
  throw new Refused("failed", `turnmill answered with status ${response.status}.`);
}
