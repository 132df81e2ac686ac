/** What is known of a stream of events: the newest rows, and what is missing in them. */

const MAX_ROWS = 300;

/**
 * @typedef {{ event: string, data: string }} Received
 * @typedef {{ rows: any[], total: number, skipped: number, silent: string[], state: string, error: any }} Seen
 * `silent`: nodes whose events do not come. `skipped`: how many events were left out.
 */

/** @type {Seen} */
export const NOTHING_SEEN = { rows: [], total: 0, skipped: 0, silent: [], state: "connecting", error: null };

/**
 * What is known after one more event. A node that sends events again is no longer silent.
 * @param {Seen} seen @param {Received} received @param {boolean} isPaused @returns {Partial<Seen>}
 */
export function after(seen, { event, data }, isPaused) {
  const body = JSON.parse(data);
  if (event === "skipped" && body.code === "silent") return { silent: [...new Set([...seen.silent, body.node])].sort() };
  if (event === "skipped") return { skipped: seen.skipped + (body.n ?? 0) };
  const total = seen.total + 1;
  const rows = isPaused ? seen.rows : [{ ...body, event, key: total }, ...seen.rows].slice(0, MAX_ROWS);
  return { rows, total, silent: seen.silent.filter((node) => node !== body.node) };
}
