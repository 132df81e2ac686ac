/** The answer of `lib/why.js` as a sentence, with what can be done. */
import { html } from "../lib/html.js";
import { absolute, count, has, number, relative, t } from "../lib/texts.js";
import { targetText } from "./targets.js";

const time = (/** @type {number | null} */ ms) => (ms === null || ms === undefined ? t("why.unknown-time") : `${absolute(ms)} (${relative(ms)})`);

/** @param {Record<string, any>} values of an answer @returns the same as texts */
function inWords(values) {
  const times = Object.fromEntries(["ts", "expires", "since", "seen", "created"].map((name) => [name, time(values[name])]));
  return {
    ...values,
    ...times,
    until: values.until === null || values.until === undefined ? t("why.until-lifted") : t("why.until", { time: time(values.until) }),
    user: values.user ?? t("why.no-user"),
    to: values.to ? targetText(values.to) : "",
    backlog: count("device.waiting", values.backlog ?? 0),
    addressed: number(values.addressed),
    acknowledged: number(values.acknowledged),
  };
}

/** @param {import("../lib/why.js").Answer} answer */
export const whyText = (answer) => t(`why.${answer.reason}`, inWords(answer.values));
/** @param {import("../lib/why.js").Answer} answer */
export const adviceText = (answer) => (has(`why.${answer.reason}.do`) ? t(`why.${answer.reason}.do`, inWords(answer.values)) : "");

export function Why({ answer }) {
  return html`<div class=${`why why-${answer.tone}`} role="status"><p class="why-text">${whyText(answer)}</p>${adviceText(answer) && html`<p class="why-do">${adviceText(answer)}</p>`}</div>`;
}

/** @param {import("../lib/why.js").Answer} answer of `explainMessage` */
export function messageText({ reason, values }) {
  const parts = ["acknowledged", "open", "expired", "cancelled", "dropped"].filter((name) => values[name] > 0);
  const list = parts.map((name) => count(`became.${name}`, values[name])).join(t("list.comma"));
  return t(`became-all.${reason}`, {
    to: targetText(values.to),
    list,
    n: count("became.devices", values.addressed),
    expires: time(values.expires),
  });
}
