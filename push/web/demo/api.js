/** The demo's own routes. What they refuse becomes a `DemoError` that can be shown. */

import { t } from "./texts.js";

export class DemoError extends Error {
  /** @param {string} code @param {string} detail @param {number} after seconds */
  constructor(code, detail, after = 0) {
    super(detail);
    this.code = code;
    this.after = after;
  }

  /** For people, in their language. */
  get text() {
    if (this.code === "unauthenticated") return t("error.ended");
    if (this.code === "offline") return t("error.offline");
    if (this.code === "already_exists") return t("error.taken");
    if (this.code === "invalid") return t("error.name");
    if (this.code === "rate_limited") return t("error.limit", { n: this.after });
    return t("error.generic", { why: this.message });
  }
}

/**
 * @param {"start" | "leave" | "state" | "push" | "drain" | "cut"} what
 * @param {Record<string, unknown>} body
 * @returns {Promise<any>}
 */
export async function ask(what, body) {
  let answer;
  try {
    answer = await fetch(`/demo/api/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new DemoError("offline", "no answer");
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  const after = Number(answer.headers.get("Retry-After") ?? 0);
  throw new DemoError(content.code ?? "internal", content.detail ?? answer.statusText, after);
}
