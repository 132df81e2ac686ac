// A page: the network is lost, the page is hidden, left, shown again, closed; a phone beside it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { HTTP, Proxy, SITE, WS, api, assertAccessible, connected, datas, files, jwtOf, newDevice, open, profile, push, screenshot, seen, state, tab, unique, until } from "./harness.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const sessionsOf = async (token) => (await api("GET", "/v1/connections")).connections.filter((one) => one.token === token);
const isThere = (page, data) => until(async () => (await datas(page)).includes(data), () => `${data} arrives`);

/** A page with a client of a new device, behind a proxy. */
async function page(options = {}) {
  const { token, secret } = await newDevice();
  const proxy = await Proxy.start();
  const made = await open(await tab(await profile()), { token, secret, servers: proxy.url, ...options });
  await connected(made);
  return { page: made, proxy, token, secret };
}

test("a push arrives under a strict policy, with nothing that it refuses", async () => {
  const { page: here, token } = await page();
  await push({ token }, { text: "hello" });
  await until(async () => (await datas(here)).length);
  assert.deepEqual(await datas(here), [{ text: "hello" }]);
  assert.equal(await here.evaluate(() => document.contentType), "text/html");
});

test("the network is lost: what was pushed meanwhile arrives once, in order", async () => {
  const { page: here, proxy, token } = await page();
  await push({ token }, 0);
  await isThere(here, 0);
  proxy.refuse();
  proxy.cut();
  await until(async () => (await state(here)).session === null);
  for (const n of [1, 2, 3]) await push({ token }, n);
  proxy.refuse(false);
  await isThere(here, 3);
  assert.deepEqual(await datas(here), [0, 1, 2, 3]);
});

test("offline and online again: the connection is made anew at once", async () => {
  const { page: here, token } = await page();
  await here.context().setOffline(true); // open sockets stall
  await push({ token }, "meanwhile");
  await here.context().setOffline(false);
  await isThere(here, "meanwhile");
});

for (const [name, wake] of Object.entries({
  "is shown again": () => show(false),
  "is resumed": () => document.dispatchEvent(new Event("resume")),
  "comes back": () => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })),
  "is online again": () => dispatchEvent(new Event("online")),
})) {
  test(`a page that ${name} notices within 3 s that nobody is there any more`, async () => {
    const { page: here, proxy, token } = await page();
    await here.evaluate(() => show(true));
    proxy.stall();
    await push({ token }, "meanwhile");
    if (name !== "is shown again") await here.evaluate(() => delete document.visibilityState);
    await here.evaluate(wake);
    await until(async () => (await state(here)).session === null);
    assert.ok((await seen(here)).states.some(({ detail }) => detail.includes("no answer to a PING within 3 s")));
    proxy.stall(false);
    await isThere(here, "meanwhile");
  });
}

test("a page that wakes up to a connection that lives keeps it", async () => {
  const { page: here, proxy, token } = await page();
  const { session } = (await state(here)).session;
  const beats = () => here.evaluate(() => client.heartbeat.answeredAt);
  const before = await until(beats);
  for (const name of ["pageshow", "online"]) await here.evaluate((event) => dispatchEvent(new Event(event)), name);
  await here.evaluate(() => show(false));
  await until(async () => (await beats()) > before);
  await push({ token }, "still");
  await isThere(here, "still");
  assert.deepEqual([(await state(here)).session.session, proxy.connections], [session, 1]);
});

test("a hidden page asks for a heartbeat that its timers can keep, and for the old one when it is shown", async () => {
  const { page: here, proxy } = await page({ heartbeat: 5 });
  const interval = () => here.evaluate(() => client.heartbeat.interval);
  await until(async () => (await interval()) === 5);
  await here.evaluate(() => show(true));
  await until(async () => (await interval()) === 120);
  await here.evaluate(() => show(false));
  await until(async () => (await interval()) === 5);
  assert.equal(proxy.connections, 1);
});

test("a page that is left says bye, and reads on when it is back", async () => {
  const { page: here, token, proxy } = await page();
  await push({ token }, 1);
  await isThere(here, 1);
  await here.evaluate(() => dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  await until(async () => (await sessionsOf(token)).length === 0);
  assert.deepEqual([(await state(here)).state, proxy.connections], ["waiting", 1]);
  await push({ token }, 2);
  await here.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await isThere(here, 2);
  assert.deepEqual(await datas(here), [1, 2]);
});

test("after close() no event of the page brings it back", async () => {
  const { page: here, token, proxy } = await page();
  await here.evaluate(() => client.close());
  await here.evaluate(() => {
    for (const name of ["online", "pagehide", "pageshow", "focus"]) dispatchEvent(new Event(name));
    show(true);
    show(false);
    client.check();
  });
  await push({ token }, "late");
  await until(() => proxy.open === 0);
  const other = await open(await tab(here.context()), { token, secret: "wrong", servers: proxy.url, shared: false });
  await until(async () => (await state(other)).state === "failed"); // and meanwhile nothing came
  assert.deepEqual([(await state(here)).state, await datas(here), proxy.connections], ["closed", [], 2]);
});

test("with listen: false the page's events do nothing", async () => {
  const { page: here, token, proxy } = await page({ listen: false });
  await here.evaluate(() => {
    dispatchEvent(new Event("pagehide"));
    show(true);
  });
  await push({ token }, "still");
  await isThere(here, "still");
  assert.equal(proxy.connections, 1);
});

test("a reloaded page goes on where the last one was, also as a user without a device", async () => {
  const user = unique("ada");
  const context = await profile();
  const here = await open(await tab(context), { jwt: jwtOf(user) });
  await connected(here);
  await push({ user }, 1);
  await isThere(here, 1);
  await until(() => here.evaluate(() => JSON.stringify(localStorage)).then((text) => text.includes(`user:${user}`)));
  await here.goto("about:blank");
  await until(async () => (await api("GET", `/v1/connections?user=${user}`)).connections.length === 0);
  await push({ user }, 2);
  const back = await open(await tab(context), { jwt: jwtOf(user) });
  await isThere(back, 2);
  assert.deepEqual(await datas(back), [2]);
});

test("localStorage that is forbidden is done without", async () => {
  const context = await profile();
  const here = Object.assign(await context.newPage(), { isAlone: true }); // the script stays with it
  await here.addInitScript(() => {
    Object.defineProperty(window, "localStorage", {
      get() {
        throw new DOMException("denied", "SecurityError");
      },
    });
  });
  await here.goto(`${SITE}/test.html`);
  await here.waitForFunction(() => window.ready);
  const user = unique("ada");
  await open(here, { jwt: jwtOf(user) });
  await connected(here);
  await push({ user }, 1);
  await isThere(here, 1);
});

test("a group message between two pages, and to a phone", async () => {
  const names = [unique("ada"), unique("ben"), unique("eve")];
  const contexts = [await profile(), await profile(), await profile(PHONE)];
  const pages = [];
  for (const [n, context] of contexts.entries()) {
    pages.push(await open(await tab(context), { jwt: jwtOf(names[n]) }));
    await connected(pages[n]);
  }
  const group = await pages[0].evaluate(async (members) => (await client.createGroup("Friends", members)).group, names.slice(1));
  await pages[1].evaluate((id) => client.group(id).send({ text: "hello all" }), group);
  for (const here of pages) {
    const { raw } = await until(async () => (await seen(here)).messages.find(({ kind }) => kind === "chat"));
    assert.deepEqual([raw.from, raw.conversation, raw.data], [names[1], `group:${group}`, { text: "hello all" }]);
  }
  await pages[2].evaluate((id) => client.group(id).markRead(1), group);
  const read = ({ kind, raw }) => kind === "receipt" && raw.user === names[2] && raw.read === 1;
  await until(async () => (await seen(pages[0])).messages.some(read));
});

// --- The page of docs/javascript.md ---

const GUIDE = readFileSync(new URL("../../../docs/javascript.md", import.meta.url), "utf8");
/** A file of the guide: the block after the line that names it. */
const fileOf = (name) => new RegExp(`\`${name}\`:\\n\\n\`\`\`\\w+\\n(.*?)\`\`\``, "s").exec(GUIDE)[1];

for (const [name, options] of Object.entries({ desktop: {}, phone: PHONE, dark: { colorScheme: "dark" } })) {
  test(`the page of the guide works, reads well and is accessible: ${name}`, async () => {
    const { token, secret } = await newDevice();
    files.set("/page.html", ["text/html", fileOf("page.html")]);
    files.set("/page.css", ["text/css", fileOf("page.css")]);
    const script = fileOf("page.js");
    for (const text of ["wss://push.example/ws", "TOKEN", "SECRET"]) assert.ok(script.includes(text), text);
    files.set("/page.js", ["text/javascript", script.replace("wss://push.example/ws", WS).replace("TOKEN", token).replace("SECRET", secret)]);
    const here = await tab(await profile(options), "/page.html");
    await here.getByText("Connected").waitFor();
    for (const title of ["Parcel 17 is on its way", "It is at the door"]) await push({ token }, { text: title }, { title });
    await here.getByText("It is at the door").first().waitFor();
    assert.equal(await here.getByRole("listitem").count(), 2);
    await assertAccessible(here);
    const overflow = await here.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0);
    await screenshot(here, `javascript-guide-${name}`);
  });
}
