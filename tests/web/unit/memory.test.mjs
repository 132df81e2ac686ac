// Cursors, JWTs, options, and what the application sees of a client that is not connected.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Memory } from "../../../push/web/push-tabs.js";
import { PushClient, PushError, internals } from "../../../push/web/push.js";

const { Cursors, JWTSource, renewalDelay } = internals;

const at = (stream, offset) => ({ stream, offset });

test("a cursor moves over what was acknowledged without a hole", () => {
  const cursors = new Cursors();
  cursors.begin({ "user:ada": "0" });
  for (const offset of ["1", "2", "3"]) cursors.note(at("user:ada", offset), false);
  cursors.note(at("user:ada", "2"), true);
  assert.deepEqual(cursors.positions(), { "user:ada": "0" });
  cursors.note(at("user:ada", "1"), true);
  assert.deepEqual(cursors.positions(), { "user:ada": "2" });
  cursors.note(at("user:ada", "3"), true);
  assert.deepEqual(cursors.positions(), { "user:ada": "3" });
});

test("at a new connection our own position holds where messages are open, else the server's", () => {
  const cursors = new Cursors();
  cursors.begin({ a: "0", b: "0", gone: "0" });
  cursors.note(at("a", "1"), false);
  cursors.note(at("b", "1"), false);
  cursors.note(at("b", "1"), true);
  cursors.begin({ a: "9", b: "9" });
  assert.deepEqual(cursors.positions(), { a: "0", b: "9" });
  cursors.note(at("a", "1"), true);
  assert.deepEqual(cursors.positions(), { a: "1", b: "9" });
});

test("streams come and go, QoS 0 moves nothing, and with a token nothing is kept", () => {
  const cursors = new Cursors();
  cursors.begin({});
  cursors.followed("topic:news", "5");
  cursors.note(at("topic:news", undefined), false);
  assert.deepEqual(cursors.positions(), { "topic:news": "5" });
  cursors.unfollowed("topic:news");
  assert.deepEqual(cursors.positions(), {});
  cursors.begin(undefined);
  cursors.followed("topic:news", "5");
  cursors.note(at("topic:news", "6"), false);
  assert.deepEqual(cursors.positions(), {});
});

test("as many cursors as a CONNECT may have", () => {
  const cursors = new Cursors();
  cursors.begin(Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`topic:${"x".repeat(50)}${n}`, "7".repeat(20)])));
  const size = JSON.stringify(cursors.positions()).length;
  assert.ok(size > 40_000 && size <= 48 * 1024, `${size}`);
});

test("ids are remembered, the newest ten thousand", () => {
  const memory = new Memory();
  for (let n = 0; n < 10_005; n++) {
    memory.acked.add(`${n}`);
    memory.set(`${n}`, "done");
  }
  assert.deepEqual([memory.acked.size, memory.mine.size], [10_000, 10_000]);
  assert.deepEqual([memory.acked.has("4"), memory.acked.has("5"), memory.mine.has("4")], [false, true, false]);
});

const jwtOf = (claims) => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;

test("a JWT is renewed 30 s before its end, or half-way", () => {
  assert.equal(renewalDelay(jwtOf({ exp: 1000 }), 0), 970);
  assert.equal(renewalDelay(jwtOf({ exp: 1040 }), 1000), 20);
  assert.equal(renewalDelay(jwtOf({ exp: 1040, sub: "zoë…" }), 1000), 20);
  assert.ok(renewalDelay(jwtOf({ exp: 10 }), 1000) > 0);
  for (const jwt of [null, "", "x", "x.y.z", jwtOf({}), jwtOf({ exp: "soon" })]) assert.equal(renewalDelay(jwt, 0), null);
});

test("the application is asked for one JWT at a time", async () => {
  let calls = 0;
  let answer = (jwt) => {};
  const source = new JWTSource(() => (calls++, new Promise((resolve) => (answer = resolve))));
  const both = [source.get(), source.get()];
  await Promise.resolve();
  answer("one");
  assert.deepEqual(await Promise.all(both), ["one", "one"]);
  assert.equal(await source.get(), "one");
  assert.equal(calls, 1);
  source.value = null;
  const again = source.get();
  await Promise.resolve();
  answer("two");
  assert.deepEqual([await again, calls], ["two", 2]);
});

test("a JWT that comes too late is dropped", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const answers = [];
  const source = new JWTSource(() => new Promise((resolve) => answers.push(resolve)));
  const late = assert.rejects(source.get(), /no answer within 30 s/);
  await Promise.resolve();
  context.mock.timers.tick(30_000);
  await late;
  const next = source.get();
  await Promise.resolve();
  answers[0]("late");
  answers[1]("fresh");
  assert.deepEqual([await next, await source.get()], ["fresh", "fresh"]);
});

test("a function that throws, or gives something else, is asked again", async () => {
  const given = [
    () => {
      throw new Error("down");
    },
    () => 7,
    () => "good",
  ];
  const source = new JWTSource(() => given.shift()());
  await assert.rejects(source.get(), /down/);
  await assert.rejects(source.get(), /must give a string/);
  assert.equal(await source.get(), "good");
});

delete globalThis.WebSocket; // Node 20 has none
class NoSocket {}
const options = { servers: "wss://push.example/ws", token: "T", secret: "S", WebSocket: NoSocket };

for (const [name, wrong] of Object.entries({
  "no servers": { servers: [] },
  "another carrier": { servers: "tls://push.example:6790" },
  "a token alone": { secret: undefined },
  "a secret alone": { token: undefined },
  "nothing to prove oneself with": { token: undefined, secret: undefined },
  "another way of acknowledging": { acks: "never" },
  "no WebSocket": { WebSocket: undefined },
  "an address that is none": { servers: undefined, serversUrl: "push" },
})) {
  test(`options: ${name} is refused at once`, () => {
    assert.throws(() => new PushClient({ ...options, ...wrong }), TypeError);
  });
}

test("a client that was not started says so, and one that was closed stays closed", async () => {
  const client = new PushClient(options);
  assert.equal(client.state, "idle");
  const stopped = (code) => (error) => error instanceof PushError && error.code === code;
  await assert.rejects(client.connected(), stopped("not_started"));
  await assert.rejects(client.subscribe("news"), stopped("not_started"));
  await client.close();
  await client.close();
  client.start();
  assert.equal(client.state, "closed");
  await assert.rejects(client.connected(), stopped("closed"));
  for await (const message of client) assert.fail(message.id);
  assert.throws(() => client.start(), stopped("already_started"));
});

test("a conversation is a user's or a group's", () => {
  const client = new PushClient(options);
  assert.equal(client.conversation("group:G").group, "G");
  assert.equal(client.conversation("user:a:b").id, "user:a:b");
  assert.throws(() => client.conversation("G"), TypeError);
});
