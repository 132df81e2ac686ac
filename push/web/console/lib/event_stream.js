/** Server-sent events by `fetch`: `EventSource` cannot send a key. */
import { open } from "./api.js";

/** Splits the text of a stream into events, whatever way it is cut. */
export class EventReader {
  #left = "";

  /** @param {string} text @returns {{ event: string, data: string }[]} the events that are complete now */
  feed(text) {
    const blocks = (this.#left + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#left = blocks.pop() ?? "";
    return blocks.map(eventOf).filter((each) => each.data !== "");
  }
}

function eventOf(/** @type {string} */ block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  return { event, data: data.join("\n") };
}

/**
 * The events of a path until the signal ends it. Throws an `ApiError` when it is refused or cannot be reached.
 * @param {string} path @param {any} query @param {AbortSignal} signal
 * @param {() => void} opened
 */
export async function* events(path, query, signal, opened) {
  const response = await open(path, query, signal);
  opened();
  const reader = new EventReader();
  const decoder = new TextDecoder();
  const body = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  for (;;) {
    const { done, value } = await body.read();
    if (done) return;
    yield* reader.feed(decoder.decode(value, { stream: true }));
  }
}
