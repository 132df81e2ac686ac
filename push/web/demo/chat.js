/** The group that everybody is in, and conversations of two: messages, receipts, typing. */

import { by, keep, make, say } from "./dom.js";
import { clock, t } from "./texts.js";

const TYPING_MS = 4000;
const TELL_TYPING_MS = 2000;
const HISTORY = 50;

/**
 * @typedef {{key: string, from: string, text: string, ts: number, seq: number, failed: boolean}} Said
 * `seq` 0: it is being sent.
 */

/** A conversation as this page knows it. */
class Talk {
  /** @param {string} id `user:<peer>` or `group:<group>` */
  constructor(id) {
    this.id = id;
    /** @type {Said[]} */
    this.said = [];
    this.unread = 0;
    this.loaded = false;
    /** How far others are. @type {Map<string, {delivered: number, read: number}>} */
    this.positions = new Map();
    /** Until when somebody is shown as typing. @type {Map<string, number>} */
    this.typing = new Map();
  }

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

  /** How many others have read, or at least got, a message. */
  receipts(/** @type {number} */ seq) {
    const all = [...this.positions.values()];
    return {
      read: all.filter((each) => each.read >= seq).length,
      delivered: all.filter((each) => each.delivered >= seq).length,
    };
  }
}

/** @param {import("./app.js").App} app */
export function chat(app) {
  /** @type {Map<string, Talk>} */
  let talks = new Map();
  let open = "";
  let toldTyping = -Infinity;

  const groupId = () => `group:${app.start.group}`;

  function talk(/** @type {string} */ id) {
    let found = talks.get(id);
    if (!found) talks.set(id, (found = new Talk(id)));
    return found;
  }

  const nameOf = (/** @type {Talk} */ one) => one.peer ?? t("chat.everyone");
  const textOf = (/** @type {any} */ data) => (typeof data?.text === "string" ? data.text : JSON.stringify(data));

  // --- what others see of this page --------------------------------------------------------------

  function markAll(/** @type {Talk} */ one) {
    const last = Math.max(0, ...one.said.filter((said) => said.from !== app.me).map((said) => said.seq));
    const isRead = one.id === open && document.visibilityState === "visible";
    if (isRead) one.unread = 0;
    if (!last) return;
    const conversation = app.client.conversation(one.id);
    // A receipt that is lost with the connection is made up for by the next.
    (isRead ? conversation.markRead(last) : conversation.markDelivered(last)).catch(() => {});
  }

  async function loadHistory(/** @type {Talk} */ one) {
    if (one.loaded) return;
    one.loaded = true;
    try {
      const page = await app.client.conversation(one.id).historyPage({ limit: HISTORY });
      for (const each of page.messages) {
        if (!each.recalled) one.add(saidBy(each));
      }
      markAll(one);
      app.render();
    } catch {
      one.loaded = false; // there is nothing of it yet, or the connection was lost: at the next time
    }
  }

  const saidBy = (/** @type {any} */ raw) => ({
    key: raw.client_id ?? `seq-${raw.seq}`,
    from: raw.from,
    text: textOf(raw.data),
    ts: raw.ts,
    seq: raw.seq,
    failed: false,
  });

  function choose(/** @type {string} */ id) {
    open = id;
    const one = talk(id);
    markAll(one);
    void loadHistory(one);
    draw();
    toEnd();
  }

  const toEnd = () => (by("talk").scrollTop = by("talk").scrollHeight);

  // --- drawing -----------------------------------------------------------------------------------

  function drawPeople() {
    const here = new Map(app.people.map((person) => [person.user, person.here]));
    const others = new Set([...here.keys(), ...[...talks.values()].flatMap((one) => one.peer ?? [])]);
    others.delete(app.me);
    const away = (/** @type {string} */ user) => (here.get(user) ? 0 : 1);
    const sorted = [...others].sort((one, other) => away(one) - away(other) || (one < other ? -1 : 1));
    const ids = [groupId(), ...sorted.map((user) => `user:${user}`)];
    keep(by("people"), ids, (id) => id, (id) => {
      const one = talk(id);
      const isAway = one.peer !== null && away(one.peer) > 0;
      const button = make("button", {
        type: "button",
        class: isAway ? "person person-away" : "person",
        "aria-pressed": String(id === open),
        "data-id": id,
      }, isAway ? `${nameOf(one)} (${t("chat.away")})` : nameOf(one));
      if (one.unread) {
        button.append(
          make("span", { class: "unread", "aria-hidden": "true" }, String(one.unread)),
          make("span", { class: "hidden" }, ` ${t("chat.unread", { n: one.unread })}`));
      }
      return make("li", {}, button);
    });
  }

  function stateOf(/** @type {Talk} */ one, /** @type {Said} */ said) {
    if (said.failed) return ["!", t("chat.failed"), ""];
    if (!said.seq) return ["…", t("chat.sending"), ""];
    const { read, delivered } = one.receipts(said.seq);
    if (read) return ["✓✓", one.peer ? t("chat.read") : t("chat.readby", { n: read }), "tick-read"];
    return delivered ? ["✓✓", t("chat.delivered"), ""] : ["✓", t("chat.sent"), ""];
  }

  function drawTalk() {
    const one = talk(open);
    const box = by("talk");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    say(by("talk-name"), t("chat.talk", { name: nameOf(one) }));
    by("talk-empty").hidden = one.said.length > 0;
    say(by("talk-empty"), one.peer ? t("chat.empty.user", { user: one.peer }) : t("chat.empty.group"));
    keep(by("bubbles"), one.said, (said) => `${one.id} ${said.key}`, (said) => {
      const own = said.from === app.me;
      const [tick, word, look] = own ? stateOf(one, said) : ["", "", ""];
      return make("li", { class: own ? "bubble bubble-own" : "bubble" },
        own ? make("span", { class: "hidden" }, `${t("chat.you")}: `) : make("p", { class: "bubble-from" }, said.from),
        make("p", { class: "bubble-text" }, said.text),
        make("p", { class: "bubble-meta" }, `${clock(said.ts)} `,
          own ? make("span", { class: `tick ${look}`, "aria-hidden": "true" }, tick) : null,
          own ? make("span", { class: "receipt" }, word) : null));
    });
    if (atEnd) toEnd();
  }

  function drawTyping() {
    const now = performance.now();
    const who = [...talk(open).typing].filter(([, until]) => until > now).map(([user]) => user);
    say(by("typing"), who.length ? t("chat.typing", { user: who.join(", ") }) : "");
  }

  function draw() {
    drawPeople();
    drawTalk();
    drawTyping();
  }

  // --- what the user does ------------------------------------------------------------------------

  by("people").addEventListener("click", (/** @type {any} */ event) => {
    const button = event.target.closest("button");
    if (button) choose(button.dataset.id);
  });

  by("say-text").addEventListener("input", () => {
    if (performance.now() - toldTyping < TELL_TYPING_MS) return;
    toldTyping = performance.now();
    app.client.conversation(open).typing();
  });

  by("say").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const one = talk(open);
    const text = by("say-text").value.trim();
    if (!text) return;
    const said = { key: newId(), from: app.me, text, ts: app.serverNow(), seq: 0, failed: false };
    one.add(said);
    by("say-text").value = "";
    toldTyping = -Infinity;
    drawTalk();
    toEnd();
    await app.attempt(by("say-error"), async () => {
      try {
        const sent = await app.client.conversation(one.id).send({ text }, { client_id: said.key });
        one.add({ ...said, seq: sent.seq, ts: sent.ts });
      } catch (error) {
        one.add({ ...said, failed: true });
        throw error;
      }
    });
    draw();
  });

  document.addEventListener("visibilitychange", () => {
    if (app.client?.state === "connected" && open) markAll(talk(open));
  });

  return {
    begin() {
      talks = new Map();
      open = groupId();
    },
    connected() {
      for (const one of talks.values()) one.loaded = false; // what came meanwhile
      void loadHistory(talk(groupId()));
      void loadHistory(talk(open));
    },
    render: draw,
    tick: drawTyping,
    /** A message of a conversation, a receipt, or that somebody types. */
    arrived(/** @type {any} */ message) {
      const raw = message.raw;
      const one = talk(raw.conversation);
      if (message.kind === "chat") {
        one.typing.delete(raw.from);
        const isNew = one.add(saidBy({ ...raw, data: message.data, ts: message.ts }));
        if (isNew && raw.from !== app.me) {
          one.unread += 1;
          markAll(one);
        }
      } else if (message.kind === "receipt" && raw.user !== app.me) {
        one.positions.set(raw.user, { delivered: raw.delivered ?? 0, read: raw.read ?? 0 });
      } else if (message.kind === "typing" && raw.user !== app.me) {
        one.typing.set(raw.user, performance.now() + TYPING_MS);
      }
      draw();
    },
  };
}

/** A name for a message, also where the page is not secure. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
