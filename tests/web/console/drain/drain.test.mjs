/** Draining a node of two: the question names it and the other one, and the screen shows how far it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { button, row, screenshot, serious, settled, shows, signedIn } from "../browser/console.mjs";

test("a node is drained, and its progress is shown until it is gone", async (t) => {
  const page = await signedIn(t, "nodes");
  await row(page, "two").waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].some((each) => /two/.test(each.innerText) && /\b60\b/.test(each.innerText)));
  await button(page, "Drain…", 'tbody tr:has-text("two")').click();
  await shows(page, "dialog[open]", "Drain two?");
  await shows(page, "dialog[open]", "other connectors (one)");
  await button(page, "Drain", "dialog[open]").click();
  await shows(page, ".drain", "two drains");
  const bar = page.locator(".drain progress");
  assert.equal(await bar.getAttribute("max"), "60");
  assert.deepEqual(await serious(page), []);
  await screenshot(page, "drain-wide-light-en");
  await shows(page, ".drain", "has been drained");
  await row(page, "two").waitFor({ state: "detached" });
  await settled(page);
});
