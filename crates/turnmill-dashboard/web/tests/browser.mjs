// Opens the dashboard in Chromium and compares what it shows with what its API answers.
//
// Usage: node browser.mjs ADDRESS CHROMIUM [SCREENSHOTS]
//
// Every page is opened at 1440 px, the overview also on a phone and in the dark theme. With a folder
// for screenshots, every page is opened at three widths and in both themes, and the numbers of every
// card are compared. TURNMILL_PACKAGES names the folder that `scripts/dashboard packages` prints.
// TURNMILL_SLOW is the URL of a PostgreSQL store, of which a table is locked for a while.
// TURNMILL_PID ends the server at the end. Exits with 1 and a list of findings if there are any.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const [, , base, executablePath, screenshots] = process.argv;
const js = new URL("../../assets/js/", import.meta.url);
const { describe, read } = await import(new URL("answer.js", js));
const { cell, tables } = await import(new URL("tables.js", js));
const require = createRequire(`${process.env.TURNMILL_PACKAGES}/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core");

/** @type {string[]} */
const findings = [];
// Printed at once, so that an interrupted run has told what it found.
const find = (what) => {
  findings.push(what);
  console.log(what);
};
const equal = (shown, expected, what) => {
  if (JSON.stringify(shown) !== JSON.stringify(expected)) find(`${what}: shown ${JSON.stringify(shown)}, expected ${JSON.stringify(expected)}`);
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** Opens a page that reports everything it must not do. */
async function open(path, { width = 1440, theme = "light", expected = [], wait = true } = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme, acceptDownloads: true });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (!expected.some((text) => message.text().includes(text))) find(`${path}: console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => find(`${path}: ${error.stack}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("blob:")) find(`${path}: request of ${request.url()}`);
  });
  await page.goto(base + path);
  if (wait) await ready(page);
  return page;
}

/** Waits until every card has its answer. */
async function ready(page) {
  await page.waitForSelector("h1");
  await page.waitForFunction(() => {
    const cards = [...document.querySelectorAll("[data-card]")];
    return !document.querySelector("[aria-busy=true]") && cards.every((card) => card.hasAttribute("data-ready") || card.querySelector(".state, .bad"));
  }, undefined, { timeout: 30_000 });
}

async function api(path) {
  const response = await fetch(`${base}/api/v1/${path}`);
  return response.json();
}

/** The number that a text shows, and half a unit of its last digit. */
function numberOf(text) {
  const clean = text.replaceAll(",", "").replaceAll("\u2212", "-").trim();
  const found = clean.match(/-?\d+(?:\.(\d+))?/);
  if (!found) return { value: null, half: 0 };
  const scale = / ms$/.test(clean) ? 0.001 : 1;
  return { value: Number(found[0]) * scale, half: (scale * 0.5) / 10 ** (found[1]?.length ?? 0) + 1e-12 };
}

function shows(text, value, what) {
  if (value === null || value === undefined) return equal(text.trim(), "none", what);
  const shown = numberOf(text);
  if (shown.value === null || Math.abs(shown.value - value) > shown.half) find(`${what}: shown "${text}", the API has ${value}`);
}

const metrics = new Map(describe(await api("metrics")).metrics.map((metric) => [metric.id, metric]));

// The numbers at the top of the overview.
{
  const page = await open("/overview?v=1");
  for (const figure of await page.locator(".figure").all()) {
    const id = await figure.getAttribute("data-metric");
    const answer = await api(`metrics/${id}`);
    const big = figure.locator(".big");
    const name = await big.getAttribute("data-name");
    const value = answer.values[name];
    if (!value) find(`${id}: the API has no ${name}`);
    else if (value.small) equal(await big.textContent(), value.d ? `${value.n} of ${value.d}` : "none", id);
    else shows(await big.textContent(), value.value, `overview: ${id} ${name}`);
  }
  equal(await page.locator(".figure").count() >= 3, true, "numbers at the top");

  // Bars: every name, and its number.
  for (const [card, id, column] of [["channels", "R4_channels", "sessions"], ["intents", "R6_top_intents", "messages"]]) {
    if (!metrics.has(id)) continue;
    const answer = await api(`metrics/${id}`);
    const at = answer.columns.indexOf(column);
    const cells = await page.locator(`[data-card=${card}] td[data-name]`).evaluateAll((all) => all.map((cell) => [cell.dataset.name, cell.textContent]));
    equal(cells.map(([name]) => name), answer.rows.slice(0, cells.length).map((row) => String(row[0])), `overview: names of ${card}`);
    cells.forEach(([name, text], index) => shows(text, answer.rows[index]?.[at], `overview: ${card} ${name}`));
    equal(cells.length > 2, true, `overview: rows of ${card}`);
  }

  // The ways to end.
  const endings = await api("metrics/three_ways_to_end");
  for (const ending of ["finished", "abandoned", "escalated"]) {
    shows(await page.locator(`[data-card=endings] [data-name=${ending}]`).textContent(), endings.values[ending].value, `overview: ${ending}`);
  }

  // Columns over time: the table form has every number of the API.
  await page.click("[data-card=sessions] [aria-label^=Table]");
  const bucket = await page.locator("[data-card=sessions] h3").allTextContents();
  equal(bucket.includes("Over time"), true, "overview: table form of sessions");
  const by = await page.evaluate(() => document.querySelector(".top")?.textContent?.match(/by (hour|day|week|month|5 minutes)/)?.[1]);
  const names = { hour: "1h", day: "day", week: "week", month: "month", "5 minutes": "5min" };
  const series = (await api(`metrics/R4_channels?by=${names[by]}`)).series;
  const shown = await page.locator("[data-card=sessions] .scroll").last().locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("td")].slice(1).map((cell) => cell.textContent)));
  equal(shown.length, series[0].points.length, "overview: buckets of sessions");
  shown.forEach((row, at) => row.forEach((text, line) => shows(text, series[line].points[at].value, `overview: sessions ${series[line].group ?? "all"} at ${series[line].points[at].from}`)));

  // Links: a mark leads to the conversations that it counts, and back leads back.
  const before = page.url();
  const marks = [
    ["[data-card=channels] a", "[data-card=channels] td[data-name]"],
    ["[data-card=endings] [data-name=abandoned]", "[data-card=endings] [data-name=abandoned]"],
    ["[data-card=week] td:not(.heat-0) a", "[data-card=week] td:not(.heat-0) a"],
  ];
  for (const [mark, count] of marks) {
    const expected = numberOf(await page.locator(count).first().textContent()).value;
    await page.locator(mark).first().click();
    await page.waitForURL(/\/conversations\?/);
    await ready(page);
    shows(await page.locator("[data-name=total]").textContent(), expected, `conversations of ${mark}`);
    equal(await page.locator("table.list tbody tr").count(), Math.min(50, expected), `rows of ${mark}`);
    await page.goBack();
    await ready(page);
    equal(page.url(), before, "the address after going back");
  }
  await page.goForward();
  await page.waitForURL(/\/conversations\?/);
  await page.goBack();
  await ready(page);

  // A filter: chosen in its menu it changes the numbers, and survives a reload.
  await page.click('button:has-text("Channel: all")');
  await page.click(".pop .choice >> nth=0");
  await page.waitForURL(/channel=/);
  await page.keyboard.press("Escape");
  const channel = new URL(page.url()).searchParams.get("channel");
  for (const reload of [false, true]) {
    if (reload) await page.reload();
    await ready(page);
    const filtered = await api(`metrics/R1_conversations?channel=${encodeURIComponent(channel ?? "")}`);
    shows(await page.locator("[data-metric=R1_conversations] .big").textContent(), filtered.values.conversations?.value ?? Object.values(filtered.values)[0].value, `conversations of ${channel}`);
  }
  await page.click('a:has-text("Clear filters")');
  await page.waitForURL((url) => !url.searchParams.has("channel"));
  await ready(page);
  const rectangle = page.locator("[data-card=sessions] .chart a").nth(3);
  const target = await rectangle.getAttribute("href");
  const [line, at] = await rectangle.locator("rect").evaluate((rect) => [Number(rect.dataset.line), Number(rect.dataset.at)]);
  const groups = series.filter((each) => "group" in each);
  const inside = await api(`conversations?${new URL(target, base).searchParams.toString().replace("v=1&", "")}&limit=1`);
  equal(inside.total, groups[line].points[at].value, `conversations of the column ${target}`);

  // The keyboard reads a chart.
  const table = page.locator("[data-card=sessions] [aria-label^=Table]");
  if ((await table.getAttribute("aria-expanded")) === "true") await table.click();
  await page.locator("[data-card=sessions] .chart").focus();
  await page.keyboard.press("End");
  const aloud = await page.locator("[data-card=sessions] [aria-live]").textContent();
  equal(/Total \d+/.test(aloud ?? ""), true, `what the chart says at its end: ${aloud}`);

  // Files: each holds the numbers of its card.
  await page.click("[data-card=channels] [aria-label^=Export]");
  const saved = async (/** @type {string} */ button) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[data-card=channels] .exports >> text="${button}"`)]);
    return readFile(await download.path());
  };
  const channels = await api("metrics/R4_channels");
  const csv = String(await saved("CSV"));
  for (const row of channels.rows) if (!csv.includes(`${row[0] ?? ""},${row[1]},`)) find(`channels.csv has no ${row[0]}: ${csv}`);
  equal(JSON.parse(String(await saved("JSON"))).rows, channels.rows, "channels.json");
  const drawing = String(await saved("SVG"));
  equal(drawing.startsWith("<svg") && drawing.includes(">rest<"), true, "channels.svg");
  equal((await saved("PNG")).subarray(1, 4).toString(), "PNG", "channels.png");
  await page.context().close();
}

// A conversation: every turn with its texts, which are text.
{
  const page = await open("/conversations?v=1&order=turns");
  await page.locator("table.list a").first().click();
  await page.waitForSelector("[data-card=conversation]");
  const session = decodeURIComponent(new URL(page.url()).pathname.split("/")[2]);
  const conversation = await api(`conversations/${session}`);
  const said = await page.locator(".said .bubble").allTextContents();
  equal(said, conversation.turns.filter((turn) => turn.event_id).map((turn) => turn.text ?? "no text"), "what the user said");
  const answered = await page.locator(".answers .bubble").allTextContents();
  equal(answered, conversation.turns.flatMap((turn) => turn.events.filter((event) => event.kind === "bot").map((event) => event.text ?? "no text")), "what the assistant said");
  equal(conversation.session.turns, said.length, "turns of the conversation");
  await page.keyboard.press("j");
  equal(await page.evaluate(() => document.activeElement?.id?.startsWith("turn-")), true, "j goes to a turn");
  await page.keyboard.press("]");
  await page.waitForFunction((old) => !location.pathname.includes(old), session);
  // Markup in a text stays text.
  const markup = await api("conversations?text=%3Cscript&limit=1");
  if (markup.total > 0) {
    await page.goto(`${base}/conversations/${markup.conversations[0].session_id}?v=1`);
    await page.waitForSelector("[data-card=conversation]");
    equal(await page.locator("main script").count(), 0, "scripts in a conversation");
    equal((await page.locator(".said").allTextContents()).some((text) => text.includes("<script")), true, "markup is shown");
  }
  await page.context().close();
}

// The events of the history, and why the conversation began.
{
  const list = await api("conversations?order=turns&limit=1");
  const session = list.conversations[0].session_id;
  const page = await open(`/conversations/${session}?v=1`);
  equal((await page.locator(".why").first().textContent())?.includes("Why it began here."), true, "why it began");
  const whole = await api(`conversations/${session}`);
  await page.click('button:has-text("All events")');
  await page.waitForSelector(".raw");
  equal(await page.locator(".raw details").count(), whole.events, "events of the history");
  await page.context().close();
}

// Missed messages: an intent that is chosen is in the training data, also after a reload.
{
  const page = await open("/missed?v=1");
  const row = page.locator("table.review tbody tr").first();
  const text = (await row.locator("a").textContent()) ?? "";
  await row.locator("input").fill("affirm");
  await row.locator("input").blur();
  await page.reload();
  await ready(page);
  const [file] = await Promise.all([page.waitForEvent("download"), page.click('button:has-text("nlu.yml")')]);
  equal(String(await readFile(await file.path())), `version: "3.1"\nnlu:\n- intent: affirm\n  examples: |\n    - ${text}\n`, "nlu.yml");
  await row.locator("select").selectOption("ignored");
  equal(await page.locator('button:has-text("ignored 1")').count(), 1, "the number of ignored messages");
  await page.context().close();
}

// Preview of a marker: what the API finds, and what is wrong with a definition.
{
  const page = await open("/markers?v=1", { expected: ["400"] });
  const definition = "understood_nothing:\n  intent: nlu_fallback\n";
  await page.fill("#marker-draft", definition);
  await page.click('button:has-text("Preview")');
  await page.waitForSelector("[data-card=preview] [data-name=results]", { timeout: 60_000 });
  const response = await fetch(`${base}/api/v1/markers/preview`, { method: "POST", headers: { "content-type": "application/yaml" }, body: definition });
  const found = await response.json();
  // A slow machine may reach the time limit, at another sender each time.
  if (found.complete && (await page.locator("[data-card=preview] .body").textContent())?.startsWith("In all")) {
    shows(await page.locator("[data-card=preview] [data-name=results]").textContent(), found.markers[0].results, "results of the preview");
  }
  equal(found.markers[0].results > 0, true, "the preview finds something");
  await page.fill("#marker-draft", "wrong:\n  intnet: nlu_fallback\n");
  await page.click('button:has-text("Preview")');
  await page.waitForSelector("[data-card=preview] [role=alert]");
  equal((await page.locator("[data-card=preview] [role=alert]").textContent())?.includes("intent"), true, "what is wrong with a marker");
  await page.context().close();
}

/** Compares the table form of every card of a page with the API's answer to the same question. */
async function compareCards(page, name) {
  for (const card of await page.locator("[data-question]").all()) {
    const [id, question, metric] = await Promise.all(["data-card", "data-question", "data-metric"].map((key) => card.getAttribute(key)));
    const raw = await api(`metrics/${metric}?${question}`);
    if (raw.error) continue;
    await card.locator("[aria-label^=Table]").click();
    await card.locator("h3.sub").first().waitFor().catch(() => undefined);
    const shown = await card.locator(".scroll table").evaluateAll((all) => all.map((table) => [...table.querySelectorAll("tbody tr")].map((row) => [...row.cells].map((each) => each.textContent))));
    const answer = read(raw);
    const expected = tables(answer).map((table) => table.rows.map((row, place) => row.map((value, at) => {
      const unit = table.columns[at].unit === "ratio" ? (table.units?.[place] ?? "ratio") : table.columns[at].unit;
      return cell(value, unit, "UTC", answer.series?.bucket);
    })));
    equal(shown, expected, `/${name}: the table of ${id}`);
    await card.locator("[aria-label^=Table]").click();
  }
}

// Every page: no message, no request elsewhere, no scrolling
// sideways, and no finding of axe-core.
const pages = ["overview", "conversations", "intents", "paths", "response-time", "missed", "forms", "ends", "users", "markers", "releases", "policies", "quality"];
const everywhere = [[1440, "light"], [1440, "dark"], [768, "light"], [390, "light"], [390, "dark"]];
for (const name of pages) {
  for (const [width, theme] of screenshots ? everywhere : name === "overview" ? [[1440, "light"], [390, "dark"]] : [[1440, "light"]]) {
    const page = await open(`/${name}?v=1&last=28d&vs=prev`, { width, theme });
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (sideways > 0) find(`/${name} at ${width}: scrolls sideways by ${sideways} px`);
    if (width !== 768) {
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
      for (const violation of violations) find(`/${name} at ${width}, ${theme}: ${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
    }
    if (screenshots && width === 1440 && theme === "light") await compareCards(page, name);
    if (screenshots) await page.screenshot({ path: `${screenshots}/${name}-${width}-${theme}.png`, fullPage: true });
    await page.context().close();
  }
}

// A range without events, and an address with parts that are unknown.
{
  const page = await open("/overview?v=1&from=2001-01-01&to=2001-02-01&colour=blue");
  equal((await page.locator(".notice").textContent())?.includes("colour"), true, "unknown parts are told");
  equal(await page.locator(".state").count() > 2, true, "cards without events say so");
  await page.click("[data-card=sessions] .state a");
  await ready(page);
  equal(await page.locator("[data-card=sessions] .chart").count(), 1, "the range with events is offered");
  await page.context().close();
}

// A slow question: its card says that it waits, then that it took too long; the others stand.
if (process.env.TURNMILL_SLOW) {
  // The lock lasts as long as the input of psql is open.
  const lock = spawn("psql", ["-qAt", process.env.TURNMILL_SLOW]);
  lock.stdin.write("BEGIN; LOCK TABLE rasa_user_message IN ACCESS EXCLUSIVE MODE;\n\\! echo locked\n");
  await new Promise((done) => lock.stdout.once("data", done));
  const page = await open("/overview?v=1", { expected: ["504", "503"], wait: false });
  await page.waitForSelector("text=Asking the store");
  await page.waitForSelector("[data-metric=R1_conversations][data-ready]", { timeout: 60_000 });
  await page.waitForSelector(".card.refused", { timeout: 60_000 });
  equal((await page.locator(".card.refused").first().textContent())?.includes("did not answer within"), true, "a slow question names its limit");
  lock.stdin.end();
  await new Promise((done) => lock.once("exit", done));
  for (const again of await page.locator('.card.refused button:has-text("Try again")').all()) await again.click().catch(() => undefined);
  await page.waitForFunction(() => !document.querySelector(".card.refused"), undefined, { timeout: 60_000 });
  await page.context().close();
}

// The server goes away: cards that ask then say so.
if (process.env.TURNMILL_PID) {
  const page = await open("/overview?v=1", { expected: ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"] });
  process.kill(Number(process.env.TURNMILL_PID));
  await page.click('nav a:has-text("Users")');
  await page.waitForSelector(".card.refused");
  equal((await page.locator(".card.refused").first().textContent())?.includes("turnmill does not answer"), true, "cards say that the server is away");
  await page.context().close();
}

await browser.close();
process.exit(findings.length > 0 ? 1 : 0);
