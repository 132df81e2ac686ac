/**
 * The templates of the console: preact's, whose texts cannot deceive. What somebody else wrote may have characters that
 * turn the text around them, or that nobody sees (U+202E and its like): they are shown as escapes, as `pushctl` does.
 */
import { html as plain } from "../vendor/preact.js";

export * from "../vendor/preact.js";

// Control characters but for tabs and line ends, and of Unicode's format characters all but the joiners of words.
const DECEIVING = /[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
/** Values of attributes that are read, too; those of others are not touched: a form sends what it got. */
const IS_ATTRIBUTE = /=$/;
const IS_READ = /(?:title|label|caption|placeholder|alt|intro|note)=$/;

/** @param {string} text */
export const visible = (text) => text.replace(DECEIVING, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

const shown = (/** @type {any} */ value) =>
  typeof value === "string" ? visible(value) : Array.isArray(value) ? value.map(shown) : value;

/** @param {TemplateStringsArray} strings @param {any[]} values */
export function html(strings, ...values) {
  const isText = (/** @type {string} */ before) => !IS_ATTRIBUTE.test(before) || IS_READ.test(before);
  return plain(strings, ...values.map((value, index) => (isText(strings[index]) ? shown(value) : value)));
}
