/** The HTTP interface of the server that this page came from, with the key of this tab. */

/** A refusal in words: what the server said (RFC 9457), or why it could not be asked. */
export class ApiError extends Error {
  /** @param {number} status 0: no answer @param {any} problem @param {number | null} afterSeconds */
  constructor(status, problem, afterSeconds = null) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.name = "ApiError";
    this.status = status;
    /** @type {string} */
    this.code = problem.code || (status === 0 ? "unreachable" : "internal");
    /** @type {string | null} */
    this.field = problem.field ?? null;
    /** @type {string[]} */
    this.reasons = problem.reasons ?? [];
    this.afterSeconds = afterSeconds;
  }
}

/** The key that requests carry, and what happens when the server knows it no longer. */
export const credentials = { key: "", rejected: () => {} };

/** The target of a request, with the values that are not empty as its query. @param {string} path @param {any} [query] */
export function target(path, query = {}) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") parts.set(name, String(value));
  }
  const text = parts.toString();
  return text ? `${path}?${text}` : path;
}

/** One segment of a path. @param {string} text */
export const segment = (text) => encodeURIComponent(text);

/**
 * @param {string} method
 * @param {string} path
 * @param {{ query?: any, body?: any, headers?: Record<string, string>, signal?: AbortSignal, key?: string }} [options]
 * @returns {Promise<any>} null where the answer has no body
 */
export async function call(method, path, { query, body, headers, signal, key } = {}) {
  const response = await send(method, target(path, query), body, headers, signal, key);
  if (response.status === 204) return null;
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(response.status, { code: "internal", detail: "The answer of the server is not JSON." });
  }
}

/** @param {string} path @param {any} [query] @param {AbortSignal} [signal] */
export const get = (path, query, signal) => call("GET", path, { query, signal });

/** An answer whose body is read as it comes. @param {string} path @param {any} query @param {AbortSignal} signal */
export const open = (path, query, signal) =>
  send("GET", target(path, query), undefined, { Accept: "text/event-stream" }, signal);

/** @returns {Promise<Response>} a success; else it throws an `ApiError` */
async function send(
  /** @type {string} */ method,
  /** @type {string} */ path,
  /** @type {any} */ body,
  /** @type {Record<string, string>} */ headers = {},
  /** @type {AbortSignal | undefined} */ signal = undefined,
  key = credentials.key,
) {
  /** @type {Response} */
  let response;
  const sent = body === undefined ? {} : { "Content-Type": "application/json" };
  try {
    response = await fetch(path, {
      method,
      headers: { Authorization: `Bearer ${key}`, ...sent, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal,
    });
  } catch (error) {
    if (/** @type {any} */ (error).name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", detail: "" });
  }
  if (response.ok) return response;
  const error = new ApiError(response.status, await problemOf(response), secondsOf(response));
  if (response.status === 401 && key === credentials.key) credentials.rejected();
  throw error;
}

async function problemOf(/** @type {Response} */ response) {
  try {
    return await response.json();
  } catch {
    return { code: "internal", detail: `HTTP ${response.status} ${response.statusText}` };
  }
}

function secondsOf(/** @type {Response} */ response) {
  const text = response.headers.get("Retry-After");
  return text === null ? null : Number(text);
}

/** Whether a server does not have this route at all: a 404 of a list is nothing else. @param {any} error */
export const isMissingRoute = (error) =>
  error instanceof ApiError && (error.status === 405 || (error.status === 404 && error.code === "not_found"));
