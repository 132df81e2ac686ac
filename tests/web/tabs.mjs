/** Tabs of one headless Chromium, which all tests of a process of Node.js share: what costs the most in it is made once. */
import { DEADLINE_MS, launch } from "./chromium.mjs";

export const WIDE = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

const browser = await launch("--process-per-site");
/** Profiles of the browser by their options, each a process of it. */
const profiles = new Map();

/** A profile with a page that stays, at an address: whatever is opened in it later needs no new process. */
async function newProfile(address, options) {
  const context = await browser.newContext({ viewport: WIDE, locale: "en-US", ...options });
  context.setDefaultTimeout(DEADLINE_MS);
  await (await context.newPage()).goto(address);
  return context;
}

/**
 * A new tab. `options`: of a context of Playwright; tabs that differ only in what a tab can change by itself share a
 * profile, and what it keeps. `address`: of the same site, where little is loaded.
 */
export async function newTab(address, { viewport = WIDE, colorScheme = "light", reducedMotion = "no-preference", ...options } = {}) {
  const name = JSON.stringify(options);
  if (!profiles.has(name)) profiles.set(name, newProfile(address, options));
  const page = await (await profiles.get(name)).newPage();
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme, reducedMotion });
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.stack));
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  return page;
}
