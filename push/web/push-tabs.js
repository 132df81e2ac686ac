/**
 * What a client knows of its page and of the other tabs, and one connection for all tabs. The tab that holds a Web Lock is the leader: it has the engine, and tells the others on
 * a BroadcastChannel what comes. The others send it their requests and what they have finished. When the leader
 * goes, the browser gives the lock to the next tab. A leader that does not answer (a frozen page) loses the lock.
 * Loaded by push.js.
 */

import { randomId } from "./push-chat.js";

/** @typedef {Record<string, any>} Body */
/** @typedef {{code: string, detail: string, field?: string | null, after?: number | null, refused?: boolean}} ErrorFields */
/** @typedef {import("./push.d.ts").Credentials} Credentials */
/** @typedef {{event(name: string, value: any): void, push(body: Body, qos: 0 | 1): void, moved(pair: Credentials): boolean}} Host */
/** @typedef {{start(): void, stop(atOnce?: boolean): Promise<unknown>, wake(): void, visibility(): void, request(name: string, body: Body, seconds: number): Promise<Body>, finished(id: string): void, snapshot: any}} Engine */
/** @typedef {{engine(host: Host): Engine, event(name: string, value: any): void, arrived(body: Body, qos: 0 | 1): void, moved(pair: Credentials): boolean, known(): boolean, alone(): void, errorOf(fields: ErrorFields): Error, fieldsOf(error: any): ErrorFields}} Front */
/** @typedef {{name: string, body: Body, end: number, got: boolean, resolve(value: Body): void, reject(error: Error): void}} Ask */

const REMEMBERED = 10_000; // ids
const VERSION = 1; // of what the tabs tell each other
const KEPT = 200; // messages, for a tab that slept
const SILENCE_MS = 4000; // after which a leader that was asked is frozen
const CHECK_MS = 30_000;
const MAX_TIMER_MS = 2 ** 31 - 1; // 24 days: a longer one would end at once

/** @param {number} seconds Infinity: as long as a timer can be */
export const timerMs = (seconds) => Math.min(seconds * 1000, MAX_TIMER_MS);

/** What came from a server, {} if it is no object. @param {unknown} value @returns {Body} */
export const objectOf = (value) => (typeof value === "object" && value !== null ? value : {});

/** @param {number} ms */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * The share of this tab in one connection, or null: pages and workers of secure origins can share; Node and Deno have
 * some of what it needs, but no tabs.
 * @param {string} name @param {Memory} memory @param {Front} front
 */
export function shareTabs(name, memory, front) {
  const web = "document" in globalThis || "WorkerGlobalScope" in globalThis;
  if (!web || !globalThis.navigator?.locks) return null;
  try {
    return new Tabs(name, memory, front);
  } catch {
    return null; // the browser forbids it
  }
}

/** A set that forgets its oldest. */
class Recent extends Set {
  /** @param {string} value */
  add(value) {
    this.delete(value);
    super.add(value);
    if (this.size > REMEMBERED) this.delete(this.values().next().value);
    return this;
  }
}

/** Of this tab. The tabs tell each other what changes in `acked` and `topics`. */
export class Memory {
  acked = new Recent(); // ids that are done for the server
  /** @type {Map<string, "held" | "released" | "done">} */ mine = new Map(); // what this tab has done with an id
  /** @type {Map<string, string>} */ topics = new Map(); // and who follows: a device or a session
  /** @type {{k: string, body: Body, qos: 0 | 1}[]} */ ring = []; // the last messages of all tabs
  /** @type {string | null} */ base = null; // what came before the ring
  /** @type {string | null} */ last = null;
  /** @type {Credentials | null} */ credentials = null;

  /** @param {string} id @param {"held" | "released" | "done"} state */
  set(id, state) {
    this.mine.set(id, state);
    if (this.mine.size > REMEMBERED) this.mine.delete(/** @type {string} */ (this.mine.keys().next().value));
  }
}

/** The claims of a JWT, unverified. @param {string | null} jwt @returns {Body} */
export function claimsOf(jwt) {
  try {
    const text = atob((jwt ?? "").split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  } catch {
    return {};
  }
}

/** What outlives a page, as all tabs see it: `localStorage`, unless the application says otherwise. */
export class Store {
  /** @param {import("./push.d.ts").KeyValueStore | null | undefined} storage null: nothing is kept */
  constructor(storage) {
    this.get = () => (storage === undefined ? globalThis.localStorage : storage);
  }

  /** null where there is none, or where the browser forbids it. @param {string} name @returns {any} */
  load(name) {
    try {
      return JSON.parse(this.get()?.getItem(name) ?? "null");
    } catch {
      return null; // Safari's private mode, a page without an origin
    }
  }

  /** @param {string} name @param {unknown} value */
  save(name, value) {
    try {
      this.get()?.setItem(name, JSON.stringify(value));
    } catch {
      // as above, or it is full
    }
  }
}

/**
 * Tell what happens to the page: `seen(hidden)` at the beginning, when it is hidden or shown, and when the network is
 * back; `left` and `back` around the back/forward cache, and when the page is frozen. Returns what ends it. Without a
 * page it does nothing.
 * @param {{seen(hidden: boolean): void, left(): void, back(): void}} tell
 */
export function listenToPage({ seen, left, back }) {
  const page = globalThis.document;
  const look = () => seen(page?.visibilityState === "hidden");
  look();
  /** @type {[EventTarget | undefined, string, () => void][]} */
  const events = [
    [page, "visibilitychange", look],
    [globalThis, "online", look],
    // With an open connection or lock the page could not be kept for the way back to it. A frozen one reads nothing of
    // its connection, though it may still answer other tabs.
    [page, "freeze", left],
    [page, "resume", back],
    [globalThis, "pagehide", left],
    [globalThis, "pageshow", back],
  ];
  for (const [target, name, handler] of events) target?.addEventListener?.(name, handler);
  return () => {
    for (const [target, name, handler] of events) target?.removeEventListener?.(name, handler);
  };
}

export class Tabs {
  #id = randomId();
  /** @type {string | null} */ #leader = null;
  /** @type {Engine | null} */ #engine = null;
  /** @type {(() => void) | null} */ #release = null;
  #abort = new AbortController();
  #stopped = false;
  /** @type {string | null} */ #former = null; // the leader before this tab was it
  #saidLast = false; // this leader has told the others that all is over, or goes on elsewhere
  #syncing = false;
  #shown = ""; // the leader's last state
  /** @type {Map<number, Ask>} */ #asks = new Map();
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silence;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #checks;

  /** @param {string} name @param {Memory} memory @param {Front} front */
  constructor(name, memory, front) {
    this.name = name;
    this.memory = memory;
    this.front = front;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }) => this.#heard(data);
  }

  get leading() {
    return this.#engine !== null;
  }

  start() {
    this.#syncing = this.memory.last !== null; // it was a tab before: it left the page and came back
    this.#wantLock();
    this.#askLeader();
    this.#checks = setInterval(() => {
      if (!this.leading && globalThis.document?.visibilityState !== "hidden") this.#askLeader();
    }, CHECK_MS);
  }

  /** Leave the others. The lock goes on when the connection is closed, or `atOnce`. */
  async stop(atOnce = false) {
    this.#stopped = true;
    clearTimeout(this.#silence);
    clearInterval(this.#checks);
    const closed = this.#engine?.stop();
    this.#engine = null;
    this.channel.close();
    this.#abort.abort();
    for (const ask of this.#asks.values()) ask.reject(this.front.errorOf({ code: "closed", detail: "closed" }));
    if (!atOnce) await closed;
    if (this.#saidLast) await this.#readByAll();
    this.#release?.();
  }

  /** The lock and the channel know no common order: a tab that led before it has read the last word would connect again. */
  async #readByAll() {
    for (const end = performance.now() + SILENCE_MS; performance.now() < end; await sleep(20)) {
      const waits = await navigator.locks.query().catch(() => null);
      if (!waits?.pending?.some(({ name }) => name === this.name)) return; // who has read it does not wait for the lock
    }
  }

  wake() {
    if (this.#engine) return this.#engine.wake();
    this.#post("wake");
    this.#sync();
    this.#askLeader();
  }

  visibility() {
    this.#engine?.visibility();
  }

  /** @param {string} id */
  finished(id) {
    if (this.#engine) this.#engine.finished(id);
    else this.#post("done", { id });
  }

  /** @param {string} name @param {Body} body @param {number} seconds @returns {Promise<Body>} */
  request(name, body, seconds) {
    if (this.#engine) return this.#engine.request(name, body, seconds);
    const n = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#asks.set(n, { name, body, end: performance.now() + seconds * 1000, got: false, resolve, reject });
      this.#ask(n);
    });
  }

  /** The request is over, one way or the other. @param {number} n */
  #took(n) {
    const ask = this.#asks.get(n);
    this.#asks.delete(n);
    return ask;
  }

  // --- The lock ---

  #wantLock(steal = false) {
    const abort = (this.#abort = new AbortController());
    navigator.locks
      .request(this.name, steal ? { steal } : { signal: abort.signal }, () => this.#lead())
      .catch((error) => {
        if (this.#stopped) return;
        if (error.name !== "AbortError") this.front.alone(); // the browser forbids it
        // Aborted before stealing; or another tab has stolen it from this one.
        else if (abort === this.#abort) this.#demoted();
      });
  }

  /** @returns {Promise<void> | undefined} that holds the lock until it is fulfilled */
  #lead() {
    if (this.#stopped || this.front.known()) return undefined;
    clearTimeout(this.#silence);
    this.#former = this.#leader;
    this.#leader = this.#id;
    this.#syncing = false;
    this.memory.base ??= "";
    this.memory.last ??= "";
    const engine = (this.#engine = this.front.engine({
      event: (name, value) => this.#event(name, value),
      push: (body, qos) => this.#pushed(body, qos),
      moved: (pair) => {
        this.#post("moved", { pair });
        return (this.#saidLast = this.front.moved(pair));
      },
    }));
    const held = /** @type {Promise<void>} */ (new Promise((resolve) => (this.#release = resolve)));
    this.#here();
    engine.start();
    for (const [n, ask] of [...this.#asks]) {
      this.#took(n);
      if (ask.got) ask.reject(this.#gone());
      else engine.request(ask.name, ask.body, (ask.end - performance.now()) / 1000).then(ask.resolve, ask.reject);
    }
    return held;
  }

  #demoted() {
    this.#engine?.stop();
    this.#engine = this.#release = null;
    this.#leader = null;
    this.#wantLock();
    this.#askLeader();
    this.#sync();
  }

  /** Is the leader there? Without an answer this tab takes its place. */
  #askLeader() {
    if (this.#stopped || this.leading) return;
    this.#post("hi");
    const due = performance.now() + SILENCE_MS;
    this.#silence ??= setTimeout(() => {
      this.#silence = undefined;
      if (this.#stopped || this.leading) return;
      // This tab itself may have slept, and the answer waits behind this timer.
      if (performance.now() > due + 1000) return this.#askLeader();
      this.#abort.abort();
      this.#wantLock(true);
    }, SILENCE_MS);
  }

  #alive() {
    clearTimeout(this.#silence);
    this.#silence = undefined;
  }

  // --- The leader's part ---

  /** @param {string} name @param {any} value */
  #event(name, value) {
    // A leader that was frozen hears that its session was taken over before it hears that its lock was.
    if (name === "state" && value.error?.code === "taken_over") {
      setTimeout(() => this.leading && this.#tell(name, value), 1000);
    } else this.#tell(name, value);
  }

  /** @param {string} name @param {any} value */
  #tell(name, value) {
    if (name !== "error") this.#post("event", { name, value });
    if (name === "state" && value.error) this.#saidLast = true;
    this.front.event(name, value);
  }

  /** @param {Body} body @param {0 | 1} qos */
  #pushed(body, qos) {
    const k = body.id || null;
    if (k) this.#remember({ k, body, qos });
    this.#post("push", { k, body, qos });
    this.front.arrived(body, qos);
  }

  /** @param {string} [to] */
  #here(to) {
    const { last, topics } = this.memory;
    this.#post("here", { to, last, topics: [...topics], snapshot: this.#engine?.snapshot });
  }

  /** @param {Body} message */
  #answer({ from: to, n, name, body, seconds }) {
    this.#post("got", { to, n });
    this.#engine?.request(name, body, seconds).then(
      (value) => this.#post("answer", { to, n, value }),
      (error) => this.#post("answer", { to, n, error: this.front.fieldsOf(error) }),
    );
  }

  /** What came after the message `after`, for a tab that slept. @param {string} to @param {string} after */
  #replay(to, after) {
    const { ring, base } = this.memory;
    const index = ring.findIndex(({ k }) => k === after);
    const lost = index < 0 && after !== base;
    this.#post("missed", { to, lost, items: ring.slice(index + 1) });
  }

  // --- The others' part ---

  /** @param {number} n */
  #ask(n) {
    const ask = this.#asks.get(n);
    if (!ask || ask.got) return;
    const { name, body, end } = ask;
    this.#post("ask", { n, name, body, seconds: Math.max((end - performance.now()) / 1000, 0) });
    this.#askLeader();
  }

  #gone() {
    return this.front.errorOf({ code: "unanswered", detail: "the tab that had the connection has gone" });
  }

  /** Read what this tab may have missed. What comes meanwhile is in the answer, too. */
  #sync() {
    if (this.memory.last === null || this.leading) return;
    this.#syncing = true;
    this.#post("sync", { after: this.memory.last });
  }

  /** @param {Body} message */
  #met({ from, last, topics, snapshot }) {
    const { memory } = this;
    if (memory.last === null) memory.base = memory.last = last;
    else if (this.#syncing && from !== this.#leader) this.#sync();
    memory.topics.clear();
    for (const [topic, follower] of topics) memory.topics.set(topic, follower);
    if (from !== this.#leader) {
      this.#leader = from;
      for (const [n, ask] of [...this.#asks]) {
        if (ask.got) this.#took(n)?.reject(this.#gone());
        else if (ask.end < performance.now()) this.#took(n);
        else this.#ask(n);
      }
    }
    this.#show(snapshot);
  }

  /** The leader's state is this tab's. It tells it also when it is only asked, so it may be no news. @param {any} snapshot */
  #show(snapshot) {
    const shown = JSON.stringify({ ...snapshot, heartbeat: null }); // of a heartbeat there is an event
    if (shown !== this.#shown) this.front.event("state", snapshot);
    this.#shown = shown;
  }

  /** @param {{k: string, body: Body, qos: 0 | 1}} item */
  #remember(item) {
    const { memory } = this;
    memory.ring.push(item);
    memory.last = item.k;
    if (memory.ring.length > KEPT) memory.base = memory.ring.shift()?.k ?? null;
  }

  /** @param {Body} message */
  #take({ k, body, qos }) {
    if (k && this.#syncing) return;
    if (k) this.#remember({ k, body, qos });
    this.front.arrived(body, qos);
  }

  /** @param {Body} message */
  #caughtUp({ items, lost }) {
    this.#syncing = false;
    if (lost) this.front.arrived({ kind: "truncated", stream: "", ts: Date.now() }, 0);
    for (const item of items) {
      this.#remember(item);
      if (!this.memory.mine.has(item.k)) this.front.arrived(item.body, item.qos);
    }
  }

  // --- The channel ---

  /** @param {string} t @param {Body} [more] */
  #post(t, more) {
    if (!this.#stopped) this.channel.postMessage({ v: VERSION, t, from: this.#id, ...more });
  }

  /** @param {Body} message */
  #heard(message) {
    if (message?.v !== VERSION) return this.#heardOther(message);
    if (this.#stopped || (message.to && message.to !== this.#id)) return;
    const { t, from } = message;
    if (this.#engine) {
      if (t === "hi") this.#here(from);
      else if (t === "ask") this.#answer(message);
      else if (t === "done") this.#engine.finished(message.id);
      else if (t === "sync") this.#replay(from, message.after);
      else if (t === "wake") this.#engine.wake();
      else if (from === this.#former) this.#readLastWord(message);
      return;
    }
    if (t === "here") {
      this.#alive();
      this.#met(message);
    } else if (from === this.#leader) {
      const ask = this.#asks.get(message.n);
      if (t === "got" && ask) ask.got = true;
      else if (t === "answer" && message.error) this.#took(message.n)?.reject(this.front.errorOf(message.error));
      else if (t === "answer") this.#took(message.n)?.resolve(message.value);
      else if (t === "event" && message.name === "state") this.#show(message.value);
      else if (t === "event") this.front.event(message.name, message.value);
      else if (t === "push") this.#take(message);
      else if (t === "missed") this.#caughtUp(message);
      else if (t === "moved") this.front.moved(message.pair);
    }
  }

  /** Of the leader before: this tab slept until its own turn. @param {Body} message */
  #readLastWord({ t, name, value, pair }) {
    if (t === "moved") this.front.moved(pair);
    // (This tab's own connection has taken over that of a leader that was frozen.)
    else if (t === "event" && name === "state" && value.error && value.error.code !== "taken_over") this.#tell(name, value);
  }

  /** Tabs with other versions of this file: the newer leads, and the older wait. @param {Body} message */
  #heardOther(message) {
    if (!(message?.v > 0) || this.#stopped) return;
    if (this.leading && message.t === "hi") this.#here(message.from);
    if (this.leading || message.t !== "here") return;
    this.#alive();
    if (message.v < VERSION) {
      this.#abort.abort();
      this.#wantLock(true);
      return;
    }
    this.#show({
      state: "waiting",
      detail: "a tab with a newer version has the connection; reload this one",
      server: null,
      session: null,
      error: null,
      heartbeat: null,
      credentials: this.memory.credentials,
    });
  }
}
