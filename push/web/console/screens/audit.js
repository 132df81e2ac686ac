/** Who has changed what, and who was refused. */
import { html } from "../lib/html.js";
import { get } from "../lib/api.js";
import { usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { has, t } from "../lib/texts.js";
import { Filters } from "../parts/forms.js";
import { AddressLink, Card, Empty, PagedTable, Pill, Screen, Time } from "../parts/ui.js";

const POLL_MS = 5000;
const SINCE = [["", 0], ["1h", 3_600_000], ["1d", 86_400_000], ["7d", 604_800_000], ["30d", 2_592_000_000]];

export function Audit({ query }) {
  const wanted = { key: query.key ?? "", since: query.since ?? "" };
  const since = Object.fromEntries(SINCE)[wanted.since];
  const list = usePages((cursor, signal) => get("/v1/audit", { key: wanted.key, since: since ? Date.now() - since : "", cursor }, signal), "audit", [wanted.key, wanted.since], POLL_MS);
  const columns = [
    { name: t("column.time"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: t("audit.key"), cell: (row) => (row.key ? html`<a href=${to(["audit"], { ...wanted, key: row.key })}>${row.key}</a>` : html`<span class="soft">–</span>`) },
    { name: t("column.address"), cell: (row) => html`<${AddressLink} ip=${row.ip} />` },
    { name: t("audit.act"), cell: (row) => html`<${Act} route=${row.route} />` },
    { name: t("audit.target"), cell: (row) => (row.target ? html`<span class="mono long">${row.target}</span>` : html`<span class="soft">–</span>`) },
    { name: t("audit.outcome"), cell: (row) => html`<${Pill} tone=${row.status < 300 ? "good" : row.status < 500 ? "warn" : "bad"}>${t(row.status < 300 ? "audit.done" : row.status === 401 ? "audit.wrong-key" : row.status === 403 ? "audit.refused" : "audit.failed")} ${row.status}<//>` },
  ];
  const fields = [
    { name: "key", label: t("audit.key") },
    { name: "since", label: t("messages.since"), options: SINCE.map(([key]) => [key, t(`since.${key || "all"}`)]) },
  ];
  return html`<${Screen} title=${t("nav.audit")} intro=${t("audit.intro")}>
    <${Card}><${Filters} fields=${fields} values=${wanted} apply=${(values) => go(to(["audit"], values))} /><//>
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.audit")} columns=${columns} keyOf=${(row) => `${row.ts} ${row.route} ${row.target} ${row.ip}`} empty=${html`<${Empty} title=${t("audit.none")}>${t("audit.none-text")}<//>`} /><//>
  <//>`;
}

/** A route in words, where there are some. */
function Act({ route }) {
  const key = `act.${route}`;
  return has(key) ? html`<span title=${route}>${t(key)}</span>` : html`<code>${route}</code>`;
}
