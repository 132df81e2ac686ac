/** Pushing: the form with its curl line, the funnel of the last push, and what arrives here. */

import { ask } from "./api.js";
import { by, keep, make, say } from "./dom.js";
import { clock, count, t } from "./texts.js";

const STEPS = ["addressed", "stored", "written", "acknowledged"];
const KEPT = 100;

/** @param {import("./app.js").App} app */
export function pushes(app) {
  /** @type {{id: string, data: any, stream: string, ts: number, caught: boolean, acknowledged: boolean}[]} */
  let inbox = [];
  const form = by("push");

  const chosen = () => new FormData(form).get("to");
  const user = () => by("push-user").value || app.me;

  function target() {
    if (chosen() === "device") return { token: app.start.token };
    if (chosen() === "topic") return { topic: app.start.topic };
    if (chosen() === "everyone") return { group: app.start.group };
    return { user: user() };
  }

  function drawForm() {
    by("push-user-field").hidden = chosen() !== "user";
    by("follow-field").hidden = chosen() !== "topic";
    const people = app.people.map((person) => person.user);
    const names = [app.me, ...people.filter((name) => name !== app.me)];
    const before = user();
    keep(by("push-user"), names, (name) => name, (name) =>
      make("option", { value: name }, name === app.me ? t("push.me", { user: name }) : name));
    by("push-user").value = names.includes(before) ? before : app.me;
    drawCurl();
  }

  function drawCurl() {
    const body = JSON.stringify({ to: target(), data: { text: by("push-text").value } });
    say(by("curl"), [
      `curl ${location.origin}/v1/push \\`,
      '  -H "Authorization: Bearer $PUSH_KEY" \\',
      "  -H 'Content-Type: application/json' \\",
      `  -d '${body.replaceAll("'", "'\\''")}'`,
    ].join("\n"));
  }

  function drawFunnel() {
    const ledger = app.ledger;
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
    say(by("funnel-note"), funnelNote(ledger));
  }

  function funnelNote(/** @type {any} */ ledger) {
    if (ledger === null) return t(app.lastPush === null ? "funnel.none" : "funnel.counting");
    if (ledger.addressed === 0) return t("funnel.nobody");
    const waiting = ledger.addressed - ledger.acknowledged;
    return waiting ? count("funnel.waits", waiting) : count("funnel.all", ledger.addressed);
  }

  function drawInbox() {
    by("inbox-empty").hidden = inbox.length > 0;
    say(by("inbox-count"), inbox.length ? count("inbox.count", inbox.length) : "");
    keep(by("inbox"), inbox, (item) => item.id, (item) => {
      const kind = item.stream.split(":")[0];
      return make("li", { class: "fresh" },
        make("span", { class: "inbox-text" }, textOf(item.data)),
        make("span", { class: item.acknowledged ? "inbox-state inbox-acked" : "inbox-state" },
          t(item.acknowledged ? "inbox.acknowledged" : "inbox.received")),
        make("span", { class: "inbox-meta" },
          `${clock(item.ts)} · ${t(`stream.${kind}`)} · ${t("inbox.id")} `,
          make("code", {}, item.id),
          item.caught ? make("span", { class: "inbox-caught" }, ` · ${t("inbox.caught")}`) : null));
    });
  }

  function textOf(/** @type {any} */ data) {
    if (typeof data?.meanwhile === "number") return t("inbox.meanwhile", { n: data.meanwhile, of: data.of });
    if (typeof data === "string") return data;
    return typeof data?.text === "string" ? data.text : t("inbox.binary");
  }

  form.addEventListener("change", drawForm);
  by("push-text").addEventListener("input", drawCurl);
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const body = { ticket: app.start.ticket, to: chosen(), text: by("push-text").value };
    await app.attempt(by("push-error"), async () => {
      const pushed = await ask("push", chosen() === "user" ? { ...body, user: user() } : body);
      app.follow(pushed.id);
      app.tell("event.pushed", { id: pushed.id });
    });
  });

  by("follow").addEventListener("change", async (/** @type {any} */ event) => {
    const follows = event.target.checked;
    await app.attempt(by("push-error"), async () => {
      await (follows ? app.client.subscribe(app.start.topic) : app.client.unsubscribe(app.start.topic));
      app.tell(follows ? "event.followed" : "event.unfollowed");
    });
  });

  by("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(by("curl").textContent);
      say(by("copy"), t("push.copied"));
      setTimeout(() => say(by("copy"), t("push.copy")), 2000);
    } catch {
      getSelection()?.selectAllChildren(by("curl")); // then it is copied by the keyboard
    }
  });

  return {
    begin() {
      inbox = [];
      by("push-text").value = t("push.example");
      by("follow").checked = false;
    },
    render() {
      drawForm();
      drawFunnel();
      drawInbox();
    },
    arrived(/** @type {any} */ message) {
      if (inbox.some((item) => item.id === message.id)) return;
      const { id, data, stream, ts } = message;
      inbox = [{ id, data, stream, ts, caught: ts < app.connectedAt, acknowledged: false }, ...inbox].slice(0, KEPT);
      const text = textOf(data).slice(0, 60);
      app.tell("event.arrived", { text });
      say(by("live"), t("event.arrived", { text }));
      drawInbox();
    },
    acknowledged(/** @type {string} */ id) {
      inbox = inbox.map((item) => (item.id === id ? { ...item, acknowledged: true } : item));
      drawInbox();
    },
  };
}
