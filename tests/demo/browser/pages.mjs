/** Pages of the demo in headless Chromium. Whatever a policy forbids, or a script throws, fails the test. */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";

export const { DEMO_URL, DEMO_KEY, DEMO_TOOLS, DEMO_CHROMIUM, DEMO_SCREENSHOTS } = process.env;
export const WIDE = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };
const DEADLINE_MS = 120_000;

const require = createRequire(`${DEMO_TOOLS}/package.json`);
const { chromium } = require("playwright-core");
export const axeSource = () => require("axe-core").source;

const browser = await chromium.launch({ executablePath: DEMO_CHROMIUM, args: ["--no-sandbox", "--process-per-site"] });
after(() => browser.close());
mkdirSync(DEMO_SCREENSHOTS, { recursive: true });

/** Browser profiles by their options, which cost more than their pages. They keep the language and the theme, and no user. */
const profiles = new Map();

/** A profile with a page that stays: whatever is opened in it later needs no new process of the browser. */
async function newProfile(options) {
  const context = await browser.newContext({ viewport: WIDE, locale: "en-US", ...options });
  await (await context.newPage()).goto(`${DEMO_URL}/main.js`);
  return context;
}

/** A window of its own at the welcome. `options`: of a context of Playwright. */
export async function welcome(t, options = {}) {
  const name = JSON.stringify(options);
  if (!profiles.has(name)) profiles.set(name, newProfile(options));
  const context = await profiles.get(name);
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.stack));
  page.on("console", (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) page.problems.push(message.text());
  });
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
    });
  });
  t.after(async () => {
    const violations = page.isClosed() ? [] : await page.evaluate(() => window.violations);
    await page.close();
    assert.deepEqual([...page.problems, ...violations], []);
  });
  await page.goto(DEMO_URL);
  await page.locator("#welcome").waitFor();
  return page;
}

/** A window whose page is registered and connected. `name` "": one is made up. */
export async function board(t, name = "", options = {}) {
  const page = await welcome(t, options);
  await page.fill("#name", name);
  await page.click("#start button");
  await connected(page);
  return page;
}

export const connected = (page) => page.locator("#connection.pill-good").waitFor();
export const text = async (page, selector) => (await page.locator(selector).textContent()).trim();
export const user = (page) => text(page, "#user");
export const push = (page) => page.click("#push button[type=submit]");
export const target = (page, value) => page.locator(`#push label:has([value="${value}"])`).click();

/** The node that the page is connected to, as its tile says. */
export const here = (page) => text(page, ".tile-here .tile-name");

/** Wait until the page shows a text in an element. */
export const shows = (page, selector, wanted) =>
  page.locator(selector, { hasText: wanted }).first().waitFor({ state: "attached" });

export async function say(page, words) {
  await page.fill("#say-text", words);
  await page.press("#say-text", "Enter");
}

/** The counts of the funnel: addressed, stored, written, acknowledged. */
export const funnel = (page) => page.locator(".step-count").allTextContents();

export const screenshot = (page, name) =>
  page.screenshot({ path: `${DEMO_SCREENSHOTS}/demo-${name}.png`, fullPage: true });

/** Names must be new: users of other tests may be there. */
export const fresh = (name) => `${name}-${Math.random().toString(36).slice(2, 8)}`;

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
