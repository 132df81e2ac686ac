import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { DEMO_KEY, board, fresh, funnel, push, shows, target, text, until, user } from "./pages.mjs";

const inbox = (page, words) => page.locator("#inbox li", { hasText: words });

async function pushed(page, to, words) {
  await target(page, to);
  await page.fill("#push-text", words);
  await push(page);
}

test("a push to this device arrives, is acknowledged, and fills the funnel", async (t) => {
  const page = await board(t);
  await pushed(page, "device", "To this very device");
  await shows(page, "#inbox li", "To this very device");
  await inbox(page, "To this very device").locator(".inbox-acked").waitFor();
  await shows(page, "#funnel-note", "the device has acknowledged it");
  await until(async () => (await funnel(page)).join(" ") === "1 1 1 1", "the funnel is full");
  assert.match(await text(page, "#inbox li .inbox-meta"), /to this device · id [0-9A-Z]{13}/);
});

test("a push to another user arrives at theirs alone", async (t) => {
  const one = await board(t, fresh("anna"));
  const other = await board(t, fresh("bob"));
  await target(one, "user");
  const name = await user(other);
  await one.locator(`#push-user option[value="${name}"]`).waitFor({ state: "attached" });
  await one.selectOption("#push-user", name);
  await one.fill("#push-text", "For Bob");
  await push(one);
  await shows(other, "#inbox li", "For Bob");
  await shows(one, "#funnel-note", "acknowledged");
  assert.equal(await inbox(one, "For Bob").count(), 0);
});

test("a topic reaches those who follow it", async (t) => {
  const page = await board(t);
  await pushed(page, "topic", "Nobody follows");
  await shows(page, "#funnel-note", /Nobody was addressed|acknowledged|waits/);
  await page.check("#follow");
  await shows(page, "#events li", "Following the topic");
  await pushed(page, "topic", "Now I do");
  await inbox(page, "Now I do").locator(".inbox-acked").waitFor();
  await page.uncheck("#follow");
  await shows(page, "#events li", "No longer following");
  await pushed(page, "topic", "Not any more");
  await pushed(page, "device", "After it");
  await inbox(page, "After it").waitFor();
  assert.equal(await inbox(page, "Not any more").count(), 0);
});

test("a push to everyone reaches every page, and the funnel counts them", async (t) => {
  const pages = [await board(t), await board(t), await board(t)];
  const words = fresh("everyone");
  await pushed(pages[0], "everyone", words);
  for (const page of pages) await inbox(page, words).locator(".inbox-acked").waitFor();
  await until(async () => {
    const counts = (await funnel(pages[0])).map(Number);
    return counts[0] >= 3 && counts[3] >= 3;
  }, "three acknowledged it");
});

test("the curl line does the same, with the key that the launcher shows", async (t) => {
  const page = await board(t);
  const words = "It's by curl: \"quoted\" $HOME";
  await page.fill("#push-text", words);
  await shows(page, "#curl", "by curl");
  const command = await text(page, "#curl");
  assert.ok(!command.includes(DEMO_KEY));
  execFileSync("sh", ["-c", `${command} -sf`], { env: { ...process.env, PUSH_KEY: DEMO_KEY } });
  await inbox(page, words).waitFor();
});

test("what somebody writes is shown as text", async (t) => {
  const page = await board(t);
  const words = "<img src=x onerror=alert(1)><b>bold</b>";
  await pushed(page, "device", words);
  await inbox(page, words).waitFor();
  assert.equal(await page.locator("#inbox img, #inbox b").count(), 0);
});
