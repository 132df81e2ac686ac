/** Data of a screen: asked for when it opens, again while the page is visible, and page by page. */
import { useEffect, useRef, useState } from "./html.js";
import { isMissingRoute } from "./api.js";

const AFTER_ERROR_MS = 5000;

/**
 * Runs `work` at once and then every `pause()` ms (0: not by itself) while the page is visible, later after an error, and
 * not again when it is answered with null; returns how to run it now, and how to end.
 */
function repeat(/** @type {() => Promise<boolean | null>} */ work, /** @type {() => number} */ pause) {
  let timer = 0;
  let isDue = false;
  let ended = false;
  const run = async () => {
    clearTimeout(timer);
    isDue = false;
    const went = await work();
    const ms = pause();
    if (!ended && ms && went !== null) timer = setTimeout(due, went ? ms : Math.max(ms, AFTER_ERROR_MS));
  };
  const due = () => {
    if (document.hidden) isDue = true;
    else if (pause()) run();
  };
  const shown = () => {
    if (!document.hidden && isDue && pause()) run();
  };
  document.addEventListener("visibilitychange", shown);
  run();
  const end = () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", shown);
  };
  return { run, end };
}

/**
 * What `load` answers. `inputs` say when it is another question; `every` ms it is asked again, which may change meanwhile.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {any[]} inputs
 * @param {number} [every]
 * @returns {{ data: T | undefined, error: any, loading: boolean, refresh: () => Promise<void> }}
 */
export function useData(load, inputs, every = 0) {
  const [state, set] = useState(/** @type {any} */ ({ data: undefined, error: null, loading: true }));
  const refresh = useRef(/** @type {() => Promise<void>} */ (async () => {}));
  const latest = useRef(load);
  latest.current = load;
  const pause = useRef(every);
  pause.current = every;
  useEffect(() => {
    set({ data: undefined, error: null, loading: true });
    let current = new AbortController();
    const work = async () => {
      current.abort();
      const mine = (current = new AbortController());
      try {
        const data = await latest.current(mine.signal);
        if (!mine.signal.aborted) set({ data, error: null, loading: false });
        return true;
      } catch (error) {
        if (!mine.signal.aborted) set((/** @type {any} */ before) => ({ data: before.data, error, loading: false }));
        return isMissingRoute(error) ? null : false;
      }
    };
    const repeated = repeat(work, () => pause.current);
    refresh.current = repeated.run;
    return () => {
      repeated.end();
      current.abort();
    };
  }, inputs);
  return { ...state, refresh: () => refresh.current() };
}

/**
 * A list page by page. While only the first page is shown it is asked for again `every` ms.
 * @param {(cursor: string, signal: AbortSignal) => Promise<any>} load answers `{[noun]: [...], cursor}`
 * @param {string} noun
 * @param {any[]} inputs
 * @param {number} [every]
 */
export function usePages(load, noun, inputs, every = 0) {
  const [further, setFurther] = useState(/** @type {any} */ ({ rows: [], cursor: undefined, loading: false, error: null }));
  const first = useData((signal) => load("", signal), inputs, further.rows.length ? 0 : every);
  const key = JSON.stringify(inputs);
  const asked = useRef(key);
  asked.current = key;
  useEffect(() => setFurther({ rows: [], cursor: undefined, loading: false, error: null }), [key]);
  const cursor = further.cursor === undefined ? first.data?.cursor : further.cursor;
  const more = async () => {
    const question = key;
    setFurther((/** @type {any} */ before) => ({ ...before, loading: true, error: null }));
    try {
      const page = await load(cursor, new AbortController().signal);
      if (asked.current !== question) return;
      setFurther((/** @type {any} */ before) => ({ rows: [...before.rows, ...page[noun]], cursor: page.cursor ?? null, loading: false, error: null }));
    } catch (error) {
      if (asked.current === question) setFurther((/** @type {any} */ before) => ({ ...before, loading: false, error }));
    }
  };
  const refresh = async () => {
    setFurther({ rows: [], cursor: undefined, loading: false, error: null });
    await first.refresh();
  };
  return {
    rows: [...(first.data?.[noun] ?? []), ...further.rows],
    page: first.data,
    hasMore: Boolean(cursor),
    loading: first.loading,
    loadingMore: further.loading,
    error: first.error ?? further.error,
    more,
    refresh,
  };
}

/** The time, again every `ms` while the page is visible. */
export function useNow(ms = 10_000) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => document.hidden || set(Date.now()), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return now;
}
