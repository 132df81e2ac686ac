/** The heartbeat: what holds, when the last answer came, and how long answers took. */

import { by, keep, make, say } from "./dom.js";
import { t } from "./texts.js";

const SHOWN = 24;

/** @param {import("./app.js").App} app */
export function heartbeat(app) {
  /** @type {{n: number, ms: number}[]} */
  let beats = [];
  let answers = 0;
  /** The last answer, also when the connection is gone. @type {any} */
  let last = null;

  by("ping").addEventListener("click", () => app.client?.check());

  function drawAnswered() {
    const answeredAt = last?.answeredAt ?? null;
    if (answeredAt === null) return say(by("answered"), "–");
    const seconds = Math.max(0, Math.round((Date.now() - answeredAt) / 1000));
    say(by("answered"), seconds ? t("heartbeat.ago", { n: seconds }) : t("heartbeat.now"));
  }

  return {
    begin() {
      beats = [];
      last = null;
    },
    render() {
      const now = app.client?.heartbeat ?? last;
      const trip = last?.roundTripMs ?? null;
      say(by("trip"), trip === null ? "–" : t("heartbeat.ms", { n: rounded(trip) }));
      say(by("interval"), now === null ? "–" : t("heartbeat.seconds", { n: now.interval }));
      by("ping").disabled = app.client?.state !== "connected";
      drawAnswered();
      const most = Math.max(...beats.map((beat) => beat.ms), 1);
      const box = by("beats");
      keep(box, beats, (beat) => String(beat.n), () => make("span", { class: "beat" }));
      beats.forEach((beat, place) => {
        /** @type {any} */ (box.children[place]).style.height = `${Math.max(8, (100 * beat.ms) / most)}%`;
      });
      const list = beats.map((beat) => rounded(beat.ms)).join(", ");
      const label = beats.length ? t("heartbeat.chart", { n: beats.length, list }) : t("heartbeat.chart.none");
      box.setAttribute("aria-label", label);
    },
    tick: drawAnswered,
    answered(/** @type {any} */ beat) {
      if (beat.roundTripMs === null) return;
      last = beat;
      beats = [...beats, { n: ++answers, ms: beat.roundTripMs }].slice(-SHOWN);
    },
  };
}

const rounded = (/** @type {number} */ ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms));
