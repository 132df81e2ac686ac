/** The connectors, which of them this page is on, and the way to the other. */

import { ask } from "./api.js";
import { by, keep, make, say } from "./dom.js";
import { count, duration, t } from "./texts.js";

/** @param {import("./app.js").App} app */
export function connectors(app) {
  /** What the last line says: its key and values. @type {[string, any] | null} */
  let note = null;
  /** @type {{from: string, at: number} | null} */
  let leaving = null;
  let error = "";

  const here = () => (app.client?.state === "connected" ? app.client.session?.node : null);

  function stateOf(/** @type {any} */ connector) {
    if (connector.state !== "up") return t(`connectors.${connector.state}`);
    // The registry tells a few seconds late; this page's own session is known at once.
    const sessions = connector.node === here() ? Math.max(1, connector.sessions) : connector.sessions;
    return count("connectors.up", sessions);
  }

  by("drain").addEventListener("click", async () => {
    error = "";
    try {
      const { node } = await ask("drain", { ticket: app.start.ticket });
      app.tell("event.drain", { node });
    } catch (/** @type {any} */ refusal) {
      error = refusal.code === "unavailable" ? t("error.other") : refusal.text;
    }
    app.look();
    app.render();
  });

  return {
    /** Whether the server has sent this page away, and it is on its way. */
    get leaving() {
      return leaving !== null;
    },
    begin() {
      note = leaving = null;
      error = "";
    },
    render() {
      /** @type {any[]} */
      const known = app.state?.connectors ?? [];
      keep(by("connectors"), known, (each) => each.node, (each) => {
        const isHere = each.node === here();
        const look = isHere ? "tile tile-here" : each.state === "gone" ? "tile tile-gone" : "tile";
        return make("li", { class: look },
          make("span", { class: "tile-head" },
            make("span", { class: "tile-name" }, each.node),
            isHere ? make("span", { class: "badge" }, t("connectors.here")) : null),
          make("span", { class: "tile-state" }, stateOf(each)));
      });
      say(by("drain"), here() === null ? t("connectors.drain") : t("connectors.drain.node", { node: here() }));
      by("drain").hidden = !(app.state?.launcher ?? true);
      const othersAreUp = known.some((each) => each.node !== here() && each.state === "up");
      by("drain").disabled = here() === null || !othersAreUp || leaving !== null;
      const none = app.state && !known.length ? t("connectors.none") : "";
      say(by("move"), error || (note ? t(note[0], note[1](t)) : none));
    },
    redirected(/** @type {any} */ redirect) {
      const from = app.nodeName(redirect.from);
      leaving = { from, at: performance.now() };
      note = ["connectors.moving", () => ({ from })];
      app.tell(redirect.reason === "draining" ? "event.draining" : "event.redirect", { from });
    },
    connected(/** @type {string} */ node) {
      const { from, at } = leaving ?? { from: node, at: 0 };
      leaving = null;
      const ms = performance.now() - at;
      note = from === node ? null : ["connectors.moved", () => ({ from, to: node, seconds: duration(ms) })];
    },
  };
}
