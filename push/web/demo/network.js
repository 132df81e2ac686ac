/** A network that fails: the countdown, and what was caught up. */

import { ask } from "./api.js";
import { by, make, say } from "./dom.js";
import { duration, t } from "./texts.js";

/**
 * @typedef {{from: number, until: number, of: number, back: boolean, order: number[], lastAt: number, firstTs: number}} Outage
 * Times are the page's (`performance.now()`), `firstTs` is the server's. `of`: how many messages are pushed meanwhile;
 * `order`: the numbers of those that arrived.
 */

export class NetworkCard {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.begin();
    by("network").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#cut();
    });
  }

  begin() {
    /** @type {Outage | null} */
    this.outage = null;
  }

  async #cut() {
    const { app } = this;
    const how = new FormData(by("network")).get("how");
    const seconds = Number(by("seconds").value);
    await app.attempt(by("network-error"), async () => {
      const firstTs = app.serverNow();
      const { pushes } = await ask("cut", { ticket: app.start.ticket, how, seconds });
      const from = performance.now();
      this.outage = { from, until: from + seconds * 1000, of: pushes, back: false, order: [], lastAt: 0, firstTs };
      app.tell("event.cut", { n: seconds });
    });
    app.render();
  }

  /** A push came; those that were pushed meanwhile are counted. */
  arrived(/** @type {any} */ message) {
    const number = message.data?.meanwhile;
    if (this.outage === null || typeof number !== "number" || message.ts < this.outage.firstTs) return;
    this.outage.order.push(number);
    this.outage.lastAt = performance.now();
    this.#drawResult();
  }

  render() {
    const { app, outage } = this;
    const launcher = app.state?.launcher ?? true;
    by("cut").disabled = !launcher || (outage !== null && !outage.back);
    if (!launcher) say(by("network-error"), t("network.launcher"));
    by("outage").hidden = outage === null || outage.back;
    this.tick();
    this.#drawResult();
  }

  /** What changes with time. */
  tick() {
    const { app, outage } = this;
    if (outage === null || outage.back) return;
    const now = performance.now();
    by("outage-bar").value = Math.min(1, (now - outage.from) / (outage.until - outage.from));
    if (now < outage.until) {
      say(by("outage-text"), t("network.left", { n: Math.ceil((outage.until - now) / 1000) }));
      return;
    }
    outage.back = true;
    app.tell("event.back");
    app.client.check(); // as a phone does that is told of a new network
    app.render();
  }

  #drawResult() {
    const result = by("result");
    const { outage } = this;
    if (outage === null || !outage.back) return result.replaceChildren();
    const { order, of, lastAt, until } = outage;
    const done = order.length >= of;
    result.className = done ? "result result-good" : "result";
    if (!done) return say(result, t("network.back"));
    const seconds = duration(Math.max(0, lastAt - until));
    const inOrder = order.every((number, place) => number === place + 1);
    const text = t(inOrder ? "network.good.text" : "network.disorder", { seconds, list: order.join(", ") });
    const title = t("network.good.title", { n: new Set(order).size, of });
    if (result.textContent !== title + text) result.replaceChildren(make("strong", {}, title), text);
  }
}
