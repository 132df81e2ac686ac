/** Recent messages, newest first. */
import { html } from "../lib/html.js";
import { get } from "../lib/api.js";
import { usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { number, t } from "../lib/texts.js";
import { explainMessage } from "../lib/why.js";
import { Filters } from "../parts/forms.js";
import { Target } from "../parts/targets.js";
import { Card, Empty, LinkButton, MessageLink, PagedTable, Pill, Screen, Time } from "../parts/ui.js";

const POLL_MS = 5000;
const SINCE = [["", 0], ["5m", 300_000], ["1h", 3_600_000], ["1d", 86_400_000]];

export function Messages({ query }) {
  const wanted = { to: query.to ?? "", since: query.since ?? "" };
  const since = Object.fromEntries(SINCE)[wanted.since];
  const list = usePages((cursor, signal) => get("/v1/messages", { to: wanted.to, since: since ? Date.now() - since : "", cursor }, signal), "messages", [wanted.to, wanted.since], POLL_MS);
  const columns = [
    { name: t("column.message"), cell: (row) => html`<${MessageLink} id=${row.id} copy />` },
    { name: t("message.to"), cell: (row) => html`<${Target} to=${row.to} />` },
    { name: t("column.sent"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: t("funnel.addressed"), num: true, cell: (row) => number(row.addressed) },
    { name: t("funnel.written"), num: true, cell: (row) => number(row.written) },
    { name: t("funnel.acknowledged"), num: true, cell: (row) => number(row.acknowledged) },
    { name: t("column.state"), cell: (row) => html`<${Outcome} message=${row} />` },
  ];
  const fields = [
    { name: "to", label: t("message.to"), placeholder: "user:anna", help: t("messages.to-help") },
    { name: "since", label: t("messages.since"), options: SINCE.map(([key]) => [key, t(`since.${key || "all"}`)]) },
  ];
  return html`<${Screen} title=${t("nav.messages")} intro=${t("messages.intro")} actions=${may("push") && html`<${LinkButton} kind="primary" href=${to(["send"])}>${t("nav.send")}<//>`}>
    <${Card}><${Filters} fields=${fields} values=${wanted} apply=${(values) => go(to(["messages"], values))} /><//>
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.messages")} columns=${columns} keyOf=${(row) => row.id} empty=${html`<${Empty} title=${t("messages.none")}>${t("messages.none-text")}<//>`} /><//>
  <//>`;
}

function Outcome({ message }) {
  const { reason, tone, values } = explainMessage(message, Date.now());
  const ends = ["expired", "cancelled", "dropped"].filter((end) => values[end] > 0);
  if (reason === "ended" && ends.length === 1 && !values.acknowledged) return html`<${Pill} tone=${ends[0] === "cancelled" ? "warn" : "bad"}>${t(`outcome.${ends[0]}`)}<//>`;
  return html`<${Pill} tone=${tone}>${t(`outcome.${reason}`)}<//>`;
}
