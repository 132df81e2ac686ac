/** A request as a line for a shell. */

/** A text in the quotes of a shell. @param {string} text */
export const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** @param {string} origin @param {string} path @param {any} body @param {Record<string, string>} [headers] */
export function curl(origin, path, body, headers = {}) {
  return [
    `curl -X POST ${quote(origin + path)}`,
    `-H "Authorization: Bearer $PUSH_KEY"`,
    ...Object.entries(headers).map(([name, value]) => `-H ${quote(`${name}: ${value}`)}`),
    `-H ${quote("Content-Type: application/json")}`,
    `-d ${quote(JSON.stringify(body))}`,
  ].join(" \\\n  ");
}

/** What somebody wrote as data: JSON if it is JSON, else a text. @param {string} text */
export function dataOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
