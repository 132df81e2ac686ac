/** Pages of the demo in headless Chromium. Whatever a policy forbids, or a script throws, fails the test. */

import assert from "node:assert/strict";
import { DEADLINE_MS, screenshot as keepPicture } from "../../web/chromium.mjs";
import { newTab } from "../../web/tabs.mjs";

export { serious } from "../../web/chromium.mjs";
export { PHONE, WIDE } from "../../web/tabs.mjs";
export const { DEMO_URL, DEMO_KEY } = process.env;

const LITTLE = `${DEMO_URL}/main.js`; // a page of the same site where nothing happens
/** Tabs that the tests before have left, by their options. Profiles keep the language and the theme, and no user. */
const tabs = new Map();

async function windowTab(options) {
  const page = await newTab(LITTLE, options);
  page.on("console", (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) page.problems.push(message.text());
  });
  return page;
}

/** A window of its own at the welcome. `options`: of a context of Playwright. */
export async function welcome(t, options = {}) {
  const name = JSON.stringify(options);
  const page = tabs.get(name)?.pop() ?? (await windowTab(options));
  t.after(async () => {
    assert.deepEqual([...page.problems, ...(await page.evaluate(() => window.violations))], []);
    await page.goto(LITTLE);
    await page.evaluate(() => sessionStorage.clear());
    tabs.set(name, [...(tabs.get(name) ?? []), page]); // one that has failed does not come back
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

export const screenshot = (page, name) => keepPicture(page, `demo-${name}`);

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
