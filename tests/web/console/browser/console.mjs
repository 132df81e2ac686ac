/** The console in headless Chromium. Whatever a policy forbids, a script throws or the console prints fails the test. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";

export const { CONSOLE_URL: URL_, CONSOLE_KEY: KEY, CONSOLE_APP_KEY: APP_KEY } = process.env;
export const NAMES = JSON.parse(process.env.CONSOLE_NAMES);
export const WIDE = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };
const DEADLINE_MS = 120_000;
const SCREENSHOTS = process.env.CONSOLE_SCREENSHOTS;

const require = createRequire(`${process.env.CONSOLE_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
const AXE = require("axe-core").source;

const browser = await chromium.launch({ executablePath: process.env.CONSOLE_CHROMIUM, args: ["--no-sandbox", "--process-per-site"] });
after(() => browser.close());
mkdirSync(SCREENSHOTS, { recursive: true });

/** Browser profiles by their options. The tests share them: what is kept for one tab another does not see. */
const profiles = new Map();
/** Tabs that the test before left signed in, by their options: to open a tab costs more than most of what the tests do. */
const signedInTabs = new Map();

/** A profile with a page that stays: whatever is opened in it later needs no new process of the browser. */
async function newProfile(options) {
  const context = await browser.newContext({ viewport: WIDE, locale: "en-US", ...options });
  await (await context.newPage()).goto(`${URL_}/healthz`);
  return context;
}

async function newTab(options) {
  const name = JSON.stringify(options);
  if (!profiles.has(name)) profiles.set(name, newProfile(options));
  const context = await profiles.get(name);
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.stack));
  page.on("console", (message) => {
    // The browser notes each answer that is no success; whether the page says so is what the tests look at.
    const isNote = /^Failed to load resource: the server responded with a status of 4\d\d/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isNote) page.problems.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(URL_) && !request.url().startsWith("data:")) page.problems.push(`asked elsewhere: ${request.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  await page.goto(`${URL_}/`);
  await page.locator("#key").waitFor();
  return page;
}

/** Nothing was printed, thrown, forbidden or asked elsewhere until the end of the test. */
const assertClean = async (page) => assert.deepEqual([...page.problems, ...(await page.evaluate(() => window.violations))], []);

/** A tab of its own at the sign-in. `options`: of a context of Playwright. */
export async function signInPage(t, options = {}) {
  const page = await newTab(options);
  t.after(async () => {
    await assertClean(page);
    await page.close();
  });
  return page;
}

async function signIn(page, place, key) {
  await page.evaluate((text) => (location.hash = text), `#/${place}`);
  await page.fill("#key", key);
  await page.press("#key", "Enter");
  await page.locator("#nav").waitFor({ state: "attached" });
  await settled(page);
  return page;
}

/** A tab of its own that is signed in, at a place: for a test that leaves it otherwise than it was. */
export const signedInAlone = async (t, place = "", options = {}, key = KEY) => signIn(await signInPage(t, options), place, key);

/** A tab that is signed in as administrator, at a place. */
export async function signedIn(t, place = "", options = {}) {
  const name = JSON.stringify(options);
  let page = signedInTabs.get(name);
  signedInTabs.delete(name); // a test that fails does not give it back
  if (page) await open(page, place);
  else page = await signIn(await newTab(options), place, KEY);
  t.after(async () => {
    await assertClean(page);
    await page.unrouteAll();
    await open(page, "about"); // it asks for nothing
    signedInTabs.set(name, page);
  });
  return page;
}

/** Go to a place and wait until it has its data: until the screen before is gone, too. */
export async function open(page, place) {
  await page.evaluate(
    (text) =>
      new Promise((resolve) => {
        if (location.hash === text) return resolve();
        // The console draws the place first; what it then asks for begins after that picture.
        const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)));
        addEventListener("hashchange", drawn, { once: true });
        location.hash = text;
      }),
    `#/${place}`,
  );
  await settled(page);
}

export const settled = (page) =>
  page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("main .loading"));

/** What axe finds that is serious or critical. (The page's own policy forbids a script element, not the debugger.) */
export async function serious(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"], preload: false }));
  return found.violations
    .filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n")}`);
}

export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
export const screenshot = (page, name) => page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true, animations: "disabled" });
export const text = async (page, selector) => (await page.locator(selector).first().textContent()).replace(/\s+/g, " ").trim();
export const shows = (page, selector, wanted) => page.locator(selector, { hasText: wanted }).first().waitFor();
export const button = (page, name, within = "body") => page.locator(within).getByRole("button", { name });
/** The address has this end. An id's last character may be one that an address has as an escape: `$`, `=`. */
export const isAt = (page, end) => page.waitForFunction((wanted) => decodeURIComponent(location.hash).endsWith(wanted), end);
export const row = (page, wanted) => page.locator("tbody tr", { hasText: wanted }).first();

/** The server's own interface. */
export async function api(method, path, body, key = KEY) {
  const headers = { Authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  const answer = await fetch(URL_ + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const content = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${content}`);
  return content ? JSON.parse(content) : null;
}

/** A device that is registered and never connects. */
export async function newDevice(user) {
  const { token } = await api("POST", "/v1/devices", { platform: "android", app: "com.example.shop" }, APP_KEY);
  if (user) await api("PUT", `/v1/users/${user}/devices/${token}`);
  return token;
}

/** Wait for a condition in the test itself. */
export async function until(condition, what) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < deadline, `not within ${DEADLINE_MS / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const unique = (name) => `${name}-${Math.random().toString(36).slice(2, 8)}`;
