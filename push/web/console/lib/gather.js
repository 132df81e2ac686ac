/** The facts of "why did it not arrive?", asked for at the server. */
import { ApiError, get, segment } from "./api.js";
import { may } from "./session.js";
import { COUNTED, targetOf } from "./why.js";

const MAX_PAGES = 25; // of 200 lines each
const PAGE = 200;

/** @param {Promise<any>} asked @param {string[]} codes of refusals that mean: there is none */
async function orNull(asked, ...codes) {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ApiError && (codes.includes(error.code) || (!codes.length && error.status < 500 && error.status > 0))) return null;
    throw error;
  }
}

/** All pages of a list until `found` is true of an item; null: none of them is, or there are too many to look at. */
async function search(/** @type {string} */ path, /** @type {string} */ noun, /** @type {(item: any) => boolean} */ found, /** @type {AbortSignal} */ signal) {
  let cursor = "";
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page = await get(path, { cursor, limit: PAGE }, signal);
    const item = page[noun].find(found);
    if (item || !page.cursor) return { item: item ?? null, complete: true };
    cursor = page.cursor;
  }
  return { item: null, complete: false };
}

/** @param {string} id @param {AbortSignal} signal @returns {Promise<import("./why.js").Ledger | null>} */
export const messageOf = (id, signal) => orNull(get(`/v1/messages/${segment(id)}`, {}, signal), "unknown_message");

/** @param {import("./why.js").Ledger | null} message @param {string} token @param {AbortSignal} signal */
export async function factsOf(message, token, signal) {
  const path = `/v1/devices/${segment(token)}`;
  const device = await orNull(get(path, {}, signal), "unknown_token");
  const facts = { message, token, device, delivery: undefined, waits: null, isMember: null, bans: [], now: Date.now() };
  if (message === null) return facts;
  const [delivery, waits, isMember, bans] = await Promise.all([
    lineOf(message, token, signal),
    device ? waitsFor(path, message.id, signal) : null,
    device ? membership(message, device, signal) : null,
    may("admin") ? bansOf(token, device, signal) : [],
  ]);
  return { ...facts, delivery, waits, isMember, bans };
}

/** undefined: no lines are kept for the target. */
async function lineOf(/** @type {any} */ message, /** @type {string} */ token, /** @type {AbortSignal} */ signal) {
  if (COUNTED.includes(targetOf(message.to))) return undefined;
  const path = `/v1/messages/${segment(message.id)}/devices`;
  const found = await orNull(search(path, "devices", (line) => line.token === token, signal), "not_found", "unknown_message");
  return found === null || !found.complete ? undefined : found.item;
}

async function waitsFor(/** @type {string} */ path, /** @type {string} */ id, /** @type {AbortSignal} */ signal) {
  const found = await orNull(search(`${path}/messages`, "messages", (each) => each.id === id, signal));
  return found === null || !found.complete ? null : found.item !== null;
}

async function membership(/** @type {any} */ message, /** @type {any} */ device, /** @type {AbortSignal} */ signal) {
  if (targetOf(message.to) !== "group" || !may("chat")) return null;
  if (device.user === null) return false;
  const path = `/v1/groups/${segment(message.to.group)}/members`;
  const found = await orNull(search(path, "members", ({ user }) => user === device.user, signal));
  return found === null || !found.complete ? null : found.item !== null;
}

async function bansOf(/** @type {string} */ token, /** @type {any} */ device, /** @type {AbortSignal} */ signal) {
  const user = device?.user ?? null;
  const found = await orNull(search("/v1/bans", "bans", (ban) => ban.token === token || (user !== null && ban.user === user), signal));
  return found?.item ? [found.item] : [];
}
