/**
 * A device or a user's client for push-universe, over WebSocket. See push.d.ts for what it offers, and
 * docs/javascript.md for how to use it.
 *
 * Who does what: `Policy` decides what comes next when a connection ended, `Connection` is one WebSocket,
 * `Engine` makes one after the other, and `PushClient` is what the application sees. With several tabs each
 * has a `PushClient`, and one of them the `Engine`; push-tabs.js is between them.
 */

import { ChatRequests } from "./push-chat.js";
import { Memory, Store, Tabs, claimsOf, listenToPage, objectOf, shareTabs, sleep, timerMs } from "./push-tabs.js";

/** @typedef {import("./push.d.ts").PushClientOptions} Options */
/** @typedef {import("./push.d.ts").Credentials} Credentials */
/** @typedef {import("./push.d.ts").Session} Session */
/** @typedef {import("./push.d.ts").ClientState} ClientState */
/** @typedef {import("./push.d.ts").ClientEvents} ClientEvents */
/** @typedef {import("./push.d.ts").Heartbeat} Heartbeat */
/** @typedef {import("./push.d.ts").MessageKind} MessageKind */
/** @typedef {Record<string, any>} Body */
/** @typedef {{code: string, detail: string, field?: string | null, after?: number | null, refused?: boolean}} ErrorFields */
/** @typedef {{kind: "lost" | "refused" | "unregistered" | "goodbye", code?: string, detail: string, body?: Body}} Outcome */
/** @typedef {{stop?: PushError, ask?: boolean, server?: string, delay: number, firm?: boolean, renew?: boolean, register?: boolean}} Plan */
/** @typedef {{state: ClientState, detail: string, server: string | null, session: Session | null, error: ErrorFields | null, heartbeat: Heartbeat | null, credentials: Credentials | null}} Snapshot */
/** @typedef {{event(name: string, value: any): void, push(body: Body, qos: 0 | 1): void, moved(pair: Credentials): boolean}} Host */

export const VERSION = "0.1.0";

const KINDS = ["chat", "recall", "receipt", "group", "typing", "truncated"];
const MAX_OPEN = 10_000;
const MAX_REQUESTS = 64;
const ANSWER_SECONDS = 15; // for SUB and CONNECT; the server's own time-out is 10 s
const WAKE_SECONDS = 3; // in which a PING must be answered after a wake-up
const DOUBT_SECONDS = 10; // of silence after a request
const HIDDEN_SECONDS = 120; // browsers run the timers of hidden pages once a minute
const STABLE_SECONDS = 10;
const MAX_AFTER_SECONDS = 3600; // a server may ask for patience, not for ever
const MAX_BAN_SECONDS = 86_400;
const MAX_CURSORS_BYTES = 48 * 1024; // of the 64 KiB that a CONNECT may have

const now = () => performance.now() / 1000;
/** @param {string} text */
const bytesOf = (text) => new TextEncoder().encode(text).length;
/** @param {unknown} error */
const textOf = (error) => String(/** @type {any} */ (error)?.message ?? error);

export class PushError extends Error {
  /**
   * @param {string} code
   * @param {string} detail
   * @param {{field?: string | null, after?: number | null, refused?: boolean}} [more]
   */
  constructor(code, detail, { field = null, after = null, refused = false } = {}) {
    super(detail ? `${code}: ${detail}` : code);
    this.name = "PushError";
    this.code = code;
    this.detail = detail;
    this.field = field;
    this.after = after;
    this.refused = refused;
  }
}

/** @param {string} detail */
const unanswered = (detail) => new PushError("unanswered", detail);
/** @param {ErrorFields} fields */
const errorOf = (fields) => new PushError(fields.code, fields.detail, fields);
/** @param {PushError} error @returns {ErrorFields} */
const fieldsOf = ({ code, detail, field, after, refused }) => ({ code, detail, field, after, refused });

/** `work`, or a failure when it takes longer. @template T @param {number} seconds @param {Promise<T>} work @returns {Promise<T>} */
async function within(seconds, work) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = /** @type {Promise<never>} */ (
    new Promise((_, reject) => {
      timer = setTimeout(() => reject(unanswered(`no answer within ${seconds} s`)), timerMs(seconds));
    })
  );
  try {
    return await Promise.race([late, work]);
  } finally {
    clearTimeout(timer);
  }
}

/** Who waits until something is different. */
class Bell {
  /** @type {(() => void)[]} */ #waiting = [];

  ring() {
    for (const go of this.#waiting.splice(0)) go();
  }

  /** @returns {Promise<void>} */
  wait() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

// --- What comes next ------------------------------------------------------------------------------------------

/** The rules of the contract. By sub-signal of a CONNECT_ACK, in the order of their numbers: */
const STATUSES = /** @type {const} */ ({
  ACCEPTED: "wait",
  UNACCEPTABLE_PROTOCOL_VERSION: "stop",
  IDENTIFIER_REJECTED: "register",
  SERVER_UNAVAILABLE: "wait",
  BAD_CREDENTIALS: "renew",
  NOT_AUTHORIZED: "ban",
  USE_ANOTHER_SERVER: "redirect",
});
/** And by code of a DISCONNECT, in their order. */
const CODES = /** @type {const} */ ({
  bye: "wait",
  taken_over: "stop",
  kicked: "ban",
  draining: "redirect",
  heartbeat_timeout: "wait",
  handshake_timeout: "wait",
  bad_frame: "stop",
  frame_too_large: "stop",
  rate_limited: "wait",
  credentials_expired: "renew",
  internal: "wait",
});

/** What a bare close code says, should the server's words be lost. @param {number} number @returns {Outcome} */
function outcomeOfClose(number) {
  const refused = number > 4100;
  const code = Object.keys(refused ? STATUSES : CODES)[number - (refused ? 4100 : 4000)];
  return { kind: code ? (refused ? "refused" : "goodbye") : "lost", code, detail: `the connection was lost (${number})` };
}

/** The WebSocket URLs of a list; the `wss` ones if there is one. @param {unknown} urls @param {boolean} plain */
function usable(urls, plain) {
  /** @type {string[]} */
  const found = [];
  for (const url of Array.isArray(urls) ? urls : []) {
    try {
      const { protocol, href } = new URL(url);
      if (protocol === "wss:" || (protocol === "ws:" && plain)) found.push(href);
    } catch {
      // another carrier's, or newer than this client
    }
  }
  const secure = found.filter((url) => url.startsWith("wss:"));
  return secure.length ? secure : found;
}

/** @param {unknown} seconds @param {number} most */
const bounded = (seconds, most = MAX_AFTER_SECONDS) => Math.min(Math.max(Number(seconds) || 0, 0), most);

class Policy {
  #rounds = 0;
  #failures = 0; // of this round over the list
  #hops = 0;
  #renewals = 0;
  #registrations = 0;
  #acceptedAt = NaN;
  /** @type {string} */ #current = "";
  /** @type {string[]} */ #list;
  /** @type {string[]} */ #left;

  /**
   * @param {{servers: string[], plain: boolean, canAsk: boolean, canRenew: boolean, canRegister: boolean, random: () => number}} given
   */
  constructor(given) {
    this.given = given;
    this.plain = given.plain;
    this.#list = this.#left = [...given.servers];
    this.#use(given.servers);
  }

  start() {
    return this.#next(0);
  }

  /** A session was opened. @param {number} at */
  accepted(at) {
    this.#acceptedAt = at;
    this.#hops = this.#renewals = this.#registrations = 0;
    this.#use(this.given.servers);
  }

  /** A connection ended, or was none. @param {Outcome} outcome @param {number} at @returns {Plan} */
  ended({ kind, code = "", detail, body }, at) {
    const refused = kind === "refused";
    /** @type {string | undefined} */
    let rule = kind === "lost" ? "wait" : /** @type {Record<string, string>} */ (refused ? STATUSES : CODES)[code];
    if (code === "draining" || at - this.#acceptedAt >= STABLE_SECONDS) this.#rounds = this.#failures = 0;
    this.#acceptedAt = NaN;
    if (kind === "unregistered") {
      rule = { rate_limited: "wait", unavailable: "wait", internal: "wait", banned: "ban" }[code] ?? "stop";
    }
    const after = body?.after;
    const error = new PushError(body?.code ?? code, body?.detail ?? body?.reason ?? detail, { after });
    if (rule === "ban" && body) {
      if (after === undefined) return { stop: error, delay: 0 };
      return { ...this.#next(bounded(after, MAX_BAN_SECONDS) + this.#jitter()), firm: true };
    }
    if (rule === "stop") return { stop: error, delay: 0 };
    if (rule === "redirect") return this.#redirect(body, after, refused);
    if (rule === "register") {
      if (!this.given.canRegister) return { stop: new PushError("unknown_token", error.detail), delay: 0 };
      return { register: true, server: this.#current, delay: this.#registrations++ ? this.#jitter() : 0 };
    }
    if (rule === "renew") {
      if (!this.given.canRenew || this.#renewals === 3) return { stop: error, delay: 0 };
      return { renew: true, server: this.#current, delay: this.#renewals++ ? this.#jitter() : 0 };
    }
    return { ...this.#next(bounded(after) + this.#jitter()), firm: after > 0 };
  }

  /** GET /v1/servers answered, or (null) gave nothing. @param {unknown} urls @returns {Plan} */
  found(urls) {
    this.#hops = 0;
    const servers = this.allowed(urls);
    if (!servers.length) return this.#next(this.#jitter());
    this.#use(servers);
    return this.#next(0);
  }

  /** Of a list from the network; after the first `wss` server plain ones are over. @param {unknown} urls */
  allowed(urls) {
    const found = usable(urls, this.plain);
    if (found[0]?.startsWith("wss:")) this.plain = false;
    return found;
  }

  /** At most three hops in a row, and to leave a server that drains. @param {Body | undefined} body @param {number} after @param {boolean} refused @returns {Plan} */
  #redirect(body, after, refused) {
    const targets = this.allowed(body?.servers);
    if (targets.length && (!refused || ++this.#hops <= 3)) {
      this.#use(targets);
      return { ...this.#next(this.given.random() * bounded(after)), firm: true };
    }
    if (!refused) return this.#next(bounded(after) + this.#jitter());
    this.#hops = 0;
    this.#left = [];
    if (this.given.canAsk) return { ask: true, delay: this.#jitter() };
    return this.#next(bounded(after) + this.#jitter());
  }

  /** @param {string[]} servers */
  #use(servers) {
    this.#list = servers;
    this.#left = [...servers];
  }

  /** Full jitter up to 1, 2, 4 … 60 s, longer after each round over the list. */
  #jitter() {
    const ceiling = Math.min(2 ** Math.min(this.#rounds, 6), 60);
    if (++this.#failures >= this.#list.length) {
      this.#rounds++;
      this.#failures = 0;
    }
    return this.given.random() * ceiling;
  }

  /** @param {number} delay @returns {Plan} */
  #next(delay) {
    if (!this.#left.length) {
      if (!this.given.servers.length) return { ask: true, delay };
      this.#use(this.given.servers);
    }
    this.#current = /** @type {string} */ (this.#left.shift());
    return { server: this.#current, delay };
  }
}

// --- What is remembered between connections -------------------------------------------------------------------

/** Where a user without a device is in each stream: the end of what was acknowledged without a hole. */
class Cursors {
  /** @type {Map<string, {cursor: string | null, open: Map<string, boolean>}> | null} */ #streams = null;

  /** @param {Record<string, string> | null | undefined} streams where each begins; none: the server keeps them */
  begin(streams) {
    const known = this.#streams;
    this.#streams = streams ? new Map() : null;
    for (const [stream, cursor] of Object.entries(streams ?? {})) {
      const position = known?.get(stream);
      this.#streams?.set(stream, position?.open.size ? position : { cursor, open: new Map() });
    }
  }

  /** @param {string} stream @param {string | null} cursor */
  followed(stream, cursor) {
    if (this.#streams && !this.#streams.has(stream)) this.#streams.set(stream, { cursor, open: new Map() });
  }

  /** @param {string} stream */
  unfollowed(stream) {
    this.#streams?.delete(stream);
  }

  /** The first copy, or that it is done. @param {Body} body @param {boolean} done */
  note({ stream, offset }, done) {
    if (!this.#streams || !offset) return;
    if (!done) this.followed(stream, null);
    const position = this.#streams.get(stream);
    if (!position || (done ? !position.open.has(offset) : position.open.has(offset))) return;
    position.open.set(offset, done);
    for (const [first, isDone] of position.open) {
      if (!isDone && position.open.size <= MAX_OPEN) return;
      position.open.delete(first);
      position.cursor = first;
    }
  }

  /** For CONNECT. @returns {Record<string, string>} */
  positions() {
    /** @type {Record<string, string>} */
    const all = {};
    let bytes = 0;
    for (const [stream, { cursor }] of this.#streams ?? []) {
      if (cursor === null) continue;
      bytes += bytesOf(stream) + cursor.length + 6;
      if (bytes > MAX_CURSORS_BYTES) break;
      all[stream] = cursor;
    }
    return all;
  }
}

/** The JWT, and the application's function that makes it. One call at a time; a late answer is dropped. */
class JWTSource {
  /** @type {Promise<string> | null} */ #asking = null;

  /** @param {Options["jwt"]} source */
  constructor(source) {
    this.source = source;
    this.value = typeof source === "string" ? source : null;
  }

  get canRenew() {
    return typeof this.source === "function";
  }

  /** @returns {Promise<string | null>} */
  async get() {
    const { source } = this;
    if (this.value !== null || typeof source !== "function") return this.value;
    const ask = async () => {
      const jwt = await source();
      if (typeof jwt !== "string") throw new TypeError("jwt() must give a string");
      return jwt;
    };
    this.#asking ??= within(30, ask());
    const asking = this.#asking;
    try {
      const jwt = await asking;
      if (this.#asking === asking) this.value = jwt;
      return jwt;
    } finally {
      if (this.#asking === asking) this.#asking = null;
    }
  }
}

/** Seconds until `jwt` is to be renewed, by the server's clock: 30 s before its end, or half-way. @param {string | null} jwt @param {number} time */
function renewalDelay(jwt, time) {
  const { exp } = claimsOf(jwt);
  if (typeof exp !== "number") return null;
  const left = Math.max(exp - time, 0);
  return Math.max(left - Math.min(30, left / 2), 1);
}

// --- One WebSocket --------------------------------------------------------------------------------------------

class Connection {
  #maxFrame = 64 * 1024;
  #lastId = 0;
  /** @type {Map<number, {signal: string, resolve: (body: Body) => void, reject: (error: Error) => void}>} */ #waiting =
    new Map();
  #room = new Bell(); // for requests that wait for one of 64 to be answered
  #unanswered = 0;
  #receivedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #pingTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #deadTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #doubtTimer;
  #grace = 0; // seconds for the answer of the PING on its way; 0: there is none
  #pingId = 0;
  #pingAt = 0;
  #asked = 0;
  /** @type {Session | null} */ session = null;
  /** @type {Heartbeat} */ heartbeat = { interval: 60, roundTripMs: null, answeredAt: null };
  over = false;
  #gone = () => {};

  /**
   * @param {string} url
   * @param {Settings} settings
   * @param {{opened(): void, accepted(session: Session): void, push(body: Body, id: number): void, pong(heartbeat: Heartbeat): void, ended(outcome: Outcome): void}} owner
   */
  constructor(url, settings, owner) {
    this.settings = settings;
    this.owner = owner;
    this.ws = new settings.WebSocket(url, "push.v2");
    this.ws.onopen = () => owner.opened();
    this.ws.onmessage = (/** @type {{data: unknown}} */ { data }) => this.over || this.#received(data);
    // `onclose` follows, but not in Node 20 when no connection could be made.
    this.ws.onerror = () => setTimeout(() => this.end({ kind: "lost", detail: "the connection failed" }));
    /** When the server has closed it, too. @type {Promise<void>} */
    this.gone = new Promise((resolve) => (this.#gone = resolve));
    this.ws.onclose = (/** @type {{code: number}} */ { code }) => {
      this.#gone();
      this.end(outcomeOfClose(code));
    };
    this.#expect(settings.options.connectTimeout, "not connected");
  }

  /** Say so, if there is still somebody to hear it, and end. */
  bye() {
    if (this.ws.readyState === 1) this.send("DISCONNECT", "", 0, { code: "bye", reason: "" });
    this.end({ kind: "lost", detail: "" });
  }

  /** Over, whatever the socket still does: a dead one takes its time to close. @param {Outcome} outcome */
  end(outcome) {
    if (this.over) return;
    this.over = true;
    for (const timer of [this.#pingTimer, this.#deadTimer, this.#doubtTimer]) clearTimeout(timer);
    this.ws.close();
    for (const { reject } of this.#waiting.values()) reject(unanswered(outcome.detail));
    this.#room.ring();
    this.owner.ended(outcome);
  }

  /** A request that has an answer. @param {string} signal @param {string} sub @param {Body} body @returns {Promise<Body>} */
  async request(signal, sub, body) {
    const publish = signal === "PUBLISH";
    while (publish && this.#unanswered >= MAX_REQUESTS && !this.over) {
      await this.#room.wait();
    }
    if (this.over) throw unanswered("the connection was lost");
    do this.#lastId = (this.#lastId % 0xffff) + 1;
    while (this.#waiting.has(this.#lastId));
    const id = this.#lastId;
    this.send(signal, sub, id, body);
    if (publish) this.#unanswered++;
    if (!this.session) this.#expect(ANSWER_SECONDS, `no answer to ${signal}`);
    else if (signal !== "PING") this.#doubtSoon();
    try {
      return await new Promise((resolve, reject) => this.#waiting.set(id, { signal, resolve, reject }));
    } finally {
      if (publish) {
        this.#unanswered--;
        this.#room.ring();
      }
    }
  }

  /** Ask whether it is alive, and for the interval that fits. @param {number} [grace] seconds for the answer */
  ping(grace = Math.min(Math.max(this.heartbeat.interval / 4, 10), 60)) {
    if (this.over || !this.session) return;
    const wanted = this.#wanted();
    const body = wanted === this.#asked ? {} : { interval: wanted };
    this.#asked = wanted;
    this.#pingAt = now();
    this.#grace = grace;
    this.request("PING", "", body).then(
      (answer) => this.#pong(answer),
      () => {},
    );
    this.#pingId = this.#lastId;
    this.#expect(grace, `no answer to a PING within ${grace} s`);
  }

  /** The page was hidden or shown. */
  visibility() {
    if (this.session && this.#wanted() !== this.#asked) this.ping();
  }

  #wanted() {
    const base = this.settings.options.heartbeat ?? this.session?.heartbeat ?? 60;
    return this.settings.hidden ? Math.max(base, HIDDEN_SECONDS) : base;
  }

  /** @param {Body} answer */
  #pong(answer) {
    if (this.over) return;
    this.heartbeat = {
      interval: Math.max(answer.interval, 0) || this.heartbeat.interval,
      roundTripMs: Math.round((now() - this.#pingAt) * 1000),
      answeredAt: Date.now(),
    };
    this.#beatLater();
    this.owner.pong(this.heartbeat);
  }

  /** From the answer, not from a chain of timers: those run once a minute in hidden pages. */
  #beatLater() {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#grace || this.ping(), timerMs(this.heartbeat.interval));
  }

  /** Nothing comes within `seconds`: it is dead. @param {number} seconds @param {string} detail */
  #expect(seconds, detail) {
    clearTimeout(this.#deadTimer);
    const due = now() + seconds;
    this.#deadTimer = setTimeout(() => {
      // This page slept over the deadline, and the answer may wait behind this timer.
      if (this.session && now() > due + 1) this.ping(WAKE_SECONDS);
      else this.end({ kind: "lost", detail });
    }, timerMs(seconds));
  }

  /** A request without an answer is a reason to ask whether anybody is there. */
  #doubtSoon() {
    const sentAt = now();
    this.#doubtTimer ??= setTimeout(() => {
      this.#doubtTimer = undefined;
      if (!this.#grace && this.#receivedAt < sentAt) this.ping(DOUBT_SECONDS);
    }, DOUBT_SECONDS * 1000);
  }

  /** @param {string} signal @param {string} subSignal @param {number} messageId @param {Body} [content] */
  send(signal, subSignal, messageId, content) {
    if (this.over) return;
    const text = JSON.stringify({ signal, subSignal, messageId, content });
    const size = text.length * 3 > this.#maxFrame ? bytesOf(text) : 0;
    if (size > this.#maxFrame) {
      throw new PushError("too_large", `${size} bytes where the server accepts ${this.#maxFrame}`, { refused: true });
    }
    this.ws.send(text);
  }

  /** @param {unknown} data */
  #received(data) {
    this.#receivedAt = now();
    if (this.#grace) this.#expect(this.#grace, `no answer to a PING within ${this.#grace} s`);
    let frame;
    try {
      frame = objectOf(JSON.parse(/** @type {string} */ (data)));
    } catch {
      return this.end({ kind: "lost", detail: "not JSON" });
    }
    const { signal, subSignal, messageId } = frame;
    const content = objectOf(frame.content);
    if (signal === "PUSH") return this.owner.push(content, messageId);
    if (signal === "CONNECT_ACK") return this.#connected(subSignal, content);
    if (signal === "DISCONNECT") {
      const detail = `${content.code}: ${content.reason}`;
      return this.end({ kind: "goodbye", code: content.code, detail, body: content });
    }
    const waiting = this.#waiting.get(messageId);
    if (!waiting || waiting.signal !== (signal === "PUB_ACK" ? "PUBLISH" : signal)) return;
    this.#waiting.delete(messageId);
    if (messageId === this.#pingId && signal === "PING") {
      this.#grace = 0;
      clearTimeout(this.#deadTimer);
    }
    waiting.resolve(content);
  }

  /** @param {string} status @param {Body} body */
  #connected(status, body) {
    if (status !== "ACCEPTED") {
      const detail = `${body.code ?? status}: ${body.detail ?? ""}`;
      return this.end({ kind: "refused", code: status, detail, body });
    }
    clearTimeout(this.#deadTimer);
    this.#waiting.clear(); // CONNECT has this answer
    this.session = /** @type {Session} */ (body);
    this.#maxFrame = body.max_frame ?? this.#maxFrame;
    this.#asked = body.heartbeat;
    this.heartbeat = { ...this.heartbeat, interval: Math.max(body.heartbeat, 0) || 60 };
    this.owner.accepted(this.session);
    this.ping();
  }
}

// --- One connection after the other ---------------------------------------------------------------------------

class Engine {
  /** @type {Connection | null} */ #connection = null;
  /** @type {Map<string, {ids: number[], body: Body}>} */ #outstanding = new Map();
  /** @type {(() => void) | null} */ #hurry = null; // ends the pause before the next attempt
  #changes = new Bell();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #renewTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #saveTimer;
  #closed = false;
  #firm = false;
  /** @type {Snapshot} */ snapshot = {
    state: "connecting",
    detail: "",
    server: null,
    session: null,
    error: null,
    heartbeat: null,
    credentials: null,
  };

  /** @param {Settings} settings @param {Memory} memory @param {Host} host */
  constructor(settings, memory, host) {
    this.settings = settings;
    this.memory = memory;
    this.host = host;
    this.cursors = new Cursors();
    if (!memory.credentials && settings.jwt.source) this.cursors.begin(settings.store.load(settings.cursorsName));
    this.policy = new Policy({
      servers: settings.servers,
      plain: settings.plain,
      canAsk: Boolean(settings.serversUrl),
      canRenew: settings.jwt.canRenew,
      canRegister: settings.options.key !== undefined,
      random: settings.options.random,
    });
    this.snapshot.credentials = memory.credentials;
  }

  start() {
    this.#run().catch((error) => this.#fail(new PushError("internal", textOf(error))));
  }

  /** Say `bye`, for good. Fulfilled when the server has closed, or a second later. @param {boolean} [_atOnce] */
  stop(_atOnce) {
    this.#closed = true;
    const connection = this.#connection;
    connection?.bye();
    this.#hurry?.();
    this.#changes.ring();
    if (this.#saveTimer !== undefined) this.#save();
    return Promise.race([connection?.gone, connection && sleep(1000)]);
  }

  /** The page came back, or the network: is the connection alive? Do not wait for long. */
  wake() {
    this.#connection?.ping(WAKE_SECONDS);
    if (!this.#firm) this.#hurry?.();
  }

  visibility() {
    this.#connection?.visibility();
  }

  /** A PUBLISH, or AUTH, and its answer's members. After `seconds` nobody waits any more. @param {string} name @param {Body} body @param {number} seconds @returns {Promise<Body>} */
  async request(name, body, seconds) {
    const deadline = now() + seconds;
    if (name === "TP") {
      if (this.snapshot.session) this.#connection?.send("PUBLISH", name, 0, body);
      return {};
    }
    let connection;
    while (!(connection = this.#connection)?.session || connection.over) {
      if (this.snapshot.error) throw errorOf(this.snapshot.error);
      if (this.#closed) throw new PushError("closed", "the client was closed");
      await this.#changes.wait();
    }
    if (now() > deadline) throw unanswered("no session in time");
    const { session } = connection;
    const auth = name === "AUTH";
    const { ok, ...answer } = await connection.request(auth ? name : "PUBLISH", auth ? "" : name, body);
    if (!ok) throw refusalOf(answer);
    if (auth) this.settings.jwt.value = body.jwt;
    if (name === "TS") this.host.event("topic", { topic: body.topic, follower: this.#follower(session) });
    if (name === "TU") this.host.event("topic", { topic: body.topic, follower: null });
    return answer;
  }

  /** A tab's handlers have finished with a message. @param {string} id */
  finished(id) {
    const { acked } = this.memory;
    const outstanding = this.#outstanding.get(id);
    this.#outstanding.delete(id);
    acked.add(id);
    if (!outstanding) return;
    this.#noteCursor(outstanding.body, true);
    for (const number of outstanding.ids) this.#connection?.send("PUB_ACK", "", number);
    this.host.event("acknowledged", { id, stream: outstanding.body.stream });
  }

  // --- What happens, one after the other ---

  async #run() {
    let plan = this.policy.start();
    while (!this.#closed) {
      if (plan.stop) return this.#fail(plan.stop);
      if (plan.delay > 0) await this.#pause(plan);
      if (this.#closed) return;
      if (plan.register) {
        this.settings.wantsDevice = true;
        this.#set({ credentials: (this.memory.credentials = null) });
      }
      if (plan.renew) this.settings.jwt.value = null;
      plan = plan.ask ? await this.#ask() : await this.#visit(/** @type {string} */ (plan.server));
    }
  }

  /** @param {Plan} plan */
  async #pause(plan) {
    this.#set({ state: "waiting", server: null });
    this.#firm = plan.firm ?? false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const hurried = new Promise((resolve) => {
      this.#hurry = () => resolve(true);
      timer = setTimeout(resolve, plan.delay * 1000);
    });
    // Hurried, there is still a little jitter: all devices of a place wake up at once.
    if ((await hurried) && !this.#closed) await sleep(Math.min(plan.delay, this.settings.options.random()) * 1000);
    clearTimeout(timer);
    this.#hurry = null;
  }

  async #ask() {
    const { serversUrl } = this.settings;
    const { key, connectTimeout, fetch = globalThis.fetch } = this.settings.options;
    this.#set({ state: "connecting", detail: `asking ${serversUrl}` });
    try {
      const response = await fetch(`${serversUrl}/v1/servers`, {
        headers: key ? { Authorization: `Bearer ${key}` } : {},
        signal: AbortSignal.timeout(timerMs(connectTimeout)),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.detail ?? response.status);
      if (!this.policy.allowed(answer.servers).length) throw new Error("none that may be used");
      return this.policy.found(answer.servers);
    } catch (error) {
      this.snapshot.detail = `GET /v1/servers: ${textOf(error)}`;
      return this.policy.found(null);
    }
  }

  /** One connection, from opening it to its end. @param {string} server @returns {Promise<Plan>} */
  async #visit(server) {
    this.#set({ state: "connecting", detail: server, server });
    /** @type {string | null} */
    let jwt;
    try {
      jwt = await this.settings.jwt.get();
    } catch (error) {
      this.host.event("error", error);
      this.snapshot.detail = `the application could not make a JWT: ${textOf(error)}`;
      return this.policy.ended({ kind: "lost", detail: "" }, now());
    }
    if (this.#closed) return { delay: 0 };
    const outcome = await /** @type {Promise<Outcome>} */ (
      new Promise((resolve) => {
        try {
          const connection = (this.#connection = new Connection(server, this.settings, {
            opened: () => void this.#greet(connection, jwt),
            accepted: (session) => this.#accepted(connection, session),
            push: (body, id) => this.#pushed(connection, body, id),
            pong: (heartbeat) => {
              this.snapshot.heartbeat = heartbeat;
              this.host.event("heartbeat", heartbeat);
            },
            ended: resolve,
          }));
        } catch (error) {
          resolve({ kind: "lost", detail: textOf(error) });
        }
      })
    );
    this.#connection = null;
    clearTimeout(this.#renewTimer);
    for (const outstanding of this.#outstanding.values()) outstanding.ids = [];
    this.snapshot.detail = `${server}: ${outcome.detail}`;
    const plan = this.policy.ended(outcome, now());
    const servers = outcome.body?.servers;
    if (servers && plan.server) {
      const reason = outcome.kind === "refused" ? "redirect" : "draining";
      this.host.event("redirect", { from: server, servers, reason, delay: plan.delay });
    }
    return plan;
  }

  /** Register if need be, then CONNECT. @param {Connection} connection @param {string | null} jwt */
  async #greet(connection, jwt) {
    const { settings, memory } = this;
    const { key, platform, app, device, heartbeat, window, maxFrame: max_frame } = settings.options;
    try {
      if (!memory.credentials && settings.canRegister) {
        const pair = await connection.request("SUB", "", { key: key || undefined, platform, app, device });
        if (!pair.token) {
          const detail = `registration: ${pair.code}: ${pair.detail}`;
          connection.end({ kind: "unregistered", code: pair.code, detail, body: pair });
          return;
        }
        const made = { token: pair.token, secret: pair.secret };
        await this.#store(made);
        if (connection.over || this.#closed || this.host.moved(made)) return;
      }
      const { token, secret } = memory.credentials ?? {};
      await connection.request("CONNECT", "", {
        token,
        secret,
        jwt: jwt ?? undefined,
        heartbeat,
        window,
        max_frame,
        sdk: `push-universe-js/${VERSION}`,
        cursors: token ? undefined : this.cursors.positions(),
      });
    } catch (error) {
      if (connection.over) return;
      this.#closed = true; // `onCredentials` threw, or a JWT is larger than a CONNECT may be
      this.#fail(error instanceof PushError ? error : new PushError("callback", textOf(error)));
    }
  }

  /** @param {Credentials} pair */
  async #store(pair) {
    const { onCredentials } = this.settings.options;
    if (onCredentials) await onCredentials(pair);
    else this.settings.store.save(this.settings.pairName, pair);
    this.memory.credentials = pair;
    this.#set({ credentials: pair });
  }

  /** @param {Connection} connection @param {Session} session */
  #accepted(connection, session) {
    this.policy.accepted(now());
    this.cursors.begin(session.streams);
    const { heartbeat } = connection;
    this.#set({ state: "connected", session, heartbeat });
    void this.#restoreTopics(connection, session);
    if (this.settings.jwt.canRenew) this.#renewLater(connection, session.time / 1000 - now());
  }

  /** @param {Connection} connection @param {Body} body @param {number} number */
  #pushed(connection, body, number) {
    const { kind = null, id, stream } = body;
    const known = kind === null || KINDS.includes(kind);
    if (!known || (number && this.memory.acked.has(id))) {
      if (kind === "follow") this.cursors.followed(stream, body.offset ?? null);
      if (kind === "unfollow") this.cursors.unfollowed(stream);
      if (number) {
        this.#noteCursor(body, false);
        this.#noteCursor(body, true);
        connection.send("PUB_ACK", "", number);
      }
      return;
    }
    if (number) {
      const outstanding = this.#outstanding.get(id) ?? { ids: [], body };
      outstanding.ids.push(number);
      this.#outstanding.set(id, outstanding);
      this.#noteCursor(body, false);
    }
    this.host.push(body, number ? 1 : 0);
  }

  /** @param {Body} body @param {boolean} done */
  #noteCursor(body, done) {
    this.cursors.note(body, done);
    if (done && !this.memory.credentials) this.#saveTimer ??= setTimeout(() => this.#save(), 200);
  }

  #save() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    this.settings.store.save(this.settings.cursorsName, this.cursors.positions());
  }

  // --- Topics, JWT ---

  /** Who keeps the topics of a session: the device, or without one (it names `streams`) the session. @param {Session} session */
  #follower({ session, streams }) {
    return streams ? `session ${session}` : `device ${this.memory.credentials?.token ?? "of the JWT"}`;
  }

  /** Subscribe again where another session or device followed. @param {Connection} connection @param {Session} session */
  async #restoreTopics(connection, session) {
    const follower = this.#follower(session);
    for (const [topic, known] of [...this.memory.topics]) {
      if (known === follower || connection.over) continue;
      try {
        const answer = await connection.request("PUBLISH", "TS", { topic });
        if (!answer.ok) throw refusalOf(answer);
        if (this.memory.topics.has(topic)) this.host.event("topic", { topic, follower });
      } catch (error) {
        if (error instanceof PushError && error.refused) this.host.event("error", error);
      }
    }
  }

  /** @param {Connection} connection @param {number} offset of the server's clock to ours, in seconds */
  #renewLater(connection, offset) {
    const delay = renewalDelay(this.settings.jwt.value, now() + offset);
    if (delay === null) return;
    this.#renewTimer = setTimeout(async () => {
      const { jwt } = this.settings;
      const old = jwt.value;
      try {
        jwt.value = null;
        const made = await jwt.get();
        if (connection.over) return; // the next session asks for itself
        const answer = await connection.request("AUTH", "", { jwt: made });
        if (!answer.ok) throw refusalOf(answer);
      } catch (error) {
        if (connection.over) return;
        jwt.value ??= old;
        this.host.event("error", error);
      }
      this.#renewLater(connection, offset);
    }, Math.min(delay, 1e6) * 1000); // timers hold 24 days; a renewal too early harms nobody
  }

  // --- State ---

  /** @param {PushError} error */
  #fail(error) {
    this.#set({ state: "failed", detail: error.message, server: null, error: fieldsOf(error) });
    this.stop();
  }

  /** @param {Partial<Snapshot>} change */
  #set(change) {
    const gone = change.state && change.state !== "connected" && { session: null, heartbeat: null };
    this.snapshot = { ...this.snapshot, ...gone, ...change };
    this.host.event("state", this.snapshot);
    this.#changes.ring();
  }
}

/** @param {Body} answer */
const refusalOf = ({ code = "internal", detail = "", field, after }) =>
  new PushError(code, detail, { field, after, refused: true });

// --- What the application sees --------------------------------------------------------------------------------

const DEFAULTS = {
  platform: "web",
  app: "push-sdk",
  acks: "auto",
  shared: /** @type {boolean | string} */ (true),
  listen: true,
  random: Math.random,
  connectTimeout: 10,
  queueMessages: 1024,
};

/** The checked options, and what follows from them. */
class Settings {
  hidden = false; // the page
  cursorsName = "";

  /** @param {Options} options */
  constructor(options) {
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.options = /** @type {Options & typeof DEFAULTS} */ ({ ...DEFAULTS, ...given });
    const { token, secret, key, jwt, acks, serversUrl, storage } = this.options;
    const { protocol = "", origin } = globalThis.location ?? {};
    const servers = [options.servers ?? []].flat();
    this.servers = usable(servers, true);
    const url = serversUrl ?? (!servers.length && protocol.startsWith("http") ? origin : null);
    this.serversUrl = url && new URL(url).href.replace(/\/+$/, "");
    if (!this.servers.length && (servers.length || !url)) throw new TypeError("servers: ws:// or wss:// URLs, or serversUrl");
    // About lists from the network: nothing leads from TLS to plain.
    this.plain = !(this.servers[0] ?? this.serversUrl).match(/^(wss|https):/);
    if (!token !== !secret) throw new TypeError("token, secret: both");
    if (!token && key === undefined && !jwt) throw new TypeError("give token and secret, a jwt, or a key");
    if (acks !== "auto" && acks !== "explicit") throw new TypeError("acks: auto or explicit");
    this.WebSocket = this.options.WebSocket ?? globalThis.WebSocket;
    if (!this.WebSocket) throw new TypeError("WebSocket: pass the class");
    this.store = new Store(storage);
    this.jwt = new JWTSource(jwt);
    this.wantsDevice = !jwt;
    this.place = this.servers.join(" ") || this.serversUrl;
    this.pairName = `push-universe:device:${this.place}:${this.options.app}:${key}`;
    this.pair = token ? /** @type {Credentials} */ ({ token, secret }) : this.storedPair();
  }

  get canRegister() {
    return this.wantsDevice && this.options.key !== undefined;
  }

  /** @returns {Credentials | null} */
  storedPair() {
    return this.wantsDevice && !this.options.onCredentials ? this.store.load(this.pairName) : null;
  }
}

class Message {
  acknowledged = false;
  #client;

  /** @param {Body} raw @param {0 | 1} qos @param {{_done(message: Message): void, _release(message: Message): void}} client */
  constructor(raw, qos, client) {
    this.#client = client;
    this.raw = raw;
    this.qos = qos;
    this.id = /** @type {string} */ (raw.id ?? "");
    this.stream = /** @type {string} */ (raw.stream ?? "");
    this.offset = /** @type {string | null} */ (raw.offset ?? null);
    this.kind = /** @type {MessageKind | null} */ (raw.kind ?? null);
    this.data = raw.data ?? null;
    this.title = /** @type {string | null} */ (raw.title ?? null);
    this.body = /** @type {string | null} */ (raw.body ?? null);
    this.ts = /** @type {number} */ (raw.ts ?? 0);
    this.expires = /** @type {number | null} */ (raw.expires ?? null);
  }

  get bytes() {
    if (this.raw.encoding !== "base64") return null;
    return Uint8Array.from(atob(this.data), (character) => character.charCodeAt(0));
  }

  ack() {
    this.#client._done(this);
  }

  release() {
    this.#client._release(this);
  }
}

/** @typedef {{message: Message, done: () => void, fail: (error: unknown) => void}} Waiting */

export class PushClient extends ChatRequests {
  #settings;
  #memory = new Memory();
  /** @type {Engine | Tabs | null} */ #backend = null;
  /** @type {Map<string, Set<(value: any) => unknown>>} */ #handlers = new Map();
  /** @type {Waiting[]} */ #queue = [];
  #loops = 0; // that iterate
  #changes = new Bell();
  #unlisten = () => {};
  #started = false;
  #closed = false;
  #suspended = false;
  #opening = 0;
  droppedMessages = 0;
  detail = "";
  /** @type {ClientState} */ state = "idle";
  /** @type {PushError | null} */ error = null;
  /** @type {string | null} */ server = null;
  /** @type {Session | null} */ session = null;
  /** @type {Heartbeat | null} */ heartbeat = null;
  /** @type {Credentials | null} */ credentials = null;

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    this.#settings = new Settings(options);
    this.credentials = this.#memory.credentials = this.#settings.pair;
  }

  get leader() {
    return this.#backend instanceof Tabs ? this.#backend.leading : true;
  }

  // --- Life ---

  start() {
    if (this.#started) throw new PushError("already_started", "a client runs once; make another");
    this.#started = true;
    if (this.#closed) return this;
    if (this.#settings.options.listen) {
      this.#unlisten = listenToPage({
        seen: (hidden) => {
          this.#settings.hidden = hidden;
          this.#backend?.visibility();
          if (!hidden) this.check();
        },
        left: () => this.#suspend(),
        back: () => (this.#suspended ? this.#reopen() : this.check()),
      });
    }
    void this.#open();
    return this;
  }

  async close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#unlisten();
    const stopped = this.#stop();
    if (this.state !== "failed") this.#set({ state: "closed", detail: "", server: null, session: null });
    await stopped;
  }

  async connected() {
    while (!this.session) await this.#change();
    return this.session;
  }

  async register() {
    if (!this.credentials && !this.#settings.canRegister) {
      throw new PushError("configuration", "give a `key`, and no `jwt`");
    }
    while (!this.credentials) await this.#change();
    return this.credentials;
  }

  /** @param {string} jwt @returns {Promise<number>} */
  async renew(jwt) {
    return (await this.publish("AUTH", { jwt })).expires;
  }

  check() {
    this.#backend?.wake();
  }

  /** Who is it, and then one engine, or a share in one. */
  async #open() {
    const opening = ++this.#opening;
    this.#set({ state: "connecting", detail: "" });
    const identity = await this.#identity();
    if (this.#closed || this.#suspended || opening !== this.#opening) return;
    const settings = this.#settings;
    settings.cursorsName = `push-universe:cursors:${settings.place}:${identity}`;
    const { shared } = settings.options;
    const named = typeof shared === "string";
    const group = named ? shared : shared && identity;
    /** @param {string} name @param {any} value */
    const event = (name, value) => this.#event(name, value);
    /** @param {Body} body @param {0 | 1} qos */
    const arrived = (body, qos) => this.#arrived(body, qos);
    const tabs =
      group &&
      shareTabs(`push-universe ${settings.place} ${group}`, this.#memory, {
        engine: (host) => new Engine(settings, this.#memory, host),
        event,
        arrived,
        moved: (pair) => this.#moved(pair, named),
        known: () => !this.#memory.credentials && this.#moved(settings.storedPair(), named),
        alone: () => {
          settings.options.shared = false;
          this.#reopen();
        },
        errorOf,
        fieldsOf,
      });
    this.#backend = tabs || new Engine(settings, this.#memory, { event, push: arrived, moved: () => false });
    this.#backend.start();
    this.#changes.ring();
  }

  /** The device, the user of the JWT, or the device to be. Empty when nobody can say. @returns {Promise<string>} */
  async #identity() {
    const { jwt } = this.#settings;
    const { key, random } = this.#settings.options;
    if (this.#memory.credentials) return `device ${this.#memory.credentials.token}`;
    if (!jwt.source) return `key ${key}`;
    for (let failures = 0; ; failures = Math.min(failures + 1, 6)) {
      try {
        const { sub, token } = claimsOf(await jwt.get());
        return token ? `device ${token}` : sub ? `user ${sub}` : "";
      } catch (error) {
        if (this.#closed || this.#suspended) return "";
        this.#emit("error", error);
        this.#set({ state: "waiting", detail: `the application could not make a JWT: ${textOf(error)}` });
        await sleep(random() * Math.min(2 ** failures, 60) * 1000);
      }
    }
  }

  /** There is a device now: it is what the tabs share from now on. @param {Credentials | null} pair @param {boolean} named */
  #moved(pair, named) {
    if (!pair) return false;
    this.#memory.credentials = pair;
    this.#set({ credentials: pair });
    if (named || this.#closed) return false;
    this.#reopen();
    return true;
  }

  /** @param {boolean} [atOnce] */
  #stop(atOnce) {
    const stopped = this.#backend?.stop(atOnce);
    this.#backend = null;
    return stopped;
  }

  #reopen() {
    this.#suspended = false;
    void this.#stop();
    void this.#open();
  }

  #suspend() {
    if (this.state === "failed" || this.#closed) return;
    this.#suspended = true;
    void this.#stop(true);
    this.#set({ state: "waiting", detail: "the page was left", server: null, session: null });
  }

  // --- State ---

  /** What the engine, or the tab that has it, reports. @param {string} name @param {any} value */
  #event(name, value) {
    if (name === "state") {
      if (this.#closed || this.#suspended) return;
      const { error, ...snapshot } = /** @type {Snapshot} */ (value);
      if (error) this.error = errorOf(error);
      this.#memory.credentials = snapshot.credentials;
      this.#set(snapshot);
      if (!error) return;
      // A tab that is opened later tries for itself.
      void this.#stop();
      return;
    }
    if (name === "topic") {
      if (value.follower) this.#memory.topics.set(value.topic, value.follower);
      else this.#memory.topics.delete(value.topic);
      return;
    }
    if (name === "heartbeat") this.heartbeat = value;
    if (name === "acknowledged") this.#memory.acked.add(value.id);
    this.#emit(name, value);
  }

  /** @param {Partial<Omit<Snapshot, "error">>} change */
  #set(change) {
    Object.assign(this, change);
    const { state, detail, server, session, error, leader } = this;
    this.#emit("state", { state, detail, server, session, error, leader });
    this.#changes.ring();
  }

  /** Until something is different. Throws when nothing will be. */
  async #change() {
    if (this.error) throw this.error;
    if (this.#closed) throw new PushError("closed", "the client was closed");
    if (!this.#started) throw new PushError("not_started", "call start()");
    await this.#changes.wait();
  }

  // --- Handlers and messages ---

  /** @param {string} event @param {(value: any) => unknown} handler */
  on(event, handler) {
    this.#handlersOf(event).add(handler);
    if (this.#wantsMessages) queueMicrotask(() => this.#drain());
    return () => this.off(event, handler);
  }

  /** @param {string} event @param {(value: any) => unknown} handler */
  off(event, handler) {
    this.#handlersOf(event).delete(handler);
  }

  /** @param {string} event */
  #handlersOf(event) {
    let handlers = this.#handlers.get(event);
    if (!handlers) this.#handlers.set(event, (handlers = new Set()));
    return handlers;
  }

  get #wantsMessages() {
    return ["message", ...KINDS].some((event) => this.#handlers.get(event)?.size);
  }

  /** @param {string} event @param {any} value */
  #emit(event, value) {
    const handlers = [...this.#handlersOf(event)];
    if (event === "error" && !handlers.length) console.error("push:", value);
    for (const handler of handlers) {
      this.#call(handler, value).catch((error) => {
        if (event === "error") console.error("push:", error);
        else this.#emit("error", error);
      });
    }
  }

  /** @param {(value: any) => unknown} handler @param {any} value */
  async #call(handler, value) {
    await handler(value);
  }

  /** A copy of a message. @param {Body} body @param {0 | 1} qos */
  #arrived(body, qos) {
    const { id } = body;
    const mine = id ? this.#memory.mine.get(id) : undefined;
    if (mine === "done" && qos) this.#backend?.finished(id);
    if (mine === "held" || mine === "done") return;
    if (id) this.#memory.set(id, qos ? "held" : "done");
    const message = new Message(body, qos, this);
    const parts = this.#handle(message);
    if (this.#loops || !this.#wantsMessages) {
      if (!qos && this.#queue.length >= this.#settings.options.queueMessages && body.kind !== "truncated") {
        this.droppedMessages++;
        return;
      }
      parts.push(new Promise((resolve, reject) => this.#queue.push({ message, done: () => resolve(), fail: reject })));
      this.#changes.ring();
    }
    Promise.all(parts).then(
      () => {
        const auto = this.#settings.options.acks === "auto" && this.#memory.mine.get(message.id) !== "released";
        if (auto) this._done(message);
      },
      (error) => {
        this._release(message);
        if (error) this.#emit("error", error);
      },
    );
  }

  /** @param {Message} message @returns {Promise<void>[]} */
  #handle(message) {
    const handlers = [...this.#handlersOf("message"), ...(message.kind ? this.#handlersOf(message.kind) : [])];
    return handlers.map((handler) => this.#call(handler, message));
  }

  /** What came before there were handlers. */
  #drain() {
    if (this.#loops) return;
    for (const { message, done, fail } of this.#queue.splice(0)) Promise.all(this.#handle(message)).then(done, fail);
  }

  /** @param {Message} message */
  _done(message) {
    if (message.acknowledged) return;
    message.acknowledged = true;
    if (!message.qos) return;
    this.#memory.set(message.id, "done");
    this.#backend?.finished(message.id);
  }

  /** @param {Message} message */
  _release(message) {
    if (message.qos && !message.acknowledged) this.#memory.set(message.id, "released");
  }

  /** @returns {AsyncIterator<any>} */
  [Symbol.asyncIterator]() {
    /** @type {Waiting | null | undefined} */
    let inHand = null;
    this.#loops++;
    return {
      next: async () => {
        inHand?.done();
        inHand = null;
        for (;;) {
          if (this.#closed && !this.error) return { done: true, value: undefined };
          if (this.#queue.length) break;
          await this.#change();
        }
        inHand = /** @type {Waiting} */ (this.#queue.shift());
        return { done: false, value: inHand.message };
      },
      // After `break` or an exception nobody knows whether the message in hand is done.
      return: async () => {
        this.#loops--;
        inHand?.fail(null);
        return { done: true, value: undefined };
      },
    };
  }

  // --- Requests ---

  /**
   * @param {string} request
   * @param {Body} content
   * @param {{timeout?: number}} [options]
   * @returns {Promise<Body>}
   */
  publish(request, content, { timeout = 30 } = {}) {
    return within(timeout, this.#publish(request, content, now() + timeout));
  }

  /** @param {string} request @param {Body} content @param {number} deadline */
  async #publish(request, content, deadline) {
    while (!this.#backend) await this.#change();
    return await this.#backend.request(request, content, deadline - now());
  }

  /** @param {string} topic @param {{timeout?: number}} [options] */
  async subscribe(topic, options) {
    await this.publish("TS", { topic }, options);
  }

  /** @param {string} topic @param {{timeout?: number}} [options] */
  async unsubscribe(topic, options) {
    await this.publish("TU", { topic }, options);
  }
}

/** For this project's own tests. */
export const internals = { Policy, Cursors, JWTSource, outcomeOfClose, renewalDelay, usable };
