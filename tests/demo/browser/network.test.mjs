import assert from "node:assert/strict";
import { test } from "node:test";
import { board, connected, here, push, shows, text, until } from "./pages.mjs";

test("a drained connector sends the page to the other, and is started again", async (t) => {
  const page = await board(t);
  await page.locator("#drain:enabled").waitFor();
  const from = await here(page);
  const gone = shows(page, ".tile-gone", from); // it is so for some seconds only
  await page.click("#drain");
  await shows(page, "#move", `Moved from ${from} to `);
  await connected(page);
  const to = await until(async () => {
    const now = await here(page);
    return now !== from && now;
  }, "the page shows the other connector");
  await gone;
  await push(page);
  await page.locator("#inbox .inbox-acked").first().waitFor();
  await shows(page, `.tile:has-text("${from}")`, "Running");
  await page.locator("#drain:enabled").waitFor();
  await page.click("#drain");
  await shows(page, "#move", `Moved from ${to} to ${from}`);
});

for (const how of ["cut", "silent"]) {
  test(`what was pushed while the network was ${how} is caught up, in order, each once`, async (t) => {
    const page = await board(t);
    await page.locator(`#network label:has([value="${how}"])`).click();
    await page.selectOption("#seconds", "15");
    // Stored, and not delivered: the funnel of a push that came meanwhile.
    const waiting = page.waitForFunction(
      () => {
        const counts = [...document.querySelectorAll(".step-count")].map((step) => step.textContent);
        return /waits for 1 device/.test(document.querySelector("#funnel-note")?.textContent ?? "") && counts;
      },
      null,
      { polling: 100 }, // and not with every picture, for seconds
    );
    await page.click("#cut");
    await shows(page, "#outage-text", /Cut for \d+ more seconds/);
    const [addressed, stored, , acknowledged] = await (await waiting).jsonValue();
    assert.deepEqual([addressed, stored, acknowledged], ["1", "1", "0"]);
    await page.locator("#result.result-good").waitFor();
    assert.match(await text(page, "#result"), /Caught up: 5 of 5 messages.*in order, each once/);
    await connected(page);
    const meanwhile = page.locator("#inbox li", { hasText: "while the network was cut" });
    await until(async () => (await meanwhile.locator(".inbox-acked").count()) === 5, "all five acknowledged");
    assert.equal(await meanwhile.count(), 5);
    if (how === "cut") assert.equal(await meanwhile.locator(".inbox-caught").count(), 5);
    await shows(page, "#funnel-note", "the device has acknowledged it");
  });
}

test("a network that is cut leaves other pages alone", async (t) => {
  const one = await board(t);
  const other = await board(t);
  await one.selectOption("#seconds", "15");
  await one.click("#cut");
  await one.locator("#connection.pill-warn").waitFor();
  await push(other);
  await other.locator("#inbox .inbox-acked").waitFor();
  await shows(one, "#outage-text", "Cut for");
});
