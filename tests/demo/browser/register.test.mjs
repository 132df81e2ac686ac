import assert from "node:assert/strict";
import { test } from "node:test";
import { DEMO_URL, board, connected, fresh, here, shows, text, until, user, welcome } from "./pages.mjs";

const ask = (what, body) =>
  fetch(`${new URL(DEMO_URL).origin}/demo/api/${what}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

test("a page gets a token, a made-up name and a connector", async (t) => {
  const page = await board(t);
  assert.match(await user(page), /^demo-[a-z]+-[a-z]+(-\d+)?$/);
  assert.match(await text(page, "#token"), /^[0-9A-Z]{13}[0-9A-Z*~$=]$/);
  assert.match(await here(page), /^(east|west)$/);
  await until(async () => (await page.locator(".tile").count()) === 2, "both connectors");
});

test("a name that is taken or wrong is refused beside its field, and nothing else happens", async (t) => {
  const name = fresh("anna");
  await board(t, name);
  const page = await welcome(t);
  await page.fill("#name", name);
  await page.click("#start button");
  await shows(page, "#name-error", "taken");
  assert.ok(await page.locator("#board").isHidden());
  await page.fill("#name", "no_underscores");
  await page.click("#start button");
  await page.locator("#name:invalid").waitFor();
  assert.ok(await page.locator("#board").isHidden());
});

test("a reload goes on as the same device; starting over erases the user", async (t) => {
  const page = await board(t, fresh("anna"));
  const [before, token] = [await user(page), await text(page, "#token")];
  const { ticket } = JSON.parse(await page.evaluate(() => sessionStorage.getItem("demo-page")));
  await page.reload();
  await connected(page);
  assert.deepEqual([await user(page), await text(page, "#token")], [before, token]);
  await page.click("#leave");
  await page.locator("#welcome").waitFor();
  await until(async () => (await ask("state", { ticket })).status === 401, "the user has ended");
  await page.fill("#name", before.replace("demo-", ""));
  await page.click("#start button");
  await connected(page);
  assert.equal(await user(page), before);
  assert.notEqual(await text(page, "#token"), token);
});

test("a page whose time is over says so, and can begin again", async (t) => {
  const page = await board(t);
  const { ticket } = JSON.parse(await page.evaluate(() => sessionStorage.getItem("demo-page")));
  assert.equal((await ask("leave", { ticket })).status, 204);
  await shows(page, "#banner", "This demo user has ended");
  await page.locator("#welcome").waitFor();
  await page.click("#start button");
  await connected(page);
  await page.locator("#banner").waitFor({ state: "hidden" });
});

test("the heartbeat shows its interval, its last answer and its round trip", async (t) => {
  const page = await board(t);
  await page.click("#ping");
  await shows(page, "#trip", /\d ms/);
  await shows(page, "#interval", "10 s");
  await shows(page, "#answered", /just now|\d s ago/);
  await page.locator(".beat").first().waitFor();
  assert.match(await page.locator("#beats").getAttribute("aria-label"), /Round trips of the last \d+/);
});
