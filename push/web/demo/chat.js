/** The group that everybody is in, and conversations of two: messages, receipts, typing. */

import { by, keep, make, say } from "./dom.js";
import { saidBy, Talk } from "./talk.js";
import { clock, t } from "./texts.js";

const TYPING_MS = 4000;
const TELL_TYPING_MS = 2000;
const HISTORY = 50;
const NEAR_END_PIXELS = 40;

export class ChatCard {
  /** @type {Map<string, Talk>} */
  talks = new Map();
  /** The conversation that is shown. */
  open = "";
  toldTyping = -Infinity;

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    by("people").addEventListener("click", (/** @type {any} */ event) => {
      const button = event.target.closest("button");
      if (button) this.#choose(button.dataset.id);
    });
    by("say-text").addEventListener("input", () => this.#tellTyping());
    by("say").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#say();
    });
    document.addEventListener("visibilitychange", () => {
      if (app.client?.state === "connected") this.#mark(this.#talk(this.open));
    });
  }

  begin() {
    this.talks = new Map();
    this.open = this.#group;
    this.toldTyping = -Infinity;
  }

  connected() {
    for (const talk of this.talks.values()) talk.loaded = false; // what came meanwhile
    void this.#loadHistory(this.#talk(this.#group));
    void this.#loadHistory(this.#talk(this.open));
  }

  get #group() {
    return `group:${this.app.start.group}`;
  }

  #talk(/** @type {string} */ id) {
    const talk = this.talks.get(id) ?? new Talk(id);
    this.talks.set(id, talk);
    return talk;
  }

  // --- what comes --------------------------------------------------------------------------------

  /** A message of a conversation, a receipt, or that somebody types. */
  arrived(/** @type {any} */ message) {
    const { raw, kind } = message;
    const talk = this.#talk(raw.conversation);
    const isOwn = (raw.from ?? raw.user) === this.app.me;
    if (kind === "chat") {
      talk.typing.delete(raw.from);
      if (talk.add(saidBy({ ...raw, data: message.data, ts: message.ts })) && !isOwn) {
        talk.unread += 1;
        this.#mark(talk);
      }
    } else if (kind === "receipt" && !isOwn) {
      talk.positions.set(raw.user, { delivered: raw.delivered ?? 0, read: raw.read ?? 0 });
    } else if (kind === "typing" && !isOwn) {
      talk.typing.set(raw.user, performance.now() + TYPING_MS);
    }
    this.render();
  }

  async #loadHistory(/** @type {Talk} */ talk) {
    if (talk.loaded) return;
    talk.loaded = true;
    try {
      const page = await this.app.client.conversation(talk.id).historyPage({ limit: HISTORY });
      for (const each of page.messages) {
        if (!each.recalled) talk.add(saidBy(each));
      }
      this.#mark(talk);
      this.app.render();
    } catch {
      talk.loaded = false; // there is nothing of it yet, or the connection was lost: at the next time
    }
  }

  // --- what others get to see of this page -------------------------------------------------------

  /** Tell how far this user is: everything is delivered, and read where it is on the screen. */
  #mark(/** @type {Talk} */ talk) {
    const isRead = talk.id === this.open && document.visibilityState === "visible";
    if (isRead) talk.unread = 0;
    const last = talk.lastOfOthers(this.app.me);
    if (!last) return;
    const conversation = this.app.client.conversation(talk.id);
    // A receipt that is lost with the connection is made up for by the next.
    (isRead ? conversation.markRead(last) : conversation.markDelivered(last)).catch(() => {});
  }

  #tellTyping() {
    if (performance.now() - this.toldTyping < TELL_TYPING_MS) return;
    this.toldTyping = performance.now();
    this.app.client.conversation(this.open).typing();
  }

  async #say() {
    const { app } = this;
    const talk = this.#talk(this.open);
    const text = by("say-text").value.trim();
    if (!text) return;
    const said = { key: newId(), from: app.me, text, ts: app.serverNow(), seq: 0, failed: false };
    talk.add(said);
    by("say-text").value = "";
    this.toldTyping = -Infinity;
    this.render();
    scrollToEnd();
    await app.attempt(by("say-error"), async () => {
      try {
        const sent = await app.client.conversation(talk.id).send({ text }, { client_id: said.key });
        talk.add({ ...said, seq: sent.seq, ts: sent.ts });
      } catch (error) {
        talk.add({ ...said, failed: true });
        throw error;
      }
    });
    this.render();
  }

  #choose(/** @type {string} */ id) {
    this.open = id;
    const talk = this.#talk(id);
    this.#mark(talk);
    void this.#loadHistory(talk);
    this.render();
    scrollToEnd();
  }

  // --- drawing -----------------------------------------------------------------------------------

  render() {
    this.#drawPeople();
    this.#drawTalk();
    this.tick();
  }

  /** What changes with time. */
  tick() {
    const user = this.#talk(this.open).typists(performance.now()).join(", ");
    say(by("typing"), user ? t("chat.typing", { user }) : "");
  }

  #drawPeople() {
    const here = new Map(this.app.people.map((person) => [person.user, person.here]));
    const others = new Set([...here.keys(), ...[...this.talks.values()].flatMap((talk) => talk.peer ?? [])]);
    others.delete(this.app.me);
    const away = (/** @type {string} */ user) => (here.get(user) ? 0 : 1);
    const sorted = [...others].sort((one, other) => away(one) - away(other) || (one < other ? -1 : 1));
    const ids = [this.#group, ...sorted.map((user) => `user:${user}`)];
    keep(by("people"), ids, (id) => id, (id) => {
      const talk = this.#talk(id);
      return this.#person(talk, talk.peer !== null && away(talk.peer) > 0);
    });
  }

  #person(/** @type {Talk} */ talk, /** @type {boolean} */ isAway) {
    const button = make("button", {
      type: "button",
      class: isAway ? "person person-away" : "person",
      "aria-pressed": String(talk.id === this.open),
      "data-id": talk.id,
    }, isAway ? `${nameOf(talk)} (${t("chat.away")})` : nameOf(talk));
    if (talk.unread) {
      button.append(
        make("span", { class: "unread", "aria-hidden": "true" }, String(talk.unread)),
        make("span", { class: "hidden" }, ` ${t("chat.unread", { n: talk.unread })}`));
    }
    return make("li", {}, button);
  }

  #drawTalk() {
    const talk = this.#talk(this.open);
    const box = by("talk");
    const wasAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PIXELS;
    say(by("talk-name"), t("chat.talk", { name: nameOf(talk) }));
    by("talk-empty").hidden = talk.said.length > 0;
    say(by("talk-empty"), talk.peer ? t("chat.empty.user", { user: talk.peer }) : t("chat.empty.group"));
    keep(by("bubbles"), talk.said, (said) => `${talk.id} ${said.key}`, (said) => this.#bubble(talk, said));
    if (wasAtEnd) scrollToEnd();
  }

  #bubble(/** @type {Talk} */ talk, /** @type {import("./talk.js").Said} */ said) {
    const own = said.from === this.app.me;
    const [tick, word, look] = own ? receiptOf(talk, said) : ["", "", ""];
    return make("li", { class: own ? "bubble bubble-own" : "bubble" },
      own ? make("span", { class: "hidden" }, `${t("chat.you")}: `) : make("p", { class: "bubble-from" }, said.from),
      make("p", { class: "bubble-text" }, said.text),
      make("p", { class: "bubble-meta" }, `${clock(said.ts)} `,
        own ? make("span", { class: `tick ${look}`, "aria-hidden": "true" }, tick) : null,
        own ? make("span", { class: "receipt" }, word) : null));
  }
}

const nameOf = (/** @type {Talk} */ talk) => talk.peer ?? t("chat.everyone");

const scrollToEnd = () => (by("talk").scrollTop = by("talk").scrollHeight);

/** The mark, the word and the look of how far a message of this page came. */
function receiptOf(/** @type {Talk} */ talk, /** @type {import("./talk.js").Said} */ said) {
  if (said.failed) return ["!", t("chat.failed"), ""];
  if (!said.seq) return ["…", t("chat.sending"), ""];
  const { read, delivered } = talk.receipts(said.seq);
  if (read) return ["✓✓", talk.peer ? t("chat.read") : t("chat.readby", { n: read }), "tick-read"];
  return delivered ? ["✓✓", t("chat.delivered"), ""] : ["✓", t("chat.sent"), ""];
}

/** A name for a message, also where the page is not secure. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
