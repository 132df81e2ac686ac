/** The daemons of the system, and emptying a connector. */
import { html, useEffect, useMemo, useState } from "../lib/html.js";
import { call, get, segment } from "../lib/api.js";
import { useData, useNow } from "../lib/hooks.js";
import { isConnector, nodesOf } from "../lib/nodes.js";
import { to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { count, lasting, number, t } from "../lib/texts.js";
import { confirm } from "../parts/dialog.js";
import { Button, Card, Copy, Empty, Pill, Screen, Share, Table, Trouble } from "../parts/ui.js";

const POLL_MS = 2000;

/** How many sessions a node had when its drain was first seen, until it is gone. */
function useDrains(nodes) {
  const [drains, setDrains] = useState(/** @type {Record<string, { from: number, left: number, gone: boolean }>} */ ({}));
  useEffect(() => {
    if (!nodes) return;
    setDrains((before) => {
      const next = {};
      for (const node of nodes.filter(({ draining }) => draining)) {
        const from = Math.max(before[node.instance]?.from ?? 0, node.sessions);
        next[node.instance] = { from, left: node.sessions, gone: false };
      }
      for (const [name, drain] of Object.entries(before)) {
        if (!next[name] && !nodes.some(({ instance, draining }) => instance === name && !draining)) next[name] = { ...drain, left: 0, gone: true };
      }
      return next;
    });
  }, [nodes]);
  return drains;
}

export function Nodes({ query }) {
  const list = useData((signal) => get("/v1/nodes", {}, signal), [], POLL_MS);
  const nodes = useMemo(() => list.data && nodesOf(list.data.nodes), [list.data]);
  const drains = useDrains(nodes);
  const now = useNow();
  const drain = (node) => {
    const others = nodes.filter((each) => isConnector(each) && each.instance !== node.instance && !each.draining);
    const text = others.length ? count("drain.text", node.sessions, { others: others.map(({ instance }) => instance).join(", ") }) : t("drain.alone");
    confirm({ title: t("drain.title", { node: node.instance }), text, verb: t("drain"), run: async () => {
      await call("POST", `/v1/nodes/${segment(node.instance)}/drain`, { body: {} });
      await list.refresh();
      return t("drain.done", { node: node.instance });
    } });
  };
  const columns = [
    { name: t("node.name"), cell: (row) => html`<span class=${query.node === row.instance ? "ref marked" : "ref"}>${row.instance}<${Copy} text=${row.instance} /></span>` },
    { name: t("node.service"), cell: (row) => html`<${Services} of=${row.services} />` },
    { name: t("node.state"), cell: (row) => html`<${Pill} tone=${row.draining ? "warn" : "good"}>${t(row.draining ? "node.draining" : "node.works")}<//>` },
    { name: t("node.sessions"), num: true, cell: (row) => (isConnector(row) ? html`<a href=${to(["connections"], { node: row.instance })}><${Share} value=${row.sessions} of=${row.capacity} /><span class="hidden"> ${t("node.sessions-of", { node: row.instance })}</span></a>` : html`<span class="soft">–</span>`) },
    { name: t("node.up"), num: true, cell: (row) => lasting(now - row.started) },
    { name: t("node.version"), cell: (row) => row.version },
    { name: t("node.zone"), cell: (row) => row.zone || html`<span class="soft">–</span>` },
    { name: t("node.addresses"), cell: (row) => html`<${Addresses} of=${row.addresses} />` },
    ...(may("admin") ? [{ name: "", end: true, cell: (row) => isConnector(row) && !row.draining && html`<${Button} small kind="danger" onClick=${() => drain(row)} about=${row.instance}>${t("drain")}…<//>` }] : []),
  ];
  const versions = [...new Set((nodes ?? []).map(({ version }) => version))];
  return html`<${Screen} title=${t("nav.nodes")} intro=${t("nodes.intro")}>
    ${Object.entries(drains).map(([name, each]) => html`<${Drain} key=${name} name=${name} drain=${each} />`)}
    ${versions.length > 1 && html`<div class="banner banner-warn">${t("health.versions", { versions: versions.join(", ") })}</div>`}
    <${Trouble} error=${list.error} retry=${list.refresh} />
    <${Card} wide><${Table} caption=${t("nav.nodes")} columns=${columns} rows=${nodes ?? []} loading=${list.loading} keyOf=${(row) => row.instance} empty=${html`<${Empty} title=${t("nodes.none")} />`} /><//>
  <//>`;
}

export function Services({ of }) {
  return html`<span class="pills">${of.map((service) => html`<${Pill} key=${service}>${service.replace(/^push-/, "")}<//>`)}</span>`;
}

function Addresses({ of }) {
  const entries = Object.entries(of ?? {});
  if (!entries.length) return html`<span class="soft">–</span>`;
  return html`<ul class="lines">${entries.map(([carrier, address]) => html`<li key=${carrier} class="mono">${address}</li>`)}</ul>`;
}

/** How far a drain is. */
function Drain({ name, drain }) {
  const moved = drain.from - drain.left;
  const text = drain.gone ? t("drain.gone", { node: name }) : t("drain.progress", { node: name, moved: number(moved), from: number(drain.from) });
  return html`<div class=${`banner ${drain.gone ? "banner-good" : "banner-warn"} drain`} role="status"><span>${text}</span>
    <progress max=${Math.max(drain.from, 1)} value=${drain.gone ? Math.max(drain.from, 1) : moved} aria-label=${t("drain.label", { node: name })}></progress></div>`;
}
