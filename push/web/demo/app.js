/** What the parts of the page share: who it is, its client, what the server last said. */

import { PushClient } from "./push.js";
import { ask, DemoError } from "./api.js";
import { ChatCard } from "./chat.js";
import { ConnectorsCard } from "./connectors.js";
import { by, keep, make, say } from "./dom.js";
import { HeartbeatCard } from "./heartbeat.js";
import { NetworkCard } from "./network.js";
import { FunnelCard, InboxCard, PushForm } from "./pushes.js";
import { clock, count, t } from "./texts.js";

const LOOK_MS = 1000;
const LOOK_HIDDEN_MS = 30_000;
const HEARTBEAT_SECONDS = 10;
const EVENTS = 40;
const PILLS = {
  idle: "pill-warn",
  connecting: "pill-warn",
  connected: "pill-good",
  waiting: "pill-warn",
  moving: "pill-warn",
  closed: "pill-bad",
  failed: "pill-bad",
};

export class App {
  /** @param {() => void} ended called when the demo user is no more */
  constructor(ended) {
    this._ended = ended;
    /** What `start` answered. @type {any} */
    this.start = null;
    /** @type {any} */
    this.client = null;
    /** @type {any} */
    this.state = null;
    /** @type {string | null} */
    this.lastPush = null;
    /** By the server's clock. */
    this.connectedAt = 0;
    this._clockAhead = 0;
    /** @type {{n: number, ts: number, key: string, values: any}[]} */
    this._events = [];
    this._told = 0;
    this._run = 0;
    /** @type {any} */
    this._timer = null;
    this._looking = false;
    this.cards = {
      connectors: new ConnectorsCard(this),
      heartbeat: new HeartbeatCard(this),
      form: new PushForm(this),
      funnel: new FunnelCard(this),
      inbox: new InboxCard(this),
      chat: new ChatCard(this),
      network: new NetworkCard(this),
    };
    setInterval(() => this._tick(), 250);
    document.addEventListener("visibilitychange", () => this.look());
  }

  get me() {
    return this.start.user;
  }

  /** @returns {{user: string, here: boolean}[]} */
  get people() {
    return this.state?.people ?? [];
  }

  serverNow() {
    return Date.now() + this._clockAhead;
  }

  /** The name of a connector by its URL: where the page was connected. */
  nodeName(/** @type {string} */ url) {
    return this._nodes.get(url) ?? this.client.session?.node ?? url;
  }

  // --- begin and end -----------------------------------------------------------------------------

  /** @param {any} start */
  begin(start) {
    this.start = start;
    this.state = this.lastPush = null;
    this._events = [];
    /** @type {Map<string, string>} */
    this._nodes = new Map();
    this._was = this._node = "";
    this._run += 1;
    const secure = location.protocol === "https:";
    this.client = new PushClient({
      servers: start.servers.filter((/** @type {string} */ url) => !secure || url.startsWith("wss:")),
      token: start.token,
      secret: start.secret,
      heartbeat: HEARTBEAT_SECONDS,
      storage: null,
    });
    for (const part of Object.values(this.cards)) part.begin();
    this._listen(this.client);
    this.tell("event.registered", { user: start.user, token: start.token });
    this.client.start();
    this.look();
    this.render();
  }

  async end() {
    this._run += 1;
    clearTimeout(this._timer);
    const client = this.client;
    this.client = null;
    await client?.close();
  }

  _listen(/** @type {any} */ client) {
    const on = (/** @type {string} */ event, /** @type {(value: any) => void} */ handler) =>
      client.on(event, (/** @type {any} */ value) => {
        if (client === this.client) handler(value);
      });
    on("state", (change) => this._changed(change));
    on("message", (message) => {
      if (message.kind === null) {
        this.cards.network.arrived(message);
        this.cards.inbox.arrived(message);
      } else if (["chat", "receipt", "typing"].includes(message.kind)) {
        this.cards.chat.arrived(message);
      } else if (message.kind === "truncated") {
        this.tell("event.truncated", { stream: message.stream });
      }
    });
    on("acknowledged", ({ id }) => this.cards.inbox.acknowledged(id));
    on("redirect", (redirect) => {
      this.cards.connectors.redirected(redirect);
      this.look();
      this.render();
    });
    on("heartbeat", (beat) => {
      this.cards.heartbeat.answered(beat);
      this.render();
    });
  }

  _changed(/** @type {any} */ change) {
    if (change.state === "connected") {
      const { node, time } = change.session;
      this.connectedAt = time;
      this._clockAhead = time - Date.now();
      this._node = node;
      this._nodes.set(change.server, node);
      this.cards.connectors.connected(node);
      this.cards.chat.connected();
      this.tell("event.connected", { node });
      this.look();
    } else if (this._was === "connected" && this.cards.connectors.leaving === null) {
      this.tell("event.lost", { node: this._node });
    } else if (change.state === "failed" && change.error?.code === "unknown_token") {
      this._ended();
    }
    this._was = change.state;
    this.render();
  }

  // --- what the server says ------------------------------------------------------------------------

  /** The funnel of the last push; null until the server has counted anything of it. */
  get ledger() {
    const ledger = this.state?.message ?? null;
    const isOlder = this.lastPush !== null && ledger !== null && ledger.id < this.lastPush;
    return isOlder ? null : ledger;
  }

  /** Show the funnel of this push from now on. */
  follow(/** @type {string} */ id) {
    this.lastPush = id;
    this.render();
    this.look();
  }

  /** Ask now, and then again and again. */
  look() {
    clearTimeout(this._timer);
    if (this.client !== null && !this._looking) void this._look(this._run);
  }

  async _look(/** @type {number} */ run) {
    this._looking = true;
    try {
      const state = await ask("state", { ticket: this.start.ticket });
      if (run !== this._run) return;
      this.state = state;
      this._show("");
    } catch (/** @type {any} */ error) {
      if (run !== this._run) return;
      if (error.code === "unauthenticated") return this._ended();
      this._show(error instanceof DemoError ? error.text : String(error));
    } finally {
      this._looking = false;
      if (this.client !== null) {
        clearTimeout(this._timer);
        const again = document.visibilityState === "visible" ? LOOK_MS : LOOK_HIDDEN_MS;
        this._timer = setTimeout(() => this.look(), again);
      }
    }
    this.render();
  }

  // --- showing -------------------------------------------------------------------------------------

  /** Do something that may be refused, and show that beside it. */
  async attempt(/** @type {HTMLElement} */ place, /** @type {() => Promise<void>} */ work) {
    say(place, "");
    try {
      await work();
    } catch (/** @type {any} */ error) {
      if (error.code === "unauthenticated") this._ended();
      else say(place, error instanceof DemoError ? error.text : t("error.generic", { why: error.detail ?? error }));
    }
  }

  /** A line for "What just happened". */
  tell(/** @type {string} */ key, values = {}) {
    const event = { n: ++this._told, ts: this.serverNow(), key, values };
    this._events = [event, ...this._events].slice(0, EVENTS);
    this._drawEvents();
  }

  render() {
    if (this.client === null) return;
    this._drawIdentity();
    this._drawEvents();
    for (const part of Object.values(this.cards)) part.render();
  }

  _tick() {
    if (this.client === null) return;
    this.cards.network.tick();
    this.cards.chat.tick();
    this.cards.heartbeat.tick();
  }

  _show(/** @type {string} */ problem) {
    by("banner").hidden = !problem;
    say(by("banner"), problem);
  }

  _drawIdentity() {
    const { user, token, ends } = this.start;
    say(by("user"), user);
    say(by("token"), token);
    say(by("avatar"), user.replace("demo-", "").slice(0, 1));
    const isMoving = this.client.state !== "connected" && this.cards.connectors.leaving !== null;
    const state = /** @type {keyof typeof PILLS} */ (isMoving ? "moving" : this.client.state);
    const values = { node: this.client.session?.node, why: this.client.error?.detail ?? "" };
    by("connection").className = `pill ${PILLS[state]}`;
    say(by("connection"), t(`state.${state}`, values));
    const minutes = Math.max(1, Math.round(((this.state?.ends ?? ends) - this.serverNow()) / 60_000));
    say(by("ends"), count("identity.ends", minutes));
  }

  _drawEvents() {
    keep(by("events"), this._events, (event) => String(event.n), (event) =>
      make("li", {}, make("time", {}, clock(event.ts)), make("span", {}, t(event.key, event.values))));
  }
}
