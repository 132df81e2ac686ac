/** A network that fails: the countdown, and what was caught up. */

import { ask } from "./api.js";
import { by, make, say } from "./dom.js";
import { duration, t } from "./texts.js";

/** @param {import("./app.js").App} app */
export function network(app) {
  /** @type {{from: number, until: number, seconds: number, of: number, back: boolean, order: number[],
   *   lastAt: number, firstTs: number} | null} */
  let outage = null;

  by("network").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const how = new FormData(by("network")).get("how");
    const seconds = Number(by("seconds").value);
    await app.attempt(by("network-error"), async () => {
      const before = app.serverNow();
      const { pushes } = await ask("cut", { ticket: app.start.ticket, how, seconds });
      const now = performance.now();
      const until = now + seconds * 1000;
      outage = { from: now, until, seconds, of: pushes, back: false, order: [], lastAt: 0, firstTs: before };
      app.tell("event.cut", { n: seconds });
    });
    app.render();
  });

  function tick() {
    if (outage === null) return;
    const now = performance.now();
    const left = Math.max(0, outage.until - now);
    by("outage-bar").value = Math.min(1, (now - outage.from) / (outage.until - outage.from));
    if (left === 0 && !outage.back) {
      outage.back = true;
      app.tell("event.back");
      app.client.check(); // as a phone does that is told of a new network
      app.render();
    }
    if (!outage.back) say(by("outage-text"), t("network.left", { n: Math.ceil(left / 1000) }));
  }

  function drawResult() {
    const result = by("result");
    if (outage === null || !outage.back) {
      result.replaceChildren();
      return;
    }
    const { order, of, lastAt, until } = outage;
    const done = order.length >= of;
    result.className = done ? "result result-good" : "result";
    if (!done) return say(result, t("network.back"));
    const ms = lastAt - until;
    const seconds = duration(Math.max(0, ms));
    const inOrder = order.every((number, place) => number === place + 1);
    const text = t(inOrder ? "network.good.text" : "network.disorder", { seconds, list: order.join(", ") });
    const title = t("network.good.title", { n: new Set(order).size, of });
    if (result.textContent !== title + text) result.replaceChildren(make("strong", {}, title), text);
  }

  return {
    begin() {
      outage = null;
    },
    render() {
      const launcher = app.state?.launcher ?? true;
      by("cut").disabled = !launcher || (outage !== null && !outage.back);
      if (!launcher) say(by("network-error"), t("network.launcher"));
      by("outage").hidden = outage === null || outage.back;
      tick();
      drawResult();
    },
    tick,
    arrived(/** @type {any} */ message) {
      const number = message.data?.meanwhile;
      if (outage === null || typeof number !== "number" || message.ts < outage.firstTs) return;
      outage.order.push(number);
      outage.lastAt = performance.now();
      drawResult();
    },
  };
}
