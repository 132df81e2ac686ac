/** A conversation as this page knows it: what was said, and how far the others are. No elements. */

/**
 * @typedef {{key: string, from: string, text: string, ts: number, seq: number, failed: boolean}} Said
 * `seq` 0: it is being sent. `key` names it in the page.
 */

export class Talk {
  /** @param {string} id `user:<peer>` or `group:<group>` */
  constructor(id) {
    this.id = id;
    /** @type {Said[]} */
    this.said = [];
    this.unread = 0;
    /** Whether its history was read since the last connection. */
    this.loaded = false;
    /** How far others are. @type {Map<string, {delivered: number, read: number}>} */
    this.positions = new Map();
    /** Until when somebody is shown as typing. @type {Map<string, number>} */
    this.typing = new Map();
  }

  /** The other user, of a conversation of two. */
  get peer() {
    return this.id.startsWith("user:") ? this.id.slice(5) : null;
  }

  /** Add a message, or complete the one that was being sent; whether it is new. @param {Said} said */
  add(said) {
    const place = this.said.findIndex((each) => each.key === said.key || (each.seq > 0 && each.seq === said.seq));
    const known = place >= 0 ? this.said[place] : null;
    if (known) this.said[place] = { ...said, key: known.key, seq: Math.max(known.seq, said.seq) };
    else this.said.push(said);
    this.said.sort((one, other) => (one.seq || Infinity) - (other.seq || Infinity) || one.ts - other.ts);
    return !known;
  }

  /** The `seq` of the last message of others; 0 without one. */
  lastOfOthers(/** @type {string} */ me) {
    return Math.max(0, ...this.said.filter((said) => said.from !== me).map((said) => said.seq));
  }

  /** How many others have read, or at least got, a message. */
  receipts(/** @type {number} */ seq) {
    const all = [...this.positions.values()];
    return {
      read: all.filter((each) => each.read >= seq).length,
      delivered: all.filter((each) => each.delivered >= seq).length,
    };
  }

  /** Users who are typing now. */
  typists(/** @type {number} */ now) {
    return [...this.typing].filter(([, until]) => until > now).map(([user]) => user);
  }
}

/** A message of the protocol (live or of the history) as the page shows it. @returns {Said} */
export function saidBy(/** @type {any} */ raw) {
  return {
    key: raw.client_id ?? `seq-${raw.seq}`,
    from: raw.from,
    text: typeof raw.data?.text === "string" ? raw.data.text : JSON.stringify(raw.data),
    ts: raw.ts,
    seq: raw.seq,
    failed: false,
  };
}
