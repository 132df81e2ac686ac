/** How the whole system is: health with reasons, what it does now, and how that went. */
import { html, useState } from "../lib/html.js";
import { ApiError, get, isMissingRoute } from "../lib/api.js";
import { useData } from "../lib/hooks.js";
import { nodesOf } from "../lib/nodes.js";
import { to } from "../lib/route.js";
import { count, milliseconds, number, short, t } from "../lib/texts.js";
import { Chart } from "../parts/chart.js";
import { Services } from "./nodes.js";
import { Card, Figure, Loading, NodeLink, Pill, Screen, Share, Silent, Table, Trouble } from "../parts/ui.js";

const POLL_MS = 5000;
/** The charts: their lines, and how a value is said. */
/** @type {[string, string[], (n: any) => string][]} */
const CHARTS = [
  ["connections", ["connections"], number],
  ["rates", ["pushes", "deliveries", "acknowledgements"], (n) => number(n, 1)],
  ["latency", ["ack_p50_ms", "ack_p99_ms"], milliseconds],
  ["losses", ["drops", "refusals"], (n) => number(n, 1)],
  ["backlog", ["backlog"], number],
  ["redis", ["redis_ms"], milliseconds],
];
const COUNTS = ["pushes", "deliveries", "acknowledgements", "drops", "refusals"];
const NAMES = CHARTS.flatMap(([, names]) => names);

/** 200, or 503 with its reasons. */
async function readiness(signal) {
  try {
    const answer = await get("/readyz", {}, signal);
    return { ready: true, reasons: [], notes: answer.notes ?? [] };
  } catch (error) {
    if (error instanceof ApiError && error.status === 503) {
      return { ready: false, reasons: error.reasons.length ? error.reasons : [error.message], notes: [] };
    }
    throw error;
  }
}

/** Counts of a step become rates. */
const rateOf = ({ name, step }, value) => (COUNTS.includes(name) && value !== null ? value / step : value);

async function seriesOf(step, signal) {
  const answers = await Promise.all(NAMES.map((name) => get("/v1/series", { name, step }, signal)));
  return Object.fromEntries(answers.map((answer) => [answer.name, { ...answer, values: answer.values.map((value) => rateOf(answer, value)) }]));
}

export function Overview({ theme }) {
  const [step, setStep] = useState(1);
  const health = useData(readiness, [], POLL_MS);
  const stats = useData((signal) => get("/v1/stats", {}, signal), [], POLL_MS);
  const series = useData((signal) => seriesOf(step, signal), [step], step === 1 ? POLL_MS : step * 1000);
  const isOld = isMissingRoute(series.error);
  return html`<${Screen} title=${t("nav.overview")} intro=${t("overview.intro")}>
    <${Health} health=${health} nodes=${nodesOf(stats.data?.nodes ?? [])} />
    <${Trouble} error=${stats.error} retry=${stats.refresh} />
    <${Figures} stats=${stats.data} series=${series.data} />
    ${isOld
      ? html`<div class="banner banner-plain">${t("overview.no-series")}</div>`
      : html`<${Card} title=${t("overview.history")} note=${t(`overview.step-${step}`)} wide actions=${html`<div class="segments" role="group" aria-label=${t("overview.range")}>${[1, 10, 60].map(
          (each) => html`<button type="button" class="button small" aria-pressed=${String(each === step)} onClick=${() => setStep(each)}>${t(`overview.range-${each}`)}</button>`,
        )}</div>`}>
          <${Trouble} error=${series.error} retry=${series.refresh} />
          <${Silent} nodes=${[...new Set(Object.values(series.data ?? {}).flatMap((each) => each.silent ?? []))]} />
          ${series.data ? html`<div class="charts">${CHARTS.map(([name, names, say]) => html`<${Chart} key=${name} theme=${theme} title=${t(`chart.${name}`)} say=${say} whole=${say === number} spans=${name === "latency"} times=${timesOf(series.data[names[0]])} lines=${names.map(
            (each) => ({ name: t(`series.${each}`), values: series.data[each].values }),
          )} />`)}</div>` : series.loading && html`<${Loading} />`}
        <//>`}
    <${NodesCard} stats=${stats} />
  <//>`;
}

const timesOf = ({ start, step, values }) => values.map((_, index) => start + index * step * 1000);

/** The last value that is known. */
const lastOf = (series, name) => series?.[name]?.values.findLast((value) => value !== null) ?? null;

/** A rate of the last moments, without the one that is not over yet. */
function recentOf(series, name) {
  const { values, step } = series[name];
  const known = values.slice(0, -1).filter((value) => value !== null).slice(-Math.max(1, 10 / step));
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function Health({ health, nodes }) {
  if (health.error) return html`<${Trouble} error=${health.error} retry=${health.refresh} />`;
  if (!health.data) return html`<${Loading} />`;
  const { ready, reasons, notes } = health.data;
  const draining = nodes.filter((node) => node.draining);
  const versions = [...new Set(nodes.map((node) => node.version))];
  const remarks = [
    ...notes,
    ...draining.map((node) => t("health.draining", { node: node.instance })),
    ...(versions.length > 1 ? [t("health.versions", { versions: versions.join(", ") })] : []),
  ];
  const tone = !ready ? "bad" : remarks.length ? "warn" : "good";
  return html`<section class=${`health health-${tone}`} aria-label=${t("health.label")}>
    <p class="health-title"><${Pill} tone=${tone}>${t(`health.${tone}`)}<//> ${t(`health.${tone}-text`)}</p>
    ${[...reasons, ...remarks].length > 0 && html`<ul class="health-list">${[...reasons, ...remarks].map((text) => html`<li key=${text}>${text}</li>`)}</ul>`}
  </section>`;
}

function Figures({ stats, series }) {
  const rate = (name) => short(recentOf(series, name));
  const perSecond = t("unit.per-second");
  return html`<div class="figures">
    <${Figure} name=${t("figure.sessions")} value=${number(stats?.sessions)} href=${to(["connections"])} hint=${stats && count("figure.nodes", nodesOf(stats.nodes).length)} />
    ${series && html`<${Figure} name=${t("series.pushes")} value=${rate("pushes")} unit=${perSecond} href=${to(["messages"])} />
      <${Figure} name=${t("series.deliveries")} value=${rate("deliveries")} unit=${perSecond} href=${to(["live"])} />
      <${Figure} name=${t("figure.latency")} value=${milliseconds(lastOf(series, "ack_p50_ms"))} hint=${t("figure.p99", { value: milliseconds(lastOf(series, "ack_p99_ms")) })} />
      <${Figure} name=${t("series.backlog")} value=${short(lastOf(series, "backlog"))} hint=${t("figure.backlog-hint")} />
      <${Figure} name=${t("series.redis_ms")} value=${milliseconds(lastOf(series, "redis_ms"))} />`}
  </div>`;
}

function NodesCard({ stats }) {
  const columns = [
    { name: t("node.name"), cell: (row) => html`<${NodeLink} id=${row.instance} />` },
    { name: t("node.service"), cell: (row) => html`<${Services} of=${row.services} />` },
    { name: t("node.sessions"), num: true, cell: (row) => html`<${Share} value=${row.sessions} of=${row.capacity} />` },
    { name: t("node.version"), cell: (row) => row.version },
    { name: t("node.state"), cell: (row) => html`<${Pill} tone=${row.draining ? "warn" : "good"}>${t(row.draining ? "node.draining" : "node.works")}<//>` },
  ];
  return html`<${Card} title=${t("nav.nodes")} wide><${Table} caption=${t("nav.nodes")} columns=${columns} rows=${nodesOf(stats.data?.nodes ?? [])} loading=${stats.loading} keyOf=${(row) => row.instance} /><//>`;
}
