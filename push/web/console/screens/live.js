/** Events as they happen, newest first. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { isMissingRoute } from "../lib/api.js";
import { events } from "../lib/event_stream.js";
import { after, NOTHING_SEEN } from "../lib/live.js";
import { go, to } from "../lib/route.js";
import { absolute, count, has, number, t } from "../lib/texts.js";
import { Filters } from "../parts/forms.js";
import { AddressLink, Button, Card, Empty, MessageLink, NodeLink, Pill, Screen, Silent, TokenLink, Trouble, UserLink } from "../parts/ui.js";
import { Table } from "../parts/ui.js";

export const KINDS = ["connected", "disconnected", "redirected", "pushed", "acknowledged", "dropped", "repaired"];
const TONES = { connected: "good", acknowledged: "good", disconnected: "plain", redirected: "warn", pushed: "info", dropped: "bad", repaired: "warn" };
const REDRAW_MS = 250;
const RETRY_MS = 3000;

/** What has come of the stream, drawn a few times a second at most; and what connects again at once. */
function useEvents(query, isPaused) {
  const [seen, setSeen] = useState(NOTHING_SEEN);
  const paused = useRef(isPaused);
  paused.current = isPaused;
  const again = useRef(() => {});
  useEffect(() => {
    const stop = new AbortController();
    let state = NOTHING_SEEN;
    let timer = 0;
    const change = (next) => {
      state = { ...state, ...next };
      timer ||= setTimeout(() => {
        timer = 0;
        if (!stop.signal.aborted) setSeen(state);
      }, REDRAW_MS);
    };
    const opened = () => change({ state: "open", error: null, silent: [] });
    const listen = async () => {
      while (!stop.signal.aborted) {
        try {
          for await (const each of events("/v1/events", query, stop.signal, opened)) change(after(state, each, paused.current));
          change({ state: "connecting" });
        } catch (error) {
          if (stop.signal.aborted) return;
          change({ state: "connecting", error });
          if (isMissingRoute(error)) return;
        }
        await new Promise((resolve) => {
          again.current = () => resolve(undefined);
          setTimeout(resolve, RETRY_MS);
        });
      }
    };
    setSeen(state);
    listen();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [JSON.stringify(query)]);
  return { seen, reconnect: () => again.current() };
}

export function Live({ query }) {
  const [isPaused, setPaused] = useState(false);
  const kinds = query.kinds ? query.kinds.split(",") : [];
  const { seen, reconnect } = useEvents({ kinds: query.kinds, user: query.user, token: query.token, node: query.node }, isPaused);
  const move = (change) => go(to(["live"], { ...query, ...change }), true);
  const flip = (kind) => move({ kinds: (kinds.includes(kind) ? kinds.filter((each) => each !== kind) : [...kinds, kind]).join(",") });
  const status = seen.state === "open" ? t(isPaused ? "live.paused" : "live.open") : t("live.connecting");
  const fields = ["user", "token", "node"].map((name) => ({ name, label: t(`filter.${name}`) }));
  return html`<${Screen} title=${t("nav.live")} intro=${t("live.intro")} actions=${html`<${Button} onClick=${() => setPaused(!isPaused)} aria-pressed=${String(isPaused)}>${t(isPaused ? "live.go-on" : "live.pause")}<//>`}>
    <${Card}>
      <div class="segments" role="group" aria-label=${t("live.kinds")}>${KINDS.map((kind) => html`<button type="button" class="button small" aria-pressed=${String(kinds.includes(kind))} onClick=${() => flip(kind)}>${t(`event.${kind}`)}</button>`)}</div>
      <${Filters} fields=${fields} values=${{ user: query.user ?? "", token: query.token ?? "", node: query.node ?? "" }} apply=${move} />
    <//>
    <${Trouble} error=${seen.error} retry=${reconnect} />
    <${Silent} nodes=${seen.silent} />
    <${Card} wide title=${t("live.events")} actions=${html`<span class="note" role="status"><${Pill} tone=${seen.state === "open" ? (isPaused ? "warn" : "good") : "warn"}>${status}<//></span>
      <span class="note">${count("live.total", seen.total)}${seen.skipped > 0 ? ` · ${count("live.skipped", seen.skipped)}` : ""}</span>`}>
      <div role="log" aria-live="off" aria-label=${t("live.events")}>
        <${Table} caption=${t("live.events")} columns=${columns()} rows=${seen.rows} keyOf=${(row) => row.key} empty=${html`<${Empty} title=${t("live.empty")}>${t("live.empty-text")}<//>`} />
      </div>
    <//>
  <//>`;
}

const columns = () => [
  { name: t("column.time"), cell: (row) => html`<span class="nowrap">${absolute(row.ts)}</span>` },
  { name: t("column.event"), cell: (row) => html`<${Pill} tone=${TONES[row.event]}>${t(`event.${row.event}`)}<//>` },
  { name: t("column.device"), cell: (row) => html`<${TokenLink} id=${row.token} />` },
  { name: t("column.user"), cell: (row) => html`<${UserLink} id=${row.user} />` },
  { name: t("column.message"), cell: (row) => html`<${MessageLink} id=${row.message} />` },
  { name: t("column.what"), cell: (row) => eventText(row) || html`<span class="soft">–</span>` },
  { name: t("column.node"), cell: (row) => html`<${NodeLink} id=${row.node} />` },
  { name: t("column.address"), cell: (row) => html`<${AddressLink} ip=${row.ip} />` },
];

/** What an event says beside whom it is about. Also for the timeline of a device. */
export function eventText(row) {
  const why = [row.code && codeText(row.code), row.reason && row.reason !== row.code && row.reason].filter(Boolean).join(": ");
  const how = row.n > 0 && has(`event.n-${row.event}.one`) ? count(`event.n-${row.event}`, row.n) : row.n > 1 ? `× ${number(row.n)}` : "";
  return [why, how].filter(Boolean).join(" ");
}

/** A code of the protocol in words, where there are some. */
export const codeText = (code) => {
  const key = `code.${code}`;
  return has(key) ? t(key) : code;
};
