// One connection for all tabs of a browser.
import assert from "node:assert/strict";
import { test } from "node:test";

import { APP, Proxy, WS, api, connected, datas, jwtOf, leads, newDevice, open, profile, push, seen, state, tab, unique, until } from "./harness.mjs";

const sessionsOf = async (token) => (await api("GET", "/v1/connections")).connections.filter((one) => one.token === token);
const acknowledged = async (id) => (await api("GET", `/v1/messages/${id}`)).acknowledged;

/** Tabs of one profile with one device; the first leads. */
async function tabs(count, options = {}, how) {
  const { token, secret } = await newDevice();
  const context = await profile();
  const pages = [];
  for (let n = 0; n < count; n++) {
    const page = await open(await tab(context), { token, secret, ...options }, how);
    await (n ? connected : leads)(page);
    pages.push(page);
  }
  return { token, secret, context, pages };
}
const isThere = (page, data) => until(async () => (await datas(page)).includes(data), () => `${data} arrives`);

async function ended(page, code) {
  await until(async () => (await state(page)).state === "failed", () => `it ends with ${code}`);
  assert.equal(await page.evaluate(() => client.error.code), code);
}

test("two tabs have one connection, and both get every message once", async () => {
  const proxy = await Proxy.start();
  const { token, pages } = await tabs(2, { servers: proxy.url });
  const ids = [];
  for (let n = 0; n < 20; n++) ids.push((await push({ token }, n)).id);
  for (const page of pages) {
    await isThere(page, 19);
    assert.deepEqual(await datas(page), Array.from({ length: 20 }, (_, n) => n));
  }
  await until(async () => (await acknowledged(ids[19])) === 1);
  assert.deepEqual([proxy.connections, (await sessionsOf(token)).length], [1, 1]);
  const [first, second] = [await state(pages[0]), await state(pages[1])];
  assert.deepEqual([first.leader, second.leader], [true, false]);
  assert.deepEqual(first.session, second.session);
});

test("a tab that asks whether the connection is alive learns the answer, and no state that it knows", async () => {
  const { pages } = await tabs(2);
  const answeredAt = () => pages[1].evaluate(() => client.heartbeat?.answeredAt);
  const before = await until(answeredAt);
  const { states } = await seen(pages[1]);
  await pages[1].evaluate(() => client.check());
  await until(async () => (await answeredAt()) > before);
  await pages[1].evaluate(() => client.subscribe("anything")); // and what was asked before is answered before
  assert.deepEqual((await seen(pages[1])).states, states);
});

test("the other tabs' requests go over the same connection, refusals and all", async () => {
  const user = unique("ada");
  const context = await profile();
  const [first, second] = [await tab(context), await tab(context)];
  for (const page of [first, second]) await open(page, { jwt: jwtOf(user) });
  await connected(first);
  await connected(second);
  const follower = (await state(first)).leader ? second : first;
  const topic = unique("news");
  await follower.evaluate((name) => client.subscribe(name), topic);
  await push({ topic }, "both");
  for (const page of [first, second]) await isThere(page, "both");
  const sent = await follower.evaluate(() => client.send({ user: "ben" }, { text: "hi" }));
  assert.equal(sent.conversation, "user:ben");
  await isThere(first, "both");
  const refused = await follower.evaluate(() => client.subscribe("private.x").catch(({ name, code, refused, message }) => ({ name, code, refused, message })));
  assert.deepEqual([refused.name, refused.code, refused.refused], ["PushError", "not_allowed", true]);
  const list = await api("GET", `/v1/connections?user=${user}`);
  assert.equal(list.connections.length, 1);
});

test("the leader acknowledges when the first tab's handler has finished, whichever it is", async () => {
  const { token, secret, context, pages } = await tabs(1, {}, "never");
  const second = await open(await tab(context), { token, secret }, "finish");
  await connected(second);
  const { id } = await push({ token }, "once");
  for (const page of [pages[0], second]) await isThere(page, "once");
  await until(async () => (await acknowledged(id)) === 1);
});

test("when the leader's tab is closed another goes on; nothing is lost or doubled", async () => {
  const { token, pages } = await tabs(3);
  const total = 60;
  for (let n = 0; n < total; n++) {
    await push({ token }, n);
    if (n === 15) await pages[0].close();
    if (n === 35) await (await until(async () => ((await state(pages[1])).leader ? pages[1] : (await state(pages[2])).leader ? pages[2] : null))).close();
  }
  const left = pages.find((page) => !page.isClosed());
  await isThere(left, total - 1);
  assert.deepEqual((await datas(left)).toSorted((a, b) => a - b), Array.from({ length: total }, (_, n) => n));
  await leads(left);
  await until(async () => (await api("GET", `/v1/devices/${token}`)).backlog === 0);
});

test("close() in one tab ends only that tab", async () => {
  const { token, pages } = await tabs(2);
  await pages[0].evaluate(() => client.close());
  await leads(pages[1]);
  await push({ token }, "after");
  await isThere(pages[1], "after");
  assert.deepEqual([(await state(pages[0])).state, await datas(pages[0])], ["closed", []]);
  await pages[1].evaluate(() => client.close());
  await until(async () => (await sessionsOf(token)).length === 0);
});

test("a message that the closing leader had in hand is finished by the next", async () => {
  const { token, secret, context, pages } = await tabs(1, {}, "never");
  const second = await open(await tab(context), { token, secret }, "never");
  await connected(second);
  const { id } = await push({ token }, "in hand");
  for (const page of [pages[0], second]) await isThere(page, "in hand");
  await pages[0].close();
  const third = await open(await tab(context), { token, secret }, "finish");
  await until(async () => (await acknowledged(id)) === 1);
  await isThere(third, "in hand");
  assert.deepEqual(await datas(second), ["in hand"]);
});

test("a tab that slept reads what it missed from the leader, in order, and delays nobody", async () => {
  const { token, pages } = await tabs(2);
  await push({ token }, "before");
  await isThere(pages[1], "before");
  await pages[1].evaluate(() => dispatchEvent(new Event("pagehide")));
  for (let n = 0; n < 50; n++) await push({ token }, n);
  await isThere(pages[0], 49);
  await until(async () => (await api("GET", `/v1/devices/${token}`)).backlog === 0);
  assert.deepEqual(await datas(pages[1]), ["before"]);
  await pages[1].evaluate(() => dispatchEvent(new Event("pageshow")));
  await push({ token }, "after");
  await isThere(pages[1], "after");
  assert.deepEqual(await datas(pages[1]), ["before", ...Array.from({ length: 50 }, (_, n) => n), "after"]);
});

test("a tab that slept while more came than is kept is told so", async () => {
  const { token, pages } = await tabs(2);
  await push({ token }, "before");
  await isThere(pages[1], "before");
  await pages[1].evaluate(() => dispatchEvent(new Event("pagehide")));
  for (let batch = 0; batch < 5; batch++) {
    await api("POST", "/v1/push/batch", Array.from({ length: 50 }, (_, n) => ({ to: { token }, data: batch * 50 + n })));
    await isThere(pages[0], batch * 50 + 49);
  }
  await pages[1].evaluate(() => dispatchEvent(new Event("pageshow")));
  await isThere(pages[1], 249);
  const { messages } = await seen(pages[1]);
  assert.deepEqual([messages[1].kind, messages[1].stream], ["truncated", ""]);
  assert.deepEqual(messages.slice(2).map(({ data }) => data), Array.from({ length: 200 }, (_, n) => n + 50));
});

/** What the browser tells a page before it freezes it, and after. (Pages of these tests are never hidden, so none is.) */
const lifecycle = (page, name) => page.evaluate((type) => document.dispatchEvent(new Event(type)), name);

test("a leader that the browser freezes gives the lead to another at once, and reads what it missed when it wakes up", async () => {
  const { token, pages } = await tabs(2);
  const [frozen, other] = pages;
  await push({ token }, "before");
  for (const page of pages) await isThere(page, "before");
  await lifecycle(frozen, "freeze");
  await leads(other);
  await push({ token }, "meanwhile");
  await isThere(other, "meanwhile");
  await until(async () => (await api("GET", `/v1/devices/${token}`)).backlog === 0);
  assert.deepEqual(await datas(frozen), ["before"]);
  await lifecycle(frozen, "resume");
  await isThere(frozen, "meanwhile");
  await push({ token }, "after");
  for (const page of pages) {
    await isThere(page, "after");
    assert.deepEqual(await datas(page), ["before", "meanwhile", "after"]);
  }
  assert.equal((await sessionsOf(token)).length, 1);
});

test("a page that is alone says bye when it is frozen, and connects again when it wakes up", async () => {
  const { token, pages } = await tabs(1);
  await lifecycle(pages[0], "freeze");
  await until(async () => (await sessionsOf(token)).length === 0);
  await push({ token }, "meanwhile");
  await lifecycle(pages[0], "resume");
  await isThere(pages[0], "meanwhile");
  await connected(pages[0]);
});

test("a leader that does not answer loses the lead, and takes its place among the others afterwards", async () => {
  const { token, pages } = await tabs(2);
  // Until the other wakes it: a page that is busy still sees cookies.
  const asleep = pages[0].evaluate(() => {
    while (!document.cookie.includes("awake"));
  });
  await pages[1].evaluate(() => client.subscribe("anything"));
  await leads(pages[1]);
  await push({ token }, "meanwhile");
  await isThere(pages[1], "meanwhile");
  await pages[1].evaluate(() => (document.cookie = "awake=1"));
  await asleep;
  await until(async () => !(await state(pages[0])).leader);
  await connected(pages[0]);
  await push({ token }, "after");
  for (const page of pages) {
    await isThere(page, "after");
    assert.deepEqual(await datas(page), ["meanwhile", "after"]);
    assert.ok(!(await seen(page)).states.some(({ state }) => state === "failed"));
  }
  assert.equal((await sessionsOf(token)).length, 1);
});

test("what ends the client ends it in all tabs, and a tab opened later tries for itself", async () => {
  const { token, secret, context, pages } = await tabs(2);
  await until(async () => (await sessionsOf(token)).length === 1);
  await api("POST", `/v1/devices/${token}/kick`);
  for (const page of pages) await ended(page, "kicked");
  const third = await open(await tab(context), { token, secret });
  await leads(third);
});

/** In a tab, before its client: what the others tell it is read `ms` later, or (no `ms`) when it says `read()`. */
const readLate = (page, ms) =>
  page.evaluate((after) => {
    const held = [];
    window.read = () => held.splice(0).forEach((take) => take());
    window.BroadcastChannel = class extends BroadcastChannel {
      set onmessage(handler) {
        super.onmessage = (event) => {
          if (after !== null) setTimeout(() => handler(event), after);
          else window.late ? held.push(() => handler(event)) : handler(event);
        };
      }
    };
  }, ms ?? null);

test("a tab whose turn to lead comes before it has read that all is over does not connect again", async () => {
  const proxy = await Proxy.start();
  const { token, secret, context, pages } = await tabs(1, { servers: proxy.url });
  const second = await tab(context);
  await readLate(second, 300);
  await open(second, { token, secret, servers: proxy.url });
  await connected(second);
  await until(async () => (await sessionsOf(token)).length === 1);
  await api("POST", `/v1/devices/${token}/kick`);
  for (const page of [pages[0], second]) await ended(page, "kicked");
  assert.equal(proxy.connections, 1);
});

test("a tab that slept until its turn to lead ends all the same when it reads that all is over, and tells the others", async () => {
  const { token, secret, context, pages } = await tabs(1);
  const others = [await tab(context), await tab(context)];
  for (const page of others) {
    await readLate(page);
    await open(page, { token, secret });
    await connected(page);
    await page.evaluate(() => (window.late = true));
  }
  await until(async () => (await sessionsOf(token)).length === 1);
  await api("POST", `/v1/devices/${token}/kick`);
  await ended(pages[0], "kicked");
  await leads(others[0]);
  for (const page of others) await page.evaluate(() => read((window.late = false)));
  for (const page of others) await ended(page, "kicked");
});

test("a tab whose turn to register comes before it has read that another did takes that device", async () => {
  const context = await profile();
  const options = { servers: WS, key: APP, app: unique("app") };
  const pages = [await tab(context), await tab(context)];
  await readLate(pages[1], 300);
  const [first, second] = pages;
  const asked = (page) => page.evaluate(() => Boolean(window.keep));
  for (const page of pages) {
    // The application keeps the pair where other tabs do not see it.
    await page.evaluate((given) => void open_({ ...given, onCredentials: () => new Promise((resolve) => (window.keep = resolve)) }), options);
    await until(() => asked(first)); // so that it is the first that registers
  }
  await until(() => second.evaluate(async () => (await navigator.locks.query()).pending.length > 0));
  await first.evaluate(() => window.keep());
  for (const page of pages) await connected(page);
  assert.deepEqual((await state(second)).credentials, (await state(first)).credentials);
  assert.equal(await asked(second), false);
});

test("other identities, other servers and other names do not share", async () => {
  const context = await profile();
  const pages = [];
  for (let n = 0; n < 2; n++) {
    const { token, secret } = await newDevice();
    pages.push(await open(await tab(context), { token, secret }));
    await leads(pages[n]);
  }
  const { token, secret } = await newDevice();
  const named = await open(await tab(context), { token, secret, shared: "window 1" });
  await leads(named);
});

test("not shared, two tabs of a device take each other over", async () => {
  const { token, secret } = await newDevice();
  const context = await profile();
  const first = await open(await tab(context), { token, secret, shared: false });
  await connected(first);
  const second = await open(await tab(context), { token, secret, shared: false });
  await connected(second);
  await until(async () => (await state(first)).state === "failed");
  assert.equal(await first.evaluate(() => client.error.code), "taken_over");
});

test("tabs that register at once become one device, and keep it", async () => {
  const context = await profile();
  const options = { key: APP, app: unique("app") };
  const pages = await Promise.all([tab(context), tab(context), tab(context)]);
  await Promise.all(pages.map((page) => open(page, options)));
  for (const page of pages) await connected(page);
  const tokens = new Set();
  for (const page of pages) tokens.add((await state(page)).credentials.token);
  assert.equal(tokens.size, 1);
  const [token] = tokens;
  await push({ token }, "all");
  for (const page of pages) await isThere(page, "all");
  assert.equal((await sessionsOf(token)).length, 1);
  const later = await open(await tab(context), options);
  await connected(later);
  assert.equal((await state(later)).credentials.token, token);
});

test("tabs with another version of the client: the newer leads, the older waits", async () => {
  const { token, secret, context } = await tabs(1);
  const name = `push-universe ${WS} device ${token}`;
  const other = await tab(context);
  // What a newer leader would say, and then what nobody can read.
  await other.evaluate((channel) => {
    window.channel = new BroadcastChannel(channel);
    window.heard = [];
    window.channel.onmessage = ({ data }) => window.heard.push(data.v);
    window.channel.postMessage({ v: 99, t: "hi", from: "newer" });
    for (const junk of [null, 7, "x", {}, { v: 1 }, { v: 1, t: "here" }, { v: 1, t: "answer", n: 1 }]) window.channel.postMessage(junk);
  }, name);
  await until(() => other.evaluate(() => window.heard.includes(1)));
  const second = await open(await tab(context), { token, secret });
  await connected(second);
  await other.evaluate(() => window.channel.postMessage({ v: 99, t: "here", from: "newer" }));
  await until(async () => (await state(second)).state === "waiting");
  assert.match((await state(second)).detail, /newer version/);
});

for (const [what, forbid] of Object.entries({
  locks: () => {
    navigator.locks.request = async () => {
      throw new DOMException("denied", "SecurityError");
    };
  },
  channels: () => {
    window.BroadcastChannel = class {
      constructor() {
        throw new DOMException("denied", "SecurityError");
      }
    };
  },
})) {
  test(`a page whose browser forbids ${what} has a connection of its own`, async () => {
    const { token, secret } = await newDevice();
    const page = await tab(await profile());
    await page.evaluate(forbid);
    await open(page, { token, secret });
    await connected(page);
    await push({ token }, "here");
    await isThere(page, "here");
  });
}
