// Chromium with pages of a site whose /push.js is the real server's, under a strict CSP.
import assert from "node:assert/strict";
import http from "node:http";
import { after, afterEach } from "node:test";

import { DEADLINE_MS, launch, serious } from "../chromium.mjs";
import { HTTP, WS, until } from "../live/server.mjs";

export { screenshot } from "../chromium.mjs";
export { APP, HTTP, Proxy, WS, api, jwtOf, newDevice, push, unique, until } from "../live/server.mjs";

const sources = `${HTTP} ws://127.0.0.1:*`; // the proxies of the tests, too
export const POLICY = `default-src 'none'; script-src 'self'; style-src 'self'; connect-src ${sources}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

const PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Test</title>
<script type="module" src="/test.js"></script></head><body><main><h1>Test</h1></main></body></html>`;

// What a page of the tests has: `open(options)` starts a client and keeps what came.
const SCRIPT = `import { PushClient } from "/push.js";
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective + " " + event.blockedURI));
window.PushClient = PushClient;
window.open_ = (options, handler = () => {}) => {
  const seen = { messages: [], states: [], errors: [], redirects: [] };
  const client = new PushClient({ random: () => 0.01, ...options });
  client.on("state", ({ state, detail, leader }) => seen.states.push({ state, detail, leader }));
  client.on("error", (error) => seen.errors.push(String(error)));
  client.on("redirect", (redirect) => seen.redirects.push(redirect));
  client.on("message", (message) => {
    seen.messages.push({ id: message.id, kind: message.kind, data: message.data, stream: message.stream, raw: message.raw });
    return handler(message);
  });
  return Object.assign(window, { seen, client: client.start() }).client;
};
window.show = (hidden) => {
  Object.defineProperty(document, "visibilityState", { value: hidden ? "hidden" : "visible", configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
window.ready = true;`;

/** What the site has beside /push*.js, by path: content type and text. */
export const files = new Map([
  ["/test.html", ["text/html", PAGE]],
  ["/test.js", ["text/javascript", SCRIPT]],
]);
// (Pages that the browser is made to believe in, by Playwright's routes, may not connect to loopback addresses.)
const site = http.createServer(async (request, response) => {
  response.setHeader("Content-Security-Policy", POLICY);
  const known = files.get(request.url);
  if (known) return response.setHeader("Content-Type", `${known[0]}; charset=utf-8`).end(known[1]);
  const module = await fetch(HTTP + request.url);
  response.writeHead(module.status, { "Content-Type": module.headers.get("Content-Type") });
  response.end(await module.text());
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
export const SITE = `http://127.0.0.1:${site.address().port}`;

const browser = await launch();
/** Browser profiles by their options. Each test has those that it takes to itself; they are made once, as their tabs: that costs the most. */
const unused = new Map();
const used = new Set();

/** A browser profile: its pages are tabs of one browser. */
export async function profile(options = {}) {
  const name = JSON.stringify(options);
  const context = unused.get(name)?.pop() ?? (await newProfile(name, options));
  used.add(context);
  return context;
}

async function newProfile(name, options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(DEADLINE_MS);
  Object.assign(context, { name, problems: [], blank: [] });
  context.on("page", (page) => {
    page.on("console", (message) => message.type() === "error" && context.problems.push(message.text()));
    page.on("pageerror", (error) => context.problems.push(String(error)));
  });
  return context;
}

/** A tab of a profile, with the page of the tests. */
export async function tab(context, path = "/test.html") {
  const page = context.blank.pop() ?? (await context.newPage());
  await page.goto(SITE + path);
  if (path === "/test.html") await page.waitForFunction(() => window.ready);
  return page;
}

/** Start a client in a tab. `how` is what its handler of messages does. */
export async function open(page, options, how = "finish") {
  await page.evaluate(
    ([given, way]) => {
      const handlers = { finish: () => {}, never: () => new Promise(() => {}) };
      window.open_(given, handlers[way]);
    },
    [{ servers: WS, ...options }, how],
  );
  return page;
}

export const state = (page) => page.evaluate(() => ({ state: client.state, leader: client.leader, detail: client.detail, session: client.session, server: client.server, credentials: client.credentials }));
export const seen = (page) => page.evaluate(() => window.seen);
export const datas = async (page) => (await seen(page)).messages.map(({ data }) => data);
export const connected = (page) => until(async () => (await state(page)).session !== null, () => page.url());
export const leads = (page) => until(async () => (await state(page)).leader && (await state(page)).session);

/** No finding of axe that is serious. */
export const assertAccessible = async (page) => assert.deepEqual(await serious(page), []);

/** At the end of each test its pages are left; nothing in their consoles, nothing that the policy refused. */
afterEach(async () => {
  const problems = [];
  for (const context of used) {
    for (const page of context.pages().filter((each) => !context.blank.includes(each))) {
      const refused = await page.evaluate(() => window.violations ?? []).catch(() => []);
      problems.push(...refused);
      if (page.isAlone) await page.close();
      else await page.goto("about:blank");
    }
    problems.push(...context.problems.splice(0).filter((text) => !/net::ERR_|WebSocket connection to|favicon/.test(text)));
    await leaveAsNew(context);
    unused.set(context.name, [...(unused.get(context.name) ?? []), context]);
  }
  used.clear();
  assert.deepEqual(problems, []);
});

/** A profile without what its pages have kept. */
async function leaveAsNew(context) {
  context.blank = context.pages();
  await context.clearCookies();
  const [page] = context.blank;
  if (!page) return;
  const session = await context.newCDPSession(page);
  await session.send("Storage.clearDataForOrigin", { origin: SITE, storageTypes: "local_storage" });
  await session.detach();
}
after(() => {
  site.close();
  site.closeAllConnections();
});
