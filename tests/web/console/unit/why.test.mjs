/** "Why did it not arrive?": each reason from the facts that make it so, and no other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MESSAGE_REASONS, REASONS, explain, explainMessage } from "../../../../push/web/console/lib/why.js";

const NOW = 1_000_000;
const counts = { addressed: 1, stored: 1, written: 0, acknowledged: 0, expired: 0, cancelled: 0, dropped: {} };
const message = (more = {}) => ({ id: "M", ts: NOW - 1000, to: { token: "T" }, expires: NOW + 1000, ...counts, ...more });
const device = (more = {}) => ({ token: "T", user: "anna", created: 1, seen: NOW - 500, topics: [], session: null, node: null, backlog: 1, online: false, ...more });
const line = (state, more = {}) => ({ token: "T", state, ts: NOW - 100, ...more });
const facts = (more = {}) => ({ message: message(), token: "T", device: device(), delivery: null, waits: null, isMember: null, bans: [], now: NOW, ...more });
const online = { online: true, session: "S", node: "gate-1" };
const over = { expires: NOW - 1 };
const counted = (to, more = {}, about = {}) => facts({ message: message({ to, addressed: 3, stored: 1, ...more }), delivery: undefined, ...about });
const ban = (more) => ({ bans: [{ until: null, ...more }] });

/** What the sentence is, by reason; several ways to the same one are lists. */
const CASES = {
  unknown_message: [facts({ message: null }), facts({ message: null, device: null })],
  unknown_device: [facts({ device: null }), facts({ device: null, delivery: line("stored") }), counted({ topic: "news" }, {}, { device: null })],
  acknowledged: [facts({ delivery: line("acknowledged") }), facts({ delivery: line("acknowledged"), ...ban({ token: "T" }) })],
  cancelled: [facts({ delivery: line("cancelled") })],
  expired: [facts({ delivery: line("expired") }), facts({ message: message(over), delivery: line("stored"), device: device(online) })],
  expired_offline: [facts({ delivery: line("expired"), device: device({ seen: NOW - 5000 }) })],
  expired_never_connected: [facts({ delivery: line("expired"), device: device({ seen: null }) })],
  expired_banned: [facts({ delivery: line("expired"), ...ban({ user: "anna" }) })],
  dropped_other: [facts({ delivery: line("dropped", { reason: "new_reason" }) }), facts({ delivery: line("dropped") })],
  banned: [facts({ delivery: line("stored"), ...ban({ token: "T" }) }), facts({ delivery: line("stored"), ...ban({ user: "anna", until: NOW + 1 }) }), counted({ topic: "news" }, {}, { device: device({ topics: ["news"] }), waits: true, ...ban({ token: "T" }) })],
  offline: [facts({ delivery: line("stored") }), counted({ all: true }, {}, { waits: true })],
  never_connected: [facts({ delivery: line("stored"), device: device({ seen: null }) })],
  waits_online: [facts({ delivery: line("stored"), device: device(online) })],
  unanswered: [facts({ delivery: line("written"), device: device(online) })],
  unanswered_offline: [facts({ delivery: line("written") })],
  not_bound: [facts({ message: message({ to: { user: "bob" } }) }), facts({ message: message({ to: { users: ["bob", "carol"] } }) }), facts({ message: message({ to: { user: "anna" } }), device: device({ user: null }) })],
  not_addressed: [facts({ message: message({ to: { token: "OTHER" } }) }), facts({ message: message({ to: { tokens: ["A", "B"] } }) }), facts({ message: message({ to: { user: "anna" } }) })],
  not_subscribed: [counted({ topic: "news" }, {}, { device: device({ topics: ["sports"] }) })],
  not_member: [counted({ group: "G" }, {}, { isMember: false })],
  registered_later: [counted({ all: true }, {}, { device: device({ created: NOW - 10 }) }), facts({ device: device({ created: NOW - 10 }) })],
  by_ip: [counted({ ip: "10.0.0.0/8" })],
  online_only: [counted({ all: true }, { stored: 0 }), facts({ message: message({ to: { user: "anna" }, stored: 0 }) })],
  counted_all: [counted({ topic: "news" }, { acknowledged: 3 }, { device: device({ topics: ["news"] }) })],
  counted_gone: [counted({ all: true }, {}, { waits: false }), counted({ all: true }, over)],
  counted_open: [counted({ all: true }), counted({ group: "G" }, {}, { isMember: true })],
  ...Object.fromEntries(
    ["backlog", "retention", "collapsed", "too_large", "unacknowledged", "unbound", "unsubscribed", "forgotten", "erased", "congested"].map(
      (reason) => [`dropped_${reason}`, [facts({ delivery: line("dropped", { reason }) }), facts({ device: null, delivery: line("dropped", { reason }) })]],
    ),
  ),
};

test("there is a case for each reason, and no other", () => assert.deepEqual(Object.keys(CASES).sort(), [...REASONS].sort()));

for (const [reason, all] of Object.entries(CASES)) {
  all.forEach((each, index) => test(`${reason}, ${index + 1}`, () => assert.equal(explain(each).reason, reason)));
}

test("a ban that has ended, or of somebody else, is no reason", () => {
  for (const other of [{ token: "T", until: NOW }, { token: "OTHER" }, { user: "bob" }, { ip: "10.0.0.1" }]) {
    assert.equal(explain(facts({ delivery: line("stored"), ...ban(other) })).reason, "offline");
  }
  const lone = facts({ delivery: line("stored"), device: device({ user: null }), bans: [{ ip: "10.0.0.1", until: null }] });
  assert.equal(explain(lone).reason, "offline");
});

test("an answer has what its sentence needs", () => {
  const { values, tone } = explain(facts({ delivery: line("stored"), ...ban({ user: "anna", until: NOW + 9 }) }));
  assert.deepEqual([tone, values.banned, values.until, values.user, values.expires], ["bad", "anna", NOW + 9, "anna", NOW + 1000]);
});

test("only what arrived is good", () => {
  for (const [reason, [first]] of Object.entries(CASES)) {
    assert.equal(explain(first).tone === "good", ["acknowledged", "counted_all"].includes(reason), reason);
  }
});

test("a whole message: who was reached, and what still waits", () => {
  const read = (more, now = NOW) => explainMessage(message({ addressed: 4, ...more }), now);
  const reasons = {
    nobody: read({ addressed: 0 }),
    all: read({ acknowledged: 4 }),
    unstored: read({ stored: 0, acknowledged: 1 }),
    open: read({ acknowledged: 2 }),
    ended: read({ acknowledged: 2, expired: 1, dropped: { backlog: 1 } }),
  };
  assert.deepEqual(Object.keys(reasons).sort(), [...MESSAGE_REASONS].sort());
  for (const [reason, answer] of Object.entries(reasons)) assert.equal(answer.reason, reason);
  assert.deepEqual([reasons.open.values.open, reasons.ended.values.open, reasons.ended.values.dropped], [2, 0, 1]);
  assert.equal(read({ acknowledged: 2 }, NOW + 2000).reason, "ended");
  assert.equal(read({ cancelled: 4 }).tone, "bad");
});
