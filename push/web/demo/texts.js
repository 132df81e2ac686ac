/** The page in two languages: `en.json` and `zh.json` have the same keys. */

import { by } from "./dom.js";

const CODES = { en: "en", zh: "zh-Hans" };
/** @type {"en" | "zh"} */
let language = "en";
/** @type {Record<string, string>} */
let texts = {};

/** The one that was chosen here before, else the browser's. */
export function preferredLanguage() {
  const stored = recall("demo-language");
  if (stored === "en" || stored === "zh") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Load a language and write it into the page. @param {"en" | "zh"} wanted */
export async function useLanguage(wanted) {
  const answer = await fetch(`/demo/${wanted}.json`);
  texts = await answer.json();
  language = wanted;
  document.documentElement.lang = CODES[wanted];
  document.title = t("page.title");
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(/** @type {any} */ (element).dataset.t);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(/** @type {any} */ (element).dataset.tLabel));
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.setAttribute("placeholder", t(/** @type {any} */ (element).dataset.tPlaceholder));
  }
  const button = by("language");
  button.textContent = t("language.name");
  button.lang = CODES[wanted === "en" ? "zh" : "en"];
  button.setAttribute("aria-label", t("language.switch"));
}

export async function switchLanguage() {
  const other = language === "en" ? "zh" : "en";
  await useLanguage(other);
  remember("demo-language", other);
}

/** A text, with `{name}` replaced. @param {string} key @param {Record<string, unknown>} [values] */
export function t(key, values = {}) {
  return (texts[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A text that counts: `key.one` or `key.other`. */
export function count(/** @type {string} */ key, /** @type {number} */ n, values = {}) {
  const form = new Intl.PluralRules(language).select(n) === "one" ? "one" : "other";
  return t(`${key}.${form}`, { n, ...values });
}

/** As `14:03:27`. @param {number} ms since 1970 */
export function clock(ms) {
  return new Intl.DateTimeFormat(language, { timeStyle: "medium", hour12: false }).format(ms);
}

/** As `240 ms` or `1.3 s`. */
export function duration(/** @type {number} */ ms) {
  return ms < 1000 ? t("time.ms", { n: Math.round(ms) }) : t("time.s", { n: (ms / 1000).toFixed(1) });
}

/** Storage that a browser may forbid. */
export function recall(/** @type {string} */ name, storage = () => localStorage) {
  try {
    return storage().getItem(name);
  } catch {
    return null;
  }
}

export function remember(/** @type {string} */ name, /** @type {string | null} */ value, storage = () => localStorage) {
  try {
    if (value === null) storage().removeItem(name);
    else storage().setItem(name, value);
  } catch {
    // Then it is forgotten with the page.
  }
}
