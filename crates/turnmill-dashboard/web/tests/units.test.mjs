// Tests of the modules that need no browser: `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";

const js = new URL("../../assets/js/", import.meta.url);
const { changed, href, parse, query } = await import(new URL("address.js", js));
const { change, duration, moment, number, share, timeOf } = await import(new URL("format.js", js));
const { csvCell } = await import(new URL("csv.js", js));

test("an address survives being taken apart and spelled", () => {
  const spelled = "/overview?v=1&from=2026-11-02&to=2026-11-30&tz=Europe%2FBerlin&by=day&vs=prev&channel=rest&channel=web&intent=";
  const url = new URL(spelled, "http://x");
  const address = parse(url.pathname, url.search, "");
  assert.equal(href(address), spelled);
  assert.deepEqual(address.filters.intent, [""], "the empty value is NULL");
});

test("the order of an address does not matter, and unknown parts are told", () => {
  const one = parse("/overview", "?channel=web&by=day&channel=rest&colour=blue&v=7", "");
  assert.equal(query(one.filters), "by=day&channel=rest&channel=web");
  assert.deepEqual(one.unknown, ["colour", "v=7"]);
});

test("a conversation has its session and event in the address", () => {
  const address = parse("/conversations/a%2Fb", "?v=1&text=x", "#e%201");
  assert.deepEqual([address.page, address.session, address.event], ["conversations", "a/b", "e 1"]);
  assert.equal(href(address), "/conversations/a%2Fb?v=1&text=x#e%201");
  assert.equal(href({ page: "overview", filters: address.filters }), "/overview?v=1", "filters of the list stay with it");
});

test("filters are changed and removed", () => {
  assert.deepEqual(changed({ by: ["day"], channel: ["web"] }, { by: null, channel: ["b", "a"], vs: "prev" }), { channel: ["a", "b"], vs: ["prev"] });
});

test("numbers have the digits that people read", () => {
  const spelled = [[0.0087, "8.7 ms"], [0.32, "320 ms"], [1.05, "1.05 s"], [12.3, "12 s"], [59.7, "1 min"], [152, "2 min 32 s"], [3600, "1 h"], [90_000, "1 d 1 h"], [0, "0 s"]];
  for (const [seconds, text] of spelled) assert.equal(duration(seconds), text);
  assert.equal(number(1075, "count"), "1,075");
  assert.equal(number(96.318, "percent"), "96.3\u202f%");
  assert.equal(number(-4.52, "points"), "\u22124.5\u202fpp");
  assert.equal(number(null, "percent"), "none");
  assert.equal(share(0.2), "<1\u202f%");
});

test("a change is told by percent or points, and small ones are none", () => {
  assert.deepEqual(change({ value: 314 }, { value: 222 }, "count", "up"), { arrow: "\u25b2", words: "up", text: "41\u202f%", tone: "good" });
  assert.equal(change({ value: 19.3 }, { value: 18.1 }, "percent", "down").tone, "bad");
  assert.equal(change({ value: 101 }, { value: 100 }, "count", "up").tone, "");
  assert.equal(change({ value: 1 }, { value: 0 }, "count", "up"), null);
});

test("times of the API are UTC", () => {
  assert.equal(timeOf("2026-11-22 01:46:23.268698").toISOString(), "2026-11-22T01:46:23.268Z");
  assert.equal(moment("2026-11-22 01:46:23.268698", "Europe/Berlin"), "22 Nov, 02:46");
});

test("a text is never a formula in a spreadsheet", () => {
  assert.equal(csvCell("=1+1"), `"'=1+1"`);
  for (const text of ["+1", "-1", "@a", "\tx"]) assert.match(csvCell(text), /^"'/);
  assert.equal(csvCell(-1), "-1");
  assert.equal(csvCell('a "b", c'), '"a ""b"", c"');
  assert.equal(csvCell("plain"), "plain");
});

test("steps of a funnel keep their order, other lists are sorted", () => {
  const address = parse("/paths", "?step=intent:b&step=intent:a&channel=b&channel=a", "");
  assert.deepEqual([address.filters.step, address.filters.channel], [["intent:b", "intent:a"], ["a", "b"]]);
  assert.deepEqual(changed(address.filters, { step: ["slot:z", "intent:a"] }).step, ["slot:z", "intent:a"]);
});

test("missed messages become training data", async () => {
  const { nluYaml } = await import(new URL("nlu.js", js));
  const yaml = nluYaml([
    { text: "where is\nmy parcel", intent: "track" },
    { text: "where is my parcel", intent: "track" },
    { text: "- [it](size) is ]{big}", intent: "choose size: 1" },
    { text: "\u0000\ud800", intent: "track" },
    { text: "nothing chosen", intent: "" },
  ]);
  assert.equal(yaml, `version: "3.1"
nlu:
- intent: "choose size: 1"
  examples: |
    - - [it] (size) is ] {big}

- intent: track
  examples: |
    - where is my parcel
`);
  assert.equal(nluYaml([]), 'version: "3.1"\nnlu: []\n');
});
