/** Live sessions: found, ended, kept out. */
import { html } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useNow, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { lasting, t } from "../lib/texts.js";
import { BanButton, kickAddress, kickSession } from "../parts/acts.js";
import { Filters } from "../parts/forms.js";
import { AddressLink, Button, Card, Empty, NodeLink, PagedTable, Pill, Screen, TokenLink, UserLink } from "../parts/ui.js";

const POLL_MS = 5000;
const FILTERS = ["user", "ip", "node", "topic"];

export function Connections({ query }) {
  const wanted = Object.fromEntries(FILTERS.map((name) => [name, query[name] ?? ""]));
  const list = usePages((cursor, signal) => get("/v1/connections", { ...wanted, cursor }, signal), "connections", [JSON.stringify(wanted)], POLL_MS);
  const isFiltered = Object.values(wanted).some(Boolean);
  const now = useNow();
  const columns = [
    { name: t("column.device"), cell: (row) => (row.token ? html`<${TokenLink} id=${row.token} copy />` : html`<span class="soft">${t("connections.jwt-alone")}</span>`) },
    { name: t("column.user"), cell: (row) => html`<${UserLink} id=${row.user} />` },
    { name: t("column.node"), cell: (row) => html`<${NodeLink} id=${row.node} />` },
    { name: t("column.address"), cell: (row) => html`<${AddressLink} ip=${row.ip} />` },
    { name: t("column.carrier"), cell: (row) => html`<${Pill}>${row.carrier}<//>` },
    { name: t("column.connected"), num: true, cell: (row) => html`<time datetime=${new Date(row.connected).toISOString()}>${lasting(now - row.connected)}</time>` },
    ...(may("admin") ? [{ name: "", end: true, cell: (row) => html`<${Button} kind="danger" small onClick=${() => kickSession(row.session, list.refresh)} about=${row.token ?? row.session}>${t("kick")}<//>` }] : []),
  ];
  const acts = may("admin") && wanted.ip && html`<${Button} kind="danger" onClick=${() => kickAddress(wanted.ip, list.refresh)}>${t("kick.ip-verb")}<//><${BanButton} kind="ip" value=${wanted.ip} done=${list.refresh} />`;
  return html`<${Screen} title=${t("nav.connections")} intro=${t("connections.intro")} actions=${html`${acts}<${Button} onClick=${list.refresh}>${t("refresh")}<//>`}>
    <${Card}><${Filters} fields=${FILTERS.map((name) => ({ name, label: t(`filter.${name}`), placeholder: name === "ip" ? "10.0.0.0/8" : "" }))} values=${wanted} apply=${(values) => go(to(["connections"], values))} /><//>
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.connections")} columns=${columns} keyOf=${(row) => row.session} empty=${isFiltered
      ? html`<${Empty} title=${t("connections.none-match")}>${t("connections.none-match-text")}<//>`
      : html`<${Empty} title=${t("connections.none")}>${t("connections.none-text")}<//>`} /><//>
  <//>`;
}
