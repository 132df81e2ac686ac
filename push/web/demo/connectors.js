/** The connectors, which of them this page is on, and the way to the other. */

import { ask } from "./api.js";
import { by, keep, make, say } from "./dom.js";
import { count, duration, t } from "./texts.js";

export class ConnectorsCard {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.begin();
    by("drain").addEventListener("click", () => void this.#drain());
  }

  begin() {
    /** What the last line says, in the language of the moment. @type {() => string} */
    this.note = () => "";
    /** Where the server has sent this page away, and when. @type {{from: string, at: number} | null} */
    this.leaving = null;
  }

  /** The node that this page is connected to. */
  get #here() {
    const { client } = this.app;
    return client?.state === "connected" ? client.session?.node : null;
  }

  async #drain() {
    const { app } = this;
    try {
      const { node } = await ask("drain", { ticket: app.start.ticket });
      app.tell("event.drain", { node });
    } catch (/** @type {any} */ refusal) {
      this.note = () => (refusal.code === "unavailable" ? t("error.other") : refusal.text);
    }
    app.look();
    app.render();
  }

  /** The server named other connectors. */
  redirected(/** @type {any} */ redirect) {
    const from = this.app.nodeName(redirect.from);
    this.leaving = { from, at: performance.now() };
    this.note = () => t("connectors.moving", { from });
    this.app.tell(redirect.reason === "draining" ? "event.draining" : "event.redirect", { from });
  }

  connected(/** @type {string} */ node) {
    const { leaving } = this;
    this.leaving = null;
    if (leaving === null || leaving.from === node) {
      this.note = () => "";
    } else {
      const ms = performance.now() - leaving.at;
      this.note = () => t("connectors.moved", { from: leaving.from, to: node, seconds: duration(ms) });
    }
  }

  render() {
    const { state } = this.app;
    /** @type {any[]} */
    const known = state?.connectors ?? [];
    const here = this.#here;
    keep(by("connectors"), known, (each) => each.node, (each) => this.#tile(each));
    const othersAreUp = known.some((each) => each.node !== here && each.state === "up");
    by("drain").hidden = !(state?.launcher ?? true);
    by("drain").disabled = here === null || !othersAreUp || this.leaving !== null;
    say(by("drain"), here === null ? t("connectors.drain") : t("connectors.drain.node", { node: here }));
    say(by("move"), this.note() || (state && !known.length ? t("connectors.none") : ""));
  }

  #tile(/** @type {any} */ connector) {
    const isHere = connector.node === this.#here;
    const look = isHere ? "tile tile-here" : connector.state === "gone" ? "tile tile-gone" : "tile";
    // The registry tells a few seconds late; this page's own session is known at once.
    const sessions = isHere ? Math.max(1, connector.sessions) : connector.sessions;
    const isUp = connector.state === "up";
    return make("li", { class: look },
      make("span", { class: "tile-head" },
        make("span", { class: "tile-name" }, connector.node),
        isHere ? make("span", { class: "badge" }, t("connectors.here")) : null),
      make("span", { class: "tile-state" },
        isUp ? count("connectors.up", sessions) : t(`connectors.${connector.state}`)));
  }
}
