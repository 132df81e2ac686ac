// Staying connected: losses, silence, ends for good, credentials, redirects to where the API says.
import assert from "node:assert/strict";
import { test } from "node:test";

import { APP, HTTP, Proxy, PushClient, WS, api, device, jwtOf, newDevice, push, start, unique, until } from "./server.mjs";

const states = (client) => client.states.map(({ state }) => state);
const sessionsOf = async (token) => (await api("GET", "/v1/connections")).connections.filter((one) => one.token === token);

/** A client of a new device behind a proxy. */
async function proxied(options, setUp) {
  const proxy = await Proxy.start();
  return [proxy, await device({ servers: proxy.url, ...options }, setUp)];
}

async function failed(client, code) {
  await until(() => client.state === "failed", () => `${client.state}: ${client.detail}`);
  assert.equal(client.error.code, code, client.error.message);
  await assert.rejects(client.connected(), (error) => error === client.error);
  await assert.rejects(client.subscribe("news"), (error) => error === client.error);
  await assert.rejects(client[Symbol.asyncIterator]().next(), (error) => error === client.error);
  assert.equal(client.session, null);
}

test("what a session is", async () => {
  const client = await device({ heartbeat: 77, window: 9 });
  const { session } = client;
  assert.deepEqual([session.heartbeat, session.window, session.user, session.truncated], [77, 9, null, []]);
  assert.deepEqual([client.state, client.server, client.leader, client.error], ["connected", WS, true, null]);
  assert.deepEqual(states(client), ["connecting", "connecting", "connected"]);
  await until(() => client.heartbeat.answeredAt);
  assert.equal(client.heartbeat.interval, 77);
  assert.ok(client.heartbeat.roundTripMs >= 0);
});

test("heartbeats go on, and are told", async () => {
  const beats = [];
  const client = await device({ heartbeat: 1 }, (made) => (made.on("heartbeat", (beat) => beats.push(beat)), undefined));
  await until(() => beats.length >= 3);
  assert.equal(beats[2].interval, client.heartbeat.interval);
});

test("a lost connection is made again, and what was pushed meanwhile arrives", async () => {
  const [proxy, client] = await proxied();
  proxy.refuse();
  proxy.cut();
  await until(() => client.state !== "connected");
  await push({ token: client.credentials.token }, "meanwhile");
  await until(() => proxy.connections > 3);
  proxy.refuse(false);
  await until(() => client.messages.length === 1);
  assert.ok(states(client).includes("waiting"));
});

test("check() finds out that nobody is there any more", async () => {
  const [proxy, client] = await proxied();
  const { session } = client.session;
  proxy.stall();
  client.check();
  await until(() => client.states.some(({ detail }) => /no answer to a PING within 3 s/.test(detail)));
  proxy.stall(false);
  await until(() => client.session && client.session.session !== session);
});

test("check() of a connection that lives changes nothing", async () => {
  const [proxy, client] = await proxied();
  const { answeredAt } = await until(() => client.heartbeat.answeredAt && client.heartbeat);
  client.check();
  client.check();
  await until(() => client.heartbeat.answeredAt > answeredAt);
  assert.equal(proxy.connections, 1);
});

test("silence is noticed by the heartbeat", async () => {
  const [proxy, client] = await proxied({ heartbeat: 1 });
  proxy.stall();
  await until(() => client.states.some(({ detail }) => /no answer to a PING/.test(detail)));
});

test("check() while it waits shortens the wait", async () => {
  const [proxy, client] = await proxied({ random: () => 1 });
  proxy.refuse();
  proxy.cut();
  // Full jitter at its most: 1, 2, 4, 8 … s. Nobody waits for the minute here.
  const before = proxy.connections;
  await until(() => (client.state === "waiting" && client.check(), proxy.connections > before + 6));
  proxy.refuse(false);
  await until(() => (client.check(), client.session));
});

test("never back after close(), and the server is told", async () => {
  const [proxy, client] = await proxied();
  const { token } = client.credentials;
  await client.close();
  assert.equal(client.state, "closed");
  await until(async () => (await sessionsOf(token)).length === 0);
  client.check();
  await push({ token }, "late");
  await until(() => proxy.open === 0);
  await assert.rejects(client.subscribe("news"), (error) => error.code === "closed");
  assert.deepEqual([proxy.connections, client.messages.length, client.state], [1, 0, "closed"]);
});

test("close() while it connects, waits, or asks for a JWT ends it, too", async () => {
  const proxy = await Proxy.start();
  proxy.stall();
  const pair = await newDevice();
  const connecting = start({ ...pair, servers: proxy.url });
  await until(() => proxy.connections === 1);
  await connecting.close();
  let answer;
  const asking = start({ servers: WS, jwt: () => new Promise((resolve) => (answer = resolve)) });
  await until(() => answer);
  await asking.close();
  answer(jwtOf(unique("ada")));
  const refusing = await Proxy.start();
  refusing.refuse();
  const waiting = start({ ...pair, servers: refusing.url, random: () => 1 });
  await until(() => waiting.state === "waiting");
  await waiting.close();
  proxy.stall(false);
  await until(() => proxy.open === 0);
  for (const client of [connecting, asking, waiting]) assert.equal(client.state, "closed");
  assert.equal((await sessionsOf(pair.token)).length, 0);
});

test("taken over by another client of the device: it stops", async () => {
  const [proxy, first] = await proxied();
  const second = start({ ...first.credentials });
  await failed(first, "taken_over");
  await second.connected();
  assert.equal(proxy.connections, 1);
});

test("kicked: it stops", async () => {
  const client = await device();
  const { token } = client.credentials;
  await until(async () => (await sessionsOf(token)).length === 1);
  await api("POST", `/v1/devices/${token}/kick`);
  await failed(client, "kicked");
});

test("banned for a while: it waits that long, and a page that is shown changes nothing", async () => {
  const [proxy, client] = await proxied();
  const { token } = client.credentials;
  await api("POST", "/v1/bans", { token, until: Date.now() + 3_600_000 });
  await until(() => client.state === "waiting");
  const { connections } = proxy;
  client.check();
  await api("DELETE", `/v1/bans?token=${token}`);
  client.check();
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual([client.state, proxy.connections], ["waiting", connections]);
});

test("banned without an end, a wrong secret, an unknown token: it stops", async () => {
  const banned = await newDevice();
  await api("POST", "/v1/bans", { token: banned.token });
  await failed(start({ token: banned.token, secret: banned.secret }), "banned");
  const { token } = await newDevice();
  await failed(start({ token, secret: "0".repeat(22) }), "unauthenticated");
  const gone = await newDevice();
  await api("DELETE", `/v1/devices/${gone.token}`);
  await failed(start({ token: gone.token, secret: gone.secret }), "unknown_token");
});

test("with a key it registers, stores the pair first, and connects", async () => {
  const stored = [];
  const client = start({ key: APP, app: "web test", onCredentials: async (pair) => void stored.push(pair) });
  const pair = await client.register();
  await client.connected();
  assert.deepEqual(stored, [pair]);
  assert.deepEqual(client.credentials, pair);
  assert.equal((await api("GET", `/v1/devices/${pair.token}`)).app, "web test");
});

test("a device that the server has forgotten is registered again", async () => {
  const stored = [];
  const gone = await newDevice();
  await api("DELETE", `/v1/devices/${gone.token}`);
  const client = start({ token: gone.token, secret: gone.secret, key: APP, onCredentials: (pair) => stored.push(pair) });
  await client.connected();
  assert.equal(stored.length, 1);
  assert.notEqual(stored[0].token, gone.token);
});

test("without onCredentials the pair is kept in the store", async () => {
  const kept = new Map();
  const storage = { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), removeItem() {} };
  const first = start({ key: APP, storage });
  const pair = await first.register();
  await first.close();
  assert.deepEqual(start({ key: APP, storage }).credentials, pair);
});

test("a wrong key and a callback that throws end it", async () => {
  await failed(start({ key: "pk_wrong" }), "unauthenticated");
  const thrown = start({
    key: APP,
    onCredentials: () => {
      throw new Error("disk full");
    },
  });
  await failed(thrown, "callback");
  assert.match(thrown.error.message, /disk full/);
});

test("a JWT of a function is renewed in the session before it ends", async () => {
  const user = unique("ada");
  let made = 0;
  const client = start({ jwt: async () => (made++, jwtOf(user, { seconds: 4 })) });
  const { session } = await client.connected();
  await until(() => made >= 3);
  assert.deepEqual([client.session.session, client.session.user, client.errors], [session, user, []]);
});

test("a refused JWT of a function is asked for again, three times", async () => {
  let made = 0;
  const client = start({ jwt: () => (made++, jwtOf("ada", { aud: "other" })) });
  await failed(client, "unauthenticated");
  assert.equal(made, 4);
});

test("an expired JWT that is a string ends it, as one that expires in the session", async () => {
  await failed(start({ jwt: jwtOf("ada", { seconds: -100 }) }), "unauthenticated");
  // The server's leeway is 60 s: this one has some left, enough to connect on a busy machine.
  const client = start({ jwt: jwtOf(unique("ada"), { seconds: -52 }) });
  await client.connected();
  await failed(client, "credentials_expired");
});

test("a JWT that expires in the session is asked for anew when the application can make one", async () => {
  const user = unique("ada");
  const given = [-58, 3600];
  const client = start({ jwt: () => jwtOf(user, { seconds: given.shift() ?? 3600 }) });
  await until(() => given.length === 0 && client.session);
  await push({ user }, "still here");
  await until(() => client.messages.length === 1);
});

test("a token service that fails for a while ends nothing", async () => {
  let failures = 2;
  const user = unique("ada");
  const client = start({
    jwt: async () => {
      if (failures-- > 0) throw new Error("503");
      return jwtOf(user);
    },
  });
  assert.equal((await client.connected()).user, user);
  assert.equal(client.errors.length, 2);
});

test("renew() gives a session a new JWT", async () => {
  const user = unique("ada");
  const client = start({ jwt: jwtOf(user) });
  await client.connected();
  const seconds = 7200;
  const expires = await client.renew(jwtOf(user, { seconds }));
  assert.ok(Math.abs(expires - Date.now() - seconds * 1000) < 100_000);
  await assert.rejects(client.renew(jwtOf("somebody-else")), (error) => error.refused);
});

test("a refresh whose session ended meanwhile is no AUTH in the next, and is asked for once", async () => {
  const user = unique("ada");
  const proxy = await Proxy.start();
  const waiting = [];
  let calls = 0;
  const client = start({
    servers: proxy.url,
    jwt: () => (calls++ === 0 ? jwtOf(user, { seconds: 4 }) : new Promise((resolve) => waiting.push(resolve))),
  });
  const { session } = await client.connected();
  await until(() => waiting.length === 1); // half-way to its end
  proxy.cut();
  await until(() => client.state !== "connected");
  waiting[0](jwtOf(user));
  await until(() => client.session && client.session.session !== session);
  assert.deepEqual([calls, client.errors], [2, []]);
});

test("only serversUrl: the API says where", async () => {
  const { token, secret } = await newDevice();
  const client = start({ servers: undefined, serversUrl: `${HTTP}/`, key: APP, token, secret });
  await client.connected();
  assert.equal(client.server, WS);
});

test("an API that does not answer, or refuses, is asked again", async () => {
  const { token, secret } = await newDevice();
  let calls = 0;
  const client = start({
    servers: undefined,
    serversUrl: HTTP,
    token,
    secret,
    // The first without a key: 401. Then a port where nobody is.
    fetch: (url, options) => {
      calls++;
      if (calls === 1) return fetch(url, options);
      if (calls === 2) return fetch("http://127.0.0.1:1/", options);
      return fetch(url, { ...options, headers: { Authorization: `Bearer ${APP}` } });
    },
  });
  await client.connected();
  assert.equal(calls, 3);
  assert.ok(client.states.some(({ detail }) => detail.includes("GET /v1/servers")));
});

test("a request fails as unanswered when the connection is lost, and waits for a session before", async () => {
  const [proxy, client] = await proxied();
  proxy.stall();
  const asked = assert.rejects(client.subscribe("news"), (error) => error.code === "unanswered" && !error.refused);
  await new Promise((resolve) => setTimeout(resolve, 50));
  proxy.stall(false);
  proxy.cut();
  await asked;
  await client.subscribe("news");
});

test("a request has a deadline", async () => {
  const [proxy, client] = await proxied();
  proxy.stall();
  await assert.rejects(client.subscribe("news", { timeout: 0.2 }), (error) => error.code === "unanswered");
});

test("more requests than a session may have unanswered wait their turn", async () => {
  const user = unique("ada");
  const client = start({ jwt: jwtOf(user) });
  const answers = await Promise.all(Array.from({ length: 150 }, () => client.publish("CL", { limit: 1 })));
  assert.deepEqual(answers, Array.from({ length: 150 }, () => ({ conversations: [], cursor: null })));
});

test("what is larger than the server accepts is refused here, and the session stays", async () => {
  const user = unique("ada");
  const client = start({ jwt: jwtOf(user) });
  const { session } = await client.connected();
  const large = "ä".repeat(600_000);
  await assert.rejects(client.send({ user: "ben" }, large), (error) => error.refused && error.code === "too_large");
  assert.equal(client.session.session, session);
});

test("the list of servers is gone through", async () => {
  const dead = await Proxy.start();
  dead.refuse();
  const client = await device({ servers: [dead.url, WS] });
  assert.equal(client.server, WS);
});

test("a server that takes connections and says nothing is left after connectTimeout", async () => {
  const silent = await Proxy.start();
  silent.stall();
  const client = await device({ servers: [silent.url, WS], connectTimeout: 0.3 });
  assert.equal(client.server, WS);
});
