/** Every screen with real data: accessible, within its window, complete in both languages. Pictures are kept. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NAMES as N, PHONE, WIDE, api, open, overflow, screenshot, serious, shows, signInPage, signedIn } from "./console.mjs";

const WORDS = JSON.parse(readFileSync(new URL("../../../../push/web/console/en.json", import.meta.url)));
const [hook] = (await api("GET", "/v1/webhooks")).webhooks;
await api("POST", `/v1/webhooks/${hook.id}/test`);
const SCREENS = {
  overview: "", live: "live", connections: "connections", nodes: "nodes", send: `send?kind=token&value=${N.phone}`,
  messages: "messages", message: `messages/${N.offline}?user=anna`, dropped: `messages/${N.too_large}?token=${N.small}`,
  topic_message: `messages/${N.topic}?token=${N.tablet}`, no_message: "messages/0000000000000",
  devices: "devices", device: `devices/${N.tablet}`, device_online: `devices/${N.phone}`, no_device: `devices/${N.phone.slice(0, 13)}`,
  users: "users", user: "users/anna", nobody: "users/nobody", topics: "topics", topic: "topics/news",
  groups: "groups", group: `groups/${N.group}`, bans: "bans", webhooks: "webhooks", webhook: `webhooks/${hook.id}`, keys: "keys", audit: "audit",
  settings: "settings", find: "find?q=anna", nothing: "find?q=nothing-is-called-so", about: "about", nowhere: "nowhere",
};
// All pairs of width, theme and language in four rows; the first two see every screen, the others some.
const LOOKS = [
  ["wide", "light", "en", Object.keys(SCREENS)],
  ["phone", "dark", "zh", Object.keys(SCREENS)],
  ["wide", "dark", "zh", ["overview", "message", "send", "device", "group"]],
  ["phone", "light", "en", ["overview", "message", "send", "device", "connections", "nodes"]],
];

for (const [width, colorScheme, language, names] of LOOKS) {
  const options = { viewport: width === "wide" ? WIDE : PHONE, colorScheme, locale: { en: "en-US", zh: "zh-CN" }[language], reducedMotion: "reduce" };

  test(`the sign-in: ${width}, ${colorScheme}, ${language}`, async (t) => {
    const page = await signInPage(t, options);
    assert.deepEqual(await serious(page), []);
    assert.ok((await overflow(page)) <= 0);
    await screenshot(page, `sign-in-${width}-${colorScheme}-${language}`);
  });

  test(`every screen: ${width}, ${colorScheme}, ${language}`, async (t) => {
    const page = await signedIn(t, "", options);
    const html = page.locator("html");
    assert.equal(await html.getAttribute("lang"), { en: "en", zh: "zh-Hans" }[language]);
    assert.equal(await html.getAttribute("data-theme"), colorScheme);
    for (const name of names) {
      await t.test(name, async () => {
        await open(page, SCREENS[name]);
        if (name === "overview") await page.locator(".chart canvas").last().waitFor();
        await screenshot(page, `${name}-${width}-${colorScheme}-${language}`);
        assert.deepEqual(await serious(page), []);
        assert.ok((await overflow(page)) <= 0, "wider than the window");
        const said = await page.evaluate(() => document.querySelector("main").innerText);
        const keys = said.split(/[\s,;()]+/).filter((word) => word.includes(".") && word in WORDS);
        assert.deepEqual(keys, [], "keys instead of texts");
        assert.ok(!/undefined|null|NaN|\[object/.test(said), said);
        assert.equal(await page.locator("h1").count(), 1);
        assert.match(await page.title(), /· push-universe$/);
      });
    }
  });
}

test("with the menu of a phone", async (t) => {
  const page = await signedIn(t, "", { viewport: PHONE });
  const menu = (isOpen) => page.locator(`.menu[aria-expanded="${isOpen}"]`);
  await menu(false).click();
  await menu(true).waitFor();
  assert.deepEqual(await serious(page), []);
  await screenshot(page, "menu-phone-light-en");
  await page.locator("#nav").getByRole("link", { name: "Nodes" }).click();
  await shows(page, "h1", "Nodes");
  await menu(false).waitFor();
});

test("the acts of a node stay within its card, however narrow the window and long the addresses", async (t) => {
  const page = await signedIn(t, "", { viewport: { width: 1200, height: 900 } });
  await page.route("**/v1/nodes", async (route) => {
    const answer = await route.fetch();
    const body = await answer.json();
    for (const each of body.nodes) {
      each.zone = "eu-central-1a";
      each.addresses = Object.fromEntries(["tls", "wss", "tcp", "ws"].map((name) => [name, `${name}://connector-1.eu.example.com:18443`]));
    }
    await route.fulfill({ response: answer, json: body });
  });
  await open(page, "nodes");
  await shows(page, ".table", "connector-1");
  for (const width of [1200, 1081, 960, 881]) {
    await page.setViewportSize({ width, height: 900 });
    const act = page.locator("main .card .table .end button").first();
    await act.scrollIntoViewIfNeeded(); // of a narrow card, which scrolls
    const [button, card] = await Promise.all([act.boundingBox(), page.locator("main .card").boundingBox()]);
    assert.ok(button.x + button.width <= card.x + card.width, `${width} px`);
    assert.ok((await overflow(page)) <= 0, `${width} px: wider than the window`);
  }
});
