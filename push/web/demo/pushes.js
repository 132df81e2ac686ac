/** Pushing: the form with its curl line, the funnel of the last push, and what arrives here. */

import { ask } from "./api.js";
import { by, keep, make, say } from "./dom.js";
import { clock, count, t } from "./texts.js";

const STEPS = ["addressed", "stored", "written", "acknowledged"];
const KEPT = 100;
const COPIED_MS = 2000;

/** The form, and the same request for curl. */
export class PushForm {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    const form = by("push");
    form.addEventListener("change", () => this.render());
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#push();
    });
    by("push-text").addEventListener("input", () => this.#drawCurl());
    by("follow").addEventListener("change", () => void this.#follow());
    by("copy").addEventListener("click", () => void this.#copy());
  }

  begin() {
    by("push-text").value = t("push.example");
    by("follow").checked = false;
  }

  get #to() {
    return new FormData(by("push")).get("to");
  }

  get #user() {
    return by("push-user").value || this.app.me;
  }

  /** As `POST /v1/push` takes it. */
  get #target() {
    const { token, topic, group } = this.app.start;
    if (this.#to === "device") return { token };
    if (this.#to === "topic") return { topic };
    return this.#to === "everyone" ? { group } : { user: this.#user };
  }

  async #push() {
    const { app } = this;
    const body = { ticket: app.start.ticket, to: this.#to, text: by("push-text").value };
    await app.attempt(by("push-error"), async () => {
      const { id } = await ask("push", this.#to === "user" ? { ...body, user: this.#user } : body);
      app.follow(id);
      app.tell("event.pushed", { id });
    });
  }

  async #follow() {
    const { client, start } = this.app;
    const follows = by("follow").checked;
    await this.app.attempt(by("push-error"), async () => {
      await (follows ? client.subscribe(start.topic) : client.unsubscribe(start.topic));
      this.app.tell(follows ? "event.followed" : "event.unfollowed");
    });
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(by("curl").textContent);
      say(by("copy"), t("push.copied"));
      setTimeout(() => say(by("copy"), t("push.copy")), COPIED_MS);
    } catch {
      getSelection()?.selectAllChildren(by("curl")); // then it is copied by the keyboard
    }
  }

  render() {
    const { me, people } = this.app;
    by("push-user-field").hidden = this.#to !== "user";
    by("follow-field").hidden = this.#to !== "topic";
    const names = [me, ...people.map((person) => person.user).filter((name) => name !== me)];
    const before = this.#user;
    keep(by("push-user"), names, (name) => name, (name) =>
      make("option", { value: name }, name === me ? t("push.me", { user: name }) : name));
    by("push-user").value = names.includes(before) ? before : me;
    this.#drawCurl();
  }

  #drawCurl() {
    const body = JSON.stringify({ to: this.#target, data: { text: by("push-text").value } });
    say(by("curl"), [
      `curl ${location.origin}/v1/push \\`,
      '  -H "Authorization: Bearer $PUSH_KEY" \\',
      "  -H 'Content-Type: application/json' \\",
      `  -d '${body.replaceAll("'", "'\\''")}'`,
    ].join("\n"));
  }
}

/** What became of the last push. */
export class FunnelCard {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
  }

  begin() {}

  render() {
    const { ledger } = this.app;
    const most = Math.max(ledger?.addressed ?? 0, 1);
    keep(by("funnel"), STEPS, (step) => step, (step) => {
      const n = ledger?.[step] ?? 0;
      const done = ledger !== null && n > 0 && n === ledger.addressed;
      return make("li", { class: done ? "step step-done" : "step", "data-n": String(n) },
        make("span", { class: "step-count" }, ledger === null ? "–" : String(n)),
        make("span", { class: "step-name" }, t(`funnel.${step}`)),
        make("span", { class: "step-bar" }));
    });
    // Not as an attribute of the markup: the page's policy allows no inline styles.
    for (const step of by("funnel").children) {
      step.lastElementChild.style.width = `${(100 * Number(step.dataset.n)) / most}%`;
    }
    say(by("funnel-note"), this.#note(ledger));
  }

  #note(/** @type {any} */ ledger) {
    if (ledger === null) return t(this.app.lastPush === null ? "funnel.none" : "funnel.counting");
    if (ledger.addressed === 0) return t("funnel.nobody");
    const waiting = ledger.addressed - ledger.acknowledged;
    return waiting ? count("funnel.waits", waiting) : count("funnel.all", ledger.addressed);
  }
}

/** Pushes that arrived here, the latest first. */
export class InboxCard {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.begin();
  }

  begin() {
    /** @type {{id: string, data: any, stream: string, ts: number, caught: boolean, acknowledged: boolean}[]} */
    this.items = [];
  }

  arrived(/** @type {any} */ message) {
    const { id, data, stream, ts } = message;
    if (this.items.some((item) => item.id === id)) return;
    // It is older than the connection: it waited for it.
    const item = { id, data, stream, ts, caught: ts < this.app.connectedAt, acknowledged: false };
    this.items = [item, ...this.items].slice(0, KEPT);
    const text = textOf(data).slice(0, 60);
    this.app.tell("event.arrived", { text });
    say(by("live"), t("event.arrived", { text }));
    this.render();
  }

  acknowledged(/** @type {string} */ id) {
    this.items = this.items.map((item) => (item.id === id ? { ...item, acknowledged: true } : item));
    this.render();
  }

  render() {
    const { items } = this;
    by("inbox-empty").hidden = items.length > 0;
    say(by("inbox-count"), items.length ? count("inbox.count", items.length) : "");
    keep(by("inbox"), items, (item) => item.id, (item) =>
      make("li", { class: "fresh" },
        make("span", { class: "inbox-text" }, textOf(item.data)),
        make("span", { class: item.acknowledged ? "inbox-state inbox-acked" : "inbox-state" },
          t(item.acknowledged ? "inbox.acknowledged" : "inbox.received")),
        make("span", { class: "inbox-meta" },
          `${clock(item.ts)} · ${t(`stream.${item.stream.split(":")[0]}`)} · ${t("inbox.id")} `,
          make("code", {}, item.id),
          item.caught ? make("span", { class: "inbox-caught" }, ` · ${t("inbox.caught")}`) : null)));
  }
}

function textOf(/** @type {any} */ data) {
  if (typeof data?.meanwhile === "number") return t("inbox.meanwhile", { n: data.meanwhile, of: data.of });
  if (typeof data === "string") return data;
  return typeof data?.text === "string" ? data.text : t("inbox.binary");
}
