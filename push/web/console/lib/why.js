/**
 * "Why did it not arrive?": from what the server knows of a message and a device to one reason. No text, no request:
 * `gather.js` asks, and the page has a sentence and an advice for each reason (`why.<reason>`, `why.<reason>.do`).
 *
 * @typedef {{ id: string, ts: number, to: any, expires: number | null, addressed: number, stored: number,
 *   written: number, acknowledged: number, expired: number, cancelled: number, dropped: Record<string, number> }} Ledger
 * @typedef {{ token: string, state: string, reason?: string | null, ts?: number | null, user?: string | null }} Delivery
 * @typedef {{ token: string, user: string | null, created: number, seen: number | null, topics: string[],
 *   session: string | null, node: string | null, backlog: number, online: boolean }} Device
 * @typedef {{ ip?: string, token?: string, user?: string, until: number | null }} Ban
 *
 * @typedef {object} Facts
 * @property {Ledger | null} message null: the server knows no such message
 * @property {string} token
 * @property {Device | null} device null: no such device is registered
 * @property {Delivery | null | undefined} delivery its line; null: it has none; undefined: none are kept for this target
 * @property {boolean | null} [waits] whether it is among what waits for the device; null: not known
 * @property {boolean | null} [isMember] of the group that it was for; null: not known
 * @property {Ban[]} [bans] those that are known to hold
 * @property {number} now ms since 1970
 *
 * @typedef {{ reason: string, tone: "good" | "warn" | "bad", values: Record<string, any> }} Answer
 */

const DROPPED = [
  "backlog", "retention", "collapsed", "too_large", "unacknowledged", "unbound", "unsubscribed", "forgotten", "erased",
  "congested",
];

/** Targets whose ledger has counts alone. */
export const COUNTED = ["topic", "group", "ip", "all"];

/** @param {any} to as it was pushed, e.g. {"user": "anna"} @returns {string} the name of its one member */
export const targetOf = (to) => Object.keys(to ?? {})[0] ?? "";

/** Every reason that `explain` may answer, for the test of the texts. */
export const REASONS = [
  "unknown_message", "unknown_device", "acknowledged", "cancelled", "expired", "expired_offline",
  "expired_never_connected", "expired_banned",
  ...DROPPED.map((reason) => `dropped_${reason}`), "dropped_other",
  "banned", "offline", "never_connected", "waits_online", "unanswered", "unanswered_offline",
  "not_bound", "not_addressed", "not_subscribed", "not_member", "registered_later", "by_ip", "online_only",
  "counted_all", "counted_gone", "counted_open",
];

/** @param {Facts} facts @returns {Answer} */
export function explain(facts) {
  const { message, device, delivery } = facts;
  if (message === null) return answer("unknown_message", "warn", facts);
  if (delivery) {
    const ended = endOf(facts, delivery);
    if (ended) return ended;
  }
  if (device === null) return answer("unknown_device", "bad", facts);
  if (delivery || facts.waits) return waiting(facts);
  return delivery === null ? notAddressed(facts) : counted(facts);
}

/** What has an end: acknowledged, cancelled, expired, dropped. */
function endOf(/** @type {Facts} */ facts, /** @type {Delivery} */ delivery) {
  const { state } = delivery;
  if (state === "acknowledged") return answer("acknowledged", "good", facts);
  if (state === "cancelled") return answer("cancelled", "warn", facts);
  if (state === "dropped") {
    const reason = delivery.reason ?? "";
    return answer(DROPPED.includes(reason) ? `dropped_${reason}` : "dropped_other", "bad", facts, { reason });
  }
  if (state === "expired" || isOver(facts)) {
    if (banOf(facts)) return answer("expired_banned", "bad", facts);
    if (!wasOffline(facts)) return answer("expired", "bad", facts);
    return answer(facts.device?.seen === null ? "expired_never_connected" : "expired_offline", "bad", facts);
  }
  return null;
}

/** It is kept for the device, and the device has not acknowledged it. */
function waiting(/** @type {Facts} */ facts) {
  const device = /** @type {Device} */ (facts.device);
  const isSent = facts.delivery?.state === "written";
  if (banOf(facts)) return answer("banned", "bad", facts);
  if (device.online) return answer(isSent ? "unanswered" : "waits_online", "warn", facts);
  if (isSent) return answer("unanswered_offline", "warn", facts);
  return answer(device.seen === null ? "never_connected" : "offline", "warn", facts);
}

/** The ledger keeps a line for each device that was addressed, and this one has none. */
function notAddressed(/** @type {Facts} */ facts) {
  const message = /** @type {Ledger} */ (facts.message);
  const device = /** @type {Device} */ (facts.device);
  const target = targetOf(message.to);
  if (device.created > message.ts) return answer("registered_later", "bad", facts);
  const users = target === "user" ? [message.to.user] : target === "users" ? message.to.users : null;
  if (users !== null && (device.user === null || !users.includes(device.user))) return answer("not_bound", "bad", facts);
  if (message.stored === 0 && users !== null) return answer("online_only", "bad", facts);
  return answer("not_addressed", "bad", facts);
}

/** A topic, a group, a network, all: counts are kept, and no line for each device. */
function counted(/** @type {Facts} */ facts) {
  const message = /** @type {Ledger} */ (facts.message);
  const device = /** @type {Device} */ (facts.device);
  const target = targetOf(message.to);
  if (device.created > message.ts) return answer("registered_later", "bad", facts);
  if (target === "topic" && !device.topics.includes(message.to.topic)) return answer("not_subscribed", "bad", facts);
  if (target === "group" && facts.isMember === false) return answer("not_member", "bad", facts);
  if (target === "ip") return answer("by_ip", "warn", facts);
  if (message.stored === 0) return answer("online_only", "bad", facts);
  if (message.addressed > 0 && message.acknowledged >= message.addressed) return answer("counted_all", "good", facts);
  if (banOf(facts)) return answer("banned", "bad", facts);
  return answer(facts.waits === false || isOver(facts) ? "counted_gone" : "counted_open", "warn", facts);
}

/** Reading of the whole message, without a device. @param {Ledger} message @param {number} now @returns {Answer} */
export function explainMessage(message, now) {
  const dropped = sum(message.dropped);
  const open = Math.max(0, message.addressed - message.acknowledged - message.expired - message.cancelled - dropped);
  const values = { ...message, dropped, open, to: message.to };
  const said = (/** @type {string} */ reason, /** @type {Answer["tone"]} */ tone) => ({ reason, tone, values });
  if (message.addressed === 0) return said("nobody", "bad");
  if (message.acknowledged >= message.addressed) return said("all", "good");
  if (message.stored === 0) return said("unstored", "warn");
  if (open > 0 && (message.expires === null || message.expires > now)) return said("open", "warn");
  return said("ended", message.acknowledged === 0 ? "bad" : "warn");
}

/** The reasons of `explainMessage`, for the test of the texts. */
export const MESSAGE_REASONS = ["nobody", "all", "unstored", "open", "ended"];

/** @param {Record<string, number>} counts */
export const sum = (counts) => Object.values(counts ?? {}).reduce((total, n) => total + n, 0);

const isOver = (/** @type {Facts} */ { message, now }) => message !== null && message.expires !== null && message.expires <= now;

/** Whether the device has not been seen while the message lived. */
function wasOffline(/** @type {Facts} */ { message, device }) {
  return message !== null && device !== null && !device.online && (device.seen === null || device.seen < message.ts);
}

/** The ban that keeps the device out, of the device or of its user. */
function banOf(/** @type {Facts} */ { bans = [], token, device, now }) {
  const holds = bans.filter((ban) => ban.until === null || ban.until > now);
  return holds.find((ban) => ban.token === token || (device !== null && device.user !== null && ban.user === device.user));
}

function answer(/** @type {string} */ reason, /** @type {Answer["tone"]} */ tone, /** @type {Facts} */ facts, more = {}) {
  const { message, device, delivery, token } = facts;
  const ban = banOf(facts);
  return {
    reason,
    tone,
    values: {
      token,
      device: device ?? null,
      user: device?.user ?? null,
      node: device?.node ?? null,
      backlog: device?.backlog ?? 0,
      seen: device?.seen ?? null,
      created: device?.created ?? null,
      ts: message?.ts ?? null,
      expires: message?.expires ?? null,
      to: message?.to ?? null,
      since: delivery?.ts ?? null,
      until: ban?.until ?? null,
      banned: ban ? ban.token ?? ban.user : null,
      addressed: message?.addressed ?? 0,
      acknowledged: message?.acknowledged ?? 0,
      ...more,
    },
  };
}
