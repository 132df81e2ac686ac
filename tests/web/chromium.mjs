/** Headless Chromium without what tests do not look at, and what all its tests do with a page. */
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";

const { PUSH_WEB_TOOLS: TOOLS, PUSH_CHROMIUM: PROGRAM, PUSH_SCREENSHOTS: SCREENSHOTS } = process.env;
const require = createRequire(`${TOOLS}/package.json`);
const { chromium } = require("playwright-core");

const AXE = require("axe-core").source;
export const DEADLINE_MS = 120_000; // what is slow on a busy machine is no fault

// The last such option holds: those of Playwright that matter here, and the menus of the address bar, which are
// pages in a process of their own beside each window, and as dear as what is tested.
const DISABLED = [
  "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "HttpsFirstBalancedModeAutoEnable",
  "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints",
  "NetworkTimeServiceQuerying", "AimEnabled", "PreconnectToSearch", "LensOverlay",
  "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
];

/** The browser, until the tests have ended. */
export async function launch(...args) {
  const browser = await chromium.launch({
    executablePath: PROGRAM,
    args: ["--no-sandbox", "--disable-gpu", "--in-process-gpu", `--disable-features=${DISABLED}`, ...args],
  });
  after(() => browser.close());
  return browser;
}

/** A picture for whoever looks at it: PUSH_TEST_SCREENSHOTS=1 keeps them. */
export async function screenshot(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true, animations: "disabled" });
}

/** What axe finds that is serious or critical. (The page's own policy forbids a script element, not the debugger.) */
export async function serious(page) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"], preload: false });
    return violations // only these leave the page: all that axe says is much, and to send it takes as long as to find it
      .filter((each) => ["serious", "critical"].includes(each.impact))
      .map((each) => `${each.id}: ${each.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n")}`);
  });
}
