// What comes after a connection: every status and every code of the contract, redirects, back-off.
import assert from "node:assert/strict";
import { test } from "node:test";

import { PushError, internals } from "../../../push/web/push.js";

const { Policy, outcomeOfClose, usable } = internals;

const A = "wss://a.example/ws";
const B = "wss://b.example/ws";

/** A policy that has had a server; jitter is always all of its ceiling. */
function policy(more = {}) {
  const given = { servers: [A, B], plain: false, canAsk: false, canRenew: false, canRegister: false, random: () => 1, ...more };
  const made = new Policy(given);
  assert.equal(made.start().server, given.servers[0]);
  return made;
}
const refused = (code, body = {}) => ({ kind: "refused", code, detail: "", body: { code: "x", detail: "why", ...body } });
const goodbye = (code, body = {}) => ({ kind: "goodbye", code, detail: "", body: { code, reason: "why", ...body } });
const lost = { kind: "lost", detail: "lost" };

for (const [name, outcome] of Object.entries({
  "version refused": refused("UNACCEPTABLE_PROTOCOL_VERSION"),
  "unknown token, no key": refused("IDENTIFIER_REJECTED"),
  "bad credentials that are a string": refused("BAD_CREDENTIALS"),
  "ban without an end": refused("NOT_AUTHORIZED"),
  taken_over: goodbye("taken_over"),
  "kicked without after": goodbye("kicked"),
  bad_frame: goodbye("bad_frame"),
  frame_too_large: goodbye("frame_too_large"),
  "expired JWT that is a string": goodbye("credentials_expired"),
  "registration with a wrong key": { kind: "unregistered", code: "unauthenticated", detail: "", body: { code: "unauthenticated" } },
  "registration, banned for good": { kind: "unregistered", code: "banned", detail: "", body: { code: "banned" } },
})) {
  test(`${name}: the client stops`, () => {
    const plan = policy().ended(outcome, 0);
    assert.ok(plan.stop instanceof PushError);
    assert.equal(plan.server, undefined);
  });
}

for (const [name, outcome] of Object.entries({
  "server unavailable": refused("SERVER_UNAVAILABLE"),
  "a status that is newer than this client": refused("SEVEN"),
  bye: goodbye("bye"),
  heartbeat_timeout: goodbye("heartbeat_timeout"),
  handshake_timeout: goodbye("handshake_timeout"),
  rate_limited: goodbye("rate_limited"),
  internal: goodbye("internal"),
  "a code that is newer than this client": goodbye("tired"),
  "a lost connection": lost,
  "registration, too many": { kind: "unregistered", code: "rate_limited", detail: "", body: { code: "rate_limited" } },
})) {
  test(`${name}: the client backs off and tries the next server`, () => {
    const plan = policy().ended(outcome, 0);
    assert.deepEqual([plan.server, plan.delay, plan.stop], [B, 1, undefined]);
  });
}

test("what the server asks for in `after` is added to the jitter, for an hour at most", () => {
  assert.equal(policy().ended(refused("SERVER_UNAVAILABLE", { after: 7 }), 0).delay, 8);
  assert.equal(policy().ended(goodbye("internal", { after: 7 }), 0).delay, 8);
  assert.equal(policy().ended(goodbye("internal", { after: 1e9 }), 0).delay, 3601);
});

for (const outcome of [refused("NOT_AUTHORIZED", { after: 100 }), goodbye("kicked", { after: 100 })]) {
  test(`${outcome.code} with after: back when it is over, and not because the page is shown`, () => {
    const plan = policy().ended(outcome, 0);
    assert.deepEqual([plan.delay, plan.firm], [101, true]);
  });
}

test("a ban of a year is asked about every day", () => {
  assert.equal(policy().ended(refused("NOT_AUTHORIZED", { after: 3e7 }), 0).delay, 86_401);
});

test("back-off has full jitter up to 1, 2, 4 … 60 s, longer after each round over the servers", () => {
  const one = policy();
  const delays = Array.from({ length: 18 }, () => one.ended(lost, 0).delay);
  assert.deepEqual(delays, [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32, 60, 60, 60, 60, 60, 60]);
  const half = policy({ random: () => 0.5 });
  assert.equal(half.ended(lost, 0).delay, 0.5);
});

test("a session of ten seconds ends the count of failures, a shorter one does not", () => {
  const one = policy({ servers: [A] });
  for (let n = 0; n < 5; n++) one.ended(lost, 0);
  one.accepted(100);
  assert.equal(one.ended(lost, 105).delay, 32);
  one.accepted(200);
  assert.equal(one.ended(lost, 210).delay, 1);
});

test("a redirect is followed at once, to its servers in order", () => {
  const plan = policy().ended(refused("USE_ANOTHER_SERVER", { servers: ["wss://c/ws", "tls://c:1"], after: 0 }), 0);
  assert.deepEqual([plan.server, plan.delay], ["wss://c/ws", 0]);
});

test("after three hops in a row the configured servers are tried again, or asked for", () => {
  const hop = refused("USE_ANOTHER_SERVER", { servers: ["wss://c/ws"] });
  const alone = policy();
  for (let n = 0; n < 3; n++) assert.equal(alone.ended(hop, 0).server, "wss://c/ws");
  assert.deepEqual([alone.ended(hop, 0)].map(({ server, delay }) => [server, delay]), [[A, 1]]);
  const asking = policy({ canAsk: true });
  for (let n = 0; n < 3; n++) asking.ended(hop, 0);
  assert.equal(asking.ended(hop, 0).ask, true);
  assert.equal(asking.found(["wss://d/ws"]).server, "wss://d/ws");
  assert.equal(asking.ended(hop, 0).server, "wss://c/ws"); // counted anew
});

test("a session ends the count of hops", () => {
  const hop = refused("USE_ANOTHER_SERVER", { servers: ["wss://c/ws"] });
  const one = policy();
  for (let n = 0; n < 9; n++) {
    assert.equal(one.ended(hop, 0).server, "wss://c/ws");
    one.accepted(0);
  }
});

test("nothing leads from wss to ws: redirect, draining, a list", () => {
  const one = policy({ canAsk: true });
  assert.equal(one.ended(refused("USE_ANOTHER_SERVER", { servers: ["ws://c/ws"] }), 0).ask, true);
  assert.equal(one.found(["ws://c/ws"]).server, A);
  assert.equal(one.ended(goodbye("draining", { servers: ["ws://c/ws"] }), 0).server, B);
});

test("after the first wss server that the network names, plain ones are over", () => {
  const one = policy({ servers: ["ws://a/ws"], plain: true, canAsk: true });
  assert.equal(one.ended(refused("USE_ANOTHER_SERVER", { servers: ["ws://b/ws"] }), 0).server, "ws://b/ws");
  assert.equal(one.ended(refused("USE_ANOTHER_SERVER", { servers: ["ws://b/ws", "wss://c/ws"] }), 0).server, "wss://c/ws");
  assert.equal(one.ended(goodbye("draining", { servers: ["ws://b/ws"] }), 0).server, "ws://a/ws");
});

test("a server that drains is left for its servers after a random part of `after`", () => {
  const plan = policy({ random: () => 0.25 }).ended(goodbye("draining", { servers: ["wss://c/ws"], after: 40 }), 0);
  assert.deepEqual([plan.server, plan.delay], ["wss://c/ws", 10]);
});

test("an unknown token is registered anew when there is a key; a server that rejects it again is backed off", () => {
  const one = policy({ canRegister: true });
  assert.deepEqual(one.ended(refused("IDENTIFIER_REJECTED"), 0), { register: true, server: A, delay: 0 });
  assert.deepEqual(one.ended(refused("IDENTIFIER_REJECTED"), 0), { register: true, server: A, delay: 1 });
});

test("credentials are renewed three times at most when the application can make new ones", () => {
  const one = policy({ canRenew: true });
  for (const [n, outcome] of [refused("BAD_CREDENTIALS"), goodbye("credentials_expired"), refused("BAD_CREDENTIALS")].entries()) {
    const plan = one.ended(outcome, 0);
    assert.deepEqual([plan.renew, plan.server, plan.delay > 0], [true, A, n > 0]);
  }
  assert.equal(one.ended(refused("BAD_CREDENTIALS", { code: "unauthenticated" }), 0).stop.code, "unauthenticated");
});

test("no servers: they are asked for; a list that gives nothing is asked for again, later", () => {
  const one = new Policy({ servers: [], plain: false, canAsk: true, canRenew: false, canRegister: false, random: () => 1 });
  assert.deepEqual(one.start(), { ask: true, delay: 0 });
  assert.deepEqual(one.found([]), { ask: true, delay: 1 });
  assert.deepEqual(one.found("nonsense"), { ask: true, delay: 2 });
  assert.deepEqual(one.found([B, A]), { server: B, delay: 0 });
});

test("a bare close code says what the lost words said", () => {
  assert.equal(outcomeOfClose(4001).code, "taken_over");
  assert.equal(outcomeOfClose(4003).code, "draining");
  assert.equal(outcomeOfClose(4010).code, "internal");
  assert.deepEqual([outcomeOfClose(4101).kind, outcomeOfClose(4101).code], ["refused", "UNACCEPTABLE_PROTOCOL_VERSION"]);
  assert.equal(outcomeOfClose(4106).code, "USE_ANOTHER_SERVER");
  for (const code of [1000, 1001, 1006, 1011, 4011, 4099, 4100, 4107, 4999]) assert.equal(outcomeOfClose(code).kind, "lost");
  assert.ok(policy().ended(outcomeOfClose(4001), 0).stop);
  assert.ok(policy().ended(outcomeOfClose(4101), 0).stop);
});

test("a ban whose words were lost is asked about again, because it may have an end", () => {
  for (const code of [4002, 4105]) assert.equal(policy().ended(outcomeOfClose(code), 0).server, B);
});

test("of a list only WebSocket URLs are used, and of both kinds the wss ones", () => {
  assert.deepEqual(usable(["tls://a:1", "ws://a/ws", "nonsense", 7, "http://a"], true), ["ws://a/ws"]);
  assert.deepEqual(usable(["ws://a/ws", "wss://b/ws"], true), ["wss://b/ws"]);
  assert.deepEqual(usable(["ws://a/ws"], false), []);
  assert.deepEqual(usable(undefined, true), []);
});
