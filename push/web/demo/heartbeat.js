/** The heartbeat: what holds, when the last answer came, and how long answers took. */

import { by, keep, make, say } from "./dom.js";
import { t } from "./texts.js";

const SHOWN = 24;

export class HeartbeatCard {
  /** @type {{n: number, ms: number}[]} */
  beats = [];
  answers = 0;
  /** The last answer, also when the connection is gone. @type {any} */
  last = null;

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    by("ping").addEventListener("click", () => app.client?.check());
  }

  begin() {
    this.beats = [];
    this.last = null;
  }

  /** A PING was answered. */
  answered(/** @type {any} */ beat) {
    if (beat.roundTripMs === null) return;
    this.last = beat;
    this.beats = [...this.beats, { n: ++this.answers, ms: beat.roundTripMs }].slice(-SHOWN);
  }

  render() {
    const now = this.app.client?.heartbeat ?? this.last;
    const trip = this.last?.roundTripMs ?? null;
    say(by("trip"), trip === null ? "–" : t("heartbeat.ms", { n: rounded(trip) }));
    say(by("interval"), now === null ? "–" : t("heartbeat.seconds", { n: now.interval }));
    by("ping").disabled = this.app.client?.state !== "connected";
    this.tick();
    this.#drawChart();
  }

  /** What changes with time. */
  tick() {
    if (this.last === null) return say(by("answered"), "–");
    const seconds = Math.max(0, Math.round((Date.now() - this.last.answeredAt) / 1000));
    say(by("answered"), seconds ? t("heartbeat.ago", { n: seconds }) : t("heartbeat.now"));
  }

  #drawChart() {
    const box = by("beats");
    const most = Math.max(...this.beats.map((beat) => beat.ms), 1);
    keep(box, this.beats, (beat) => String(beat.n), () => make("span", { class: "beat" }));
    this.beats.forEach((beat, place) => {
      /** @type {any} */ (box.children[place]).style.height = `${Math.max(8, (100 * beat.ms) / most)}%`;
    });
    const list = this.beats.map((beat) => rounded(beat.ms)).join(", ");
    const label = list ? t("heartbeat.chart", { n: this.beats.length, list }) : t("heartbeat.chart.none");
    box.setAttribute("aria-label", label);
  }
}

const rounded = (/** @type {number} */ ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms));
