import assert from "node:assert/strict";
import { test } from "node:test";
import { PHONE, board, fresh, say, shows, text, until, user } from "./pages.mjs";

const bubble = (page, words) => page.locator(".bubble", { hasText: words });
const person = (page, name) => page.locator("button.person", { hasText: name });
const receipt = (page, words) => bubble(page, words).locator(".receipt");

test("a group message reaches two windows and a phone, with receipts", async (t) => {
  const anna = await board(t, fresh("anna"));
  const bob = await board(t, fresh("bob"));
  const carol = await board(t, fresh("carol"), { viewport: PHONE, hasTouch: true, isMobile: true });
  const words = fresh("hello");
  await say(anna, words);
  for (const page of [bob, carol]) {
    await bubble(page, words).waitFor();
    assert.equal(await bubble(page, words).locator(".bubble-from").textContent(), await user(anna));
  }
  await until(async () => /read by [2-9]/.test(await receipt(anna, words).textContent()), "both have read it");
  await say(carol, `${words}-back`);
  await bubble(anna, `${words}-back`).waitFor();
  await bubble(bob, `${words}-back`).waitFor();
  assert.equal(await bubble(anna, words).count(), 2);
});

test("a direct message is sent, delivered and then read; nobody else sees it", async (t) => {
  const anna = await board(t, fresh("anna"));
  const bob = await board(t, fresh("bob"));
  const carol = await board(t, fresh("carol"));
  await person(anna, await user(bob)).click();
  await say(anna, "between us");
  await until(async () => (await receipt(anna, "between us").textContent()) === "delivered", "delivered");
  const badge = person(bob, await user(anna)).locator(".unread");
  await until(async () => (await badge.textContent()) === "1", "one is unread");
  await person(bob, await user(anna)).click();
  await bubble(bob, "between us").waitFor();
  await until(async () => (await receipt(anna, "between us").textContent()) === "read", "read");
  await badge.waitFor({ state: "detached" });
  assert.equal(await bubble(carol, "between us").count(), 0);
});

test("typing shows, and ends with the message", async (t) => {
  const anna = await board(t, fresh("anna"));
  const bob = await board(t, fresh("bob"));
  await person(anna, await user(bob)).click();
  await person(bob, await user(anna)).click();
  const typing = shows(bob, "#typing", `${await user(anna)} is typing`);
  await anna.locator("#say-text").pressSequentially("I am typ");
  await typing;
  await anna.press("#say-text", "Enter");
  await bubble(bob, "I am typ").waitFor();
  await until(async () => (await text(bob, "#typing")) === "", "typing ends");
});

test("after a reload the history is there", async (t) => {
  const anna = await board(t, fresh("anna"));
  const words = fresh("history");
  await say(anna, words);
  await until(async () => (await receipt(anna, words).textContent()) !== "sending", "it was sent");
  await anna.reload();
  await bubble(anna, words).waitFor();
  assert.equal(await bubble(anna, words).count(), 1);
});
