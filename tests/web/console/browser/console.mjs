/** The console in headless Chromium. Whatever a policy forbids, a script throws or the console prints fails the test. */
import assert from "node:assert/strict";
import { DEADLINE_MS } from "../../chromium.mjs";
import { newTab } from "../../tabs.mjs";

export { screenshot, serious } from "../../chromium.mjs";
export { PHONE, WIDE } from "../../tabs.mjs";
export const { CONSOLE_URL: URL_, CONSOLE_KEY: KEY, CONSOLE_APP_KEY: APP_KEY } = process.env;
export const NAMES = JSON.parse(process.env.CONSOLE_NAMES);

/** Tabs that the test before left signed in, by their options: to open a tab costs more than most of what the tests do. */
const signedInTabs = new Map();

async function tabAtSignIn(options) {
  const page = await newTab(`${URL_}/healthz`, options);
  page.on("console", (message) => {
    // The browser notes each answer that is no success; whether the page says so is what the tests look at.
    const isNote = /^Failed to load resource: the server responded with a status of 4\d\d/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isNote) page.problems.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(URL_) && !request.url().startsWith("data:")) page.problems.push(`asked elsewhere: ${request.url()}`);
  });
  await page.goto(`${URL_}/`);
  await page.locator("#key").waitFor();
  return page;
}

/** Nothing was printed, thrown, forbidden or asked elsewhere until the end of the test. */
const assertClean = async (page) => assert.deepEqual([...page.problems, ...(await page.evaluate(() => window.violations))], []);

/** A tab of its own at the sign-in. `options`: of a context of Playwright. */
export async function signInPage(t, options = {}) {
  const page = await tabAtSignIn(options);
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
  else page = await signIn(await tabAtSignIn(options), place, KEY);
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

export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
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
