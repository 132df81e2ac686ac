/** One message: its funnel, device by device, and why it did not arrive somewhere. */
import { html, useState } from "../lib/html.js";
import { get, segment } from "../lib/api.js";
import { factsOf, messageOf } from "../lib/gather.js";
import { useData, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { number, t } from "../lib/texts.js";
import { COUNTED, explain, explainMessage, sum, targetOf } from "../lib/why.js";
import { cancelMessage } from "../parts/acts.js";
import { Field } from "../parts/forms.js";
import { Target } from "../parts/targets.js";
import { Button, Card, Copy, Empty, Facts, Loading, PagedTable, Pill, Screen, Time, TokenLink, Trouble, UserLink } from "../parts/ui.js";
import { Why, messageText } from "../parts/why.js";

const POLL_MS = 3000;
export const STATE_TONES = { stored: "plain", written: "info", acknowledged: "good", expired: "bad", cancelled: "warn", dropped: "bad" };
const STEPS = ["addressed", "stored", "written", "acknowledged"];

export function Message({ id, query }) {
  const message = useData((signal) => get(`/v1/messages/${segment(id)}`, {}, signal), [id], POLL_MS);
  const { data } = message;
  const isOpen = data && explainMessage(data, Date.now()).values.open > 0;
  const acts = may("push") && isOpen && html`<${Button} kind="danger" onClick=${() => cancelMessage(id, message.refresh)}>${t("cancel-message")}…<//>`;
  return html`<${Screen} title=${id} mono intro=${t("message.intro")} actions=${acts}>
    ${message.error?.code === "unknown_message"
      ? html`<${Empty} title=${t("message.unknown")}>${t("message.unknown-text")}<//>`
      : html`<${Trouble} error=${message.error} retry=${message.refresh} />`}
    ${message.loading && html`<${Loading} />`}
    ${data && html`<${Funnel} message=${data} /><${Question} message=${data} query=${query} /><${DevicesOf} message=${data} />`}
  <//>`;
}

export function Funnel({ message }) {
  const answer = explainMessage(message, Date.now());
  const widest = Math.max(message.addressed, message.stored, message.written, message.acknowledged, 1);
  const ends = [["expired", message.expired], ["cancelled", message.cancelled], ...Object.entries(message.dropped).map(([reason, n]) => [reason, n])].filter(([, n]) => n > 0);
  return html`<${Card} wide title=${t("message.became")}>
    <div class=${`why why-${answer.tone}`} role="status"><p class="why-text">${messageText(answer)}</p></div>
    <div class="columns">
      <ol class="funnel">${STEPS.map((step) => html`<li key=${step} class=${message[step] >= message.addressed && message.addressed > 0 ? "funnel-full" : ""}>
        <span class="funnel-name">${t(`funnel.${step}`)}</span><span class="funnel-bar"><i style=${{ width: `${((message[step] / widest) * 100).toFixed(1)}%` }}></i></span><span class="funnel-count">${number(message[step])}</span></li>`)}</ol>
      <${Facts} rows=${[
        [t("message.id"), html`<span class="ref"><span class="mono">${message.id}</span><${Copy} text=${message.id} /></span>`],
        [t("message.to"), html`<${Target} to=${message.to} />`],
        [t("column.sent"), html`<${Time} ms=${message.ts} />`],
        [t("column.expires"), message.expires === null || message.stored === 0 ? t("message.not-kept") : html`<${Time} ms=${message.expires} />`],
        ...ends.map(([name, n]) => [t(name === "expired" || name === "cancelled" ? `state.${name}` : `dropped.${name}`), number(n)]),
      ]} />
    </div>
  <//>`;
}

/** "Why did it not arrive at …?", for a device or all devices of a user; its address can be passed on. */
function Question({ message, query }) {
  const asked = query.token ? ["token", query.token] : query.user ? ["user", query.user] : null;
  const [kind, setKind] = useState(query.user ? "user" : "token");
  const [value, setValue] = useState(asked?.[1] ?? "");
  const submit = (event) => {
    event.preventDefault();
    if (value.trim()) go(to(["messages", message.id], { [kind]: value.trim() }), true);
  };
  return html`<${Card} wide title=${t("why.title")} note=${t("why.note")}>
    <form class="look-up" onSubmit=${submit}>
      <${Field} label=${t("why.whom")} value=${kind} set=${setKind} options=${["token", "user"].map((each) => [each, t(`target.${each}`)])} />
      <${Field} label=${t(`filter.${kind}`)} value=${value} set=${setValue} />
      <button class="button primary" disabled=${!value.trim()}>${t("why.ask")}</button>
    </form>
    ${asked && html`<${AnswerFor} key=${asked.join(" ")} message=${message} kind=${asked[0]} value=${asked[1]} />`}
  <//>`;
}

async function answersFor(id, kind, value, signal) {
  const message = await messageOf(id, signal);
  const tokens = kind === "token" ? [value] : (await get(`/v1/users/${segment(value)}`, {}, signal)).devices.map(({ token }) => token);
  const facts = await Promise.all(tokens.slice(0, 20).map((token) => factsOf(message, token, signal)));
  return facts.map((each) => ({ token: each.token, answer: explain(each) }));
}

function AnswerFor({ message, kind, value }) {
  const counts = [message.written, message.acknowledged, message.expired, message.cancelled, sum(message.dropped)].join(" ");
  const found = useData((signal) => answersFor(message.id, kind, value, signal), [message.id, kind, value, counts]);
  if (found.loading) return html`<${Loading} />`;
  if (found.error) return html`<${Trouble} error=${found.error} retry=${found.refresh} />`;
  if (!found.data?.length) return html`<${Empty} title=${t("why.user-has-none", { user: value })}>${t("why.user-has-none-text")}<//>`;
  return html`<ul class="answers">${found.data.map(({ token, answer }) => html`<li key=${token}><${TokenLink} id=${token} copy /><${Why} answer=${answer} /></li>`)}</ul>`;
}

function DevicesOf({ message }) {
  const kind = targetOf(message.to);
  const isCounted = COUNTED.includes(kind);
  if (isCounted) return html`<${Card} wide title=${t("message.devices")}><${Empty} title=${t("message.counted")}>${t("message.counted-text")}<//><//>`;
  return html`<${Lines} message=${message} />`;
}

function Lines({ message }) {
  const path = `/v1/messages/${segment(message.id)}/devices`;
  const list = usePages((cursor, signal) => get(path, { cursor }, signal), "devices", [message.id], POLL_MS);
  const columns = [
    { name: t("column.device"), cell: (row) => html`<${TokenLink} id=${row.token} copy />` },
    { name: t("column.user"), cell: (row) => html`<${UserLink} id=${row.user} />` },
    { name: t("column.state"), cell: (row) => html`<${Pill} tone=${STATE_TONES[row.state]}>${t(`state.${row.state}`)}<//>` },
    { name: t("column.why"), cell: (row) => (row.reason ? t(`dropped.${row.reason}`) : html`<span class="soft">–</span>`) },
    { name: t("column.since"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: "", end: true, cell: (row) => row.state !== "acknowledged" && html`<a class="button small" href=${to(["messages", message.id], { token: row.token })}>${t("why.short")}<span class="hidden"> ${row.token}</span></a>` },
  ];
  return html`<${Card} wide title=${t("message.devices")}>${list.error?.code === "not_found"
    ? html`<${Empty} title=${t("message.no-lines")} />`
    : html`<${PagedTable} list=${list} caption=${t("message.devices")} columns=${columns} keyOf=${(row) => row.token} empty=${html`<${Empty} title=${t("message.nobody")}>${t("message.nobody-text")}<//>`} />`}<//>`;
}
