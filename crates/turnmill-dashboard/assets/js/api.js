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
  const url = urlOf(path, query);
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

/** @param {string} path @param {string} query */
function urlOf(path, query) {
  return `/api/v1/${path}${query ? `?${query}` : ""}`;
}

/** Asks the API, whatever it answered before. @param {string} path @param {string} query */
export function askAgain(path, query) {
  answers.delete(urlOf(path, query));
  return ask(path, query);
}

/** Forgets all answers, so that the store is asked again. */
export function forget() {
  answers.clear();
}

/** Requests without a response yet. */
let pending = 0;

/** Waits until every request has its response, those that components are about to send as well. */
export async function settled() {
  do await new Promise((done) => setTimeout(done, 100));
  while (pending > 0);
}

let loggedIn = false;

/** Whether this browser has logged in, and so can log out. */
export function hasSession() {
  return loggedIn;
}

/**
 * Asks what the store's history holds, for markers that are not uploaded.
 * @param {string} markers Definitions in YAML.
 */
export function preview(markers) {
  return fetched("/api/v1/markers/preview", { method: "POST", headers: { "content-type": "application/yaml" }, body: markers });
}

/** @param {string} url @param {RequestInit} [init] */
async function fetched(url, init = {}) {
  /** @type {Response} */
  let response;
  pending += 1;
  try {
    response = await fetch(url, { ...init, headers: { accept: "application/json", ...init.headers } });
  } catch {
    throw new Refused("offline", "turnmill does not answer. It may have been stopped.");
  } finally {
    pending -= 1;
  }
  // The session of this browser has ended. The log-in page leads back here.
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  loggedIn = response.headers.get("turnmill-session") === "cookie";
  const body = await response.json().catch(() => null);
  const error = body?.error;
  if (response.ok && body !== null && !error) return body;
  if (error) throw new Refused(error.kind, error.message, error);
  throw new Refused("failed", `turnmill answered with status ${response.status}.`);
}
