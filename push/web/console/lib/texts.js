/** Words, numbers and times in the language of the page. `en.json` and `zh.json` have the same keys. */

const CODES = { en: "en", zh: "zh-Hans" };

/** @type {{ language: "en" | "zh", words: Record<string, string> }} */
const now = { language: "en", words: {} };

/** @param {"en" | "zh"} language @param {Record<string, string>} words */
export function speak(language, words) {
  now.language = language;
  now.words = words;
  if (typeof document !== "undefined") document.documentElement.lang = CODES[language];
}

export const language = () => now.language;
/** @param {string} key */
export const has = (key) => key in now.words;

/** A text, with `{name}` replaced. @param {string} key @param {Record<string, unknown>} [values] */
export function t(key, values = {}) {
  return (now.words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A text that counts: `key.one` or `key.other`. @param {string} key @param {number} n @param {any} [values] */
export function count(key, n, values = {}) {
  const form = new Intl.PluralRules(now.language).select(n) === "one" ? "one" : "other";
  return t(`${key}.${form}`, { n: number(n), ...values });
}

/** As `12,345`. @param {number | null | undefined} value @param {number} [digits] after the point */
export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  return new Intl.NumberFormat(now.language, { maximumFractionDigits: digits }).format(value);
}

/** As `12.3K`, for a tile. @param {number | null | undefined} value */
export function short(value) {
  if (value === null || value === undefined) return "–";
  const options = /** @type {any} */ (value < 10_000 ? { maximumFractionDigits: value < 10 ? 1 : 0 } : { notation: "compact", maximumFractionDigits: 1 });
  return new Intl.NumberFormat(now.language, options).format(value);
}

/** As `240 ms`, `1.3 s`. @param {number | null | undefined} ms */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? t("unit.ms", { n: number(ms, ms < 10 ? 1 : 0) }) : t("unit.s", { n: number(ms / 1000, 1) });
}

const STEPS = /** @type {[Intl.RelativeTimeFormatUnit, number][]} */ ([
  ["year", 31_557_600_000], ["month", 2_629_800_000], ["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000],
]);

/** As `3 min. ago`. @param {number} ms since 1970 @param {number} [at] */
export function relative(ms, at = Date.now()) {
  const passed = ms - at;
  const [unit, size] = STEPS.find(([, each]) => Math.abs(passed) >= each) ?? ["second", 1000];
  return new Intl.RelativeTimeFormat(now.language, { numeric: "auto", style: "short" }).format(Math.trunc(passed / size), unit);
}

/** How long something has lasted: `3 d 4 h`. @param {number} ms */
export function lasting(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]].map(([unit, size]) => /** @type {[string, number]} */ ([unit, Number(size)]));
  const first = parts.findIndex(([, size]) => seconds >= size);
  if (first < 0) return t("unit.s", { n: 0 });
  let left = seconds;
  const said = [];
  for (const [unit, size] of parts.slice(first, first + 2)) {
    const n = Math.floor(left / size);
    left -= n * size;
    if (n || !said.length) said.push(t(`unit.${unit}`, { n: number(n) }));
  }
  return said.join(" ");
}

/** As `14:03:27` today, else with the date. @param {number} ms since 1970 */
export function absolute(ms) {
  const sameDay = new Date(ms).toDateString() === new Date().toDateString();
  return new Intl.DateTimeFormat(now.language, sameDay ? { timeStyle: "medium", hour12: false } : { dateStyle: "medium", timeStyle: "medium", hour12: false }).format(ms);
}

/** With date, seconds and time zone. @param {number} ms since 1970 */
export const exact = (ms) =>
  new Intl.DateTimeFormat(now.language, { dateStyle: "full", timeStyle: "long", hour12: false }).format(ms);
