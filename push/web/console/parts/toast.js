/** Short news at the edge of the window, also for screen readers. */
import { html, useEffect, useState } from "../lib/html.js";

const SECONDS = 6;
/** @type {(news: { text: string, tone: string }) => void} */
let show = () => {};

/** @param {string} text @param {"good" | "bad"} [tone] */
export const say = (text, tone = "good") => show({ text, tone });

export function Toast() {
  const [news, set] = useState(/** @type {any} */ (null));
  useEffect(() => {
    show = (next) => set({ ...next });
    return () => {
      show = () => {};
    };
  }, []);
  useEffect(() => {
    if (!news) return undefined;
    const timer = setTimeout(() => set(null), SECONDS * 1000);
    return () => clearTimeout(timer);
  }, [news]);
  return html`<div class="toasts" role="status" aria-live="polite">${news && html`<p class=${`toast toast-${news.tone}`}>${news.text}</p>`}</div>`;
}
