/** Topics that devices follow. */
import { html, useState } from "../lib/html.js";
import { get, segment } from "../lib/api.js";
import { useData, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { number, t } from "../lib/texts.js";
import { Field } from "../parts/forms.js";
import { AddressLink, Card, Empty, Figure, LinkButton, Loading, NodeLink, PagedTable, Screen, TokenLink, TopicLink, Trouble, UserLink } from "../parts/ui.js";

const POLL_MS = 10_000;

export function Topics() {
  const [name, setName] = useState("");
  const list = usePages((cursor, signal) => get("/v1/topics", { cursor }, signal), "topics", [], POLL_MS);
  const columns = [
    { name: t("column.topic"), cell: (row) => html`<${TopicLink} id=${row.topic} />` },
    { name: t("topic.followers"), num: true, cell: (row) => number(row.devices) },
  ];
  const submit = (event) => {
    event.preventDefault();
    if (name.trim()) go(to(["topics", name.trim()]));
  };
  return html`<${Screen} title=${t("nav.topics")} intro=${t("topics.intro")}>
    <${Card}><form class="look-up" onSubmit=${submit} role="search"><${Field} label=${t("filter.topic")} value=${name} set=${setName} /><button class="button primary" disabled=${!name.trim()}>${t("open")}</button></form><//>
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.topics")} columns=${columns} keyOf=${(row) => row.topic} empty=${html`<${Empty} title=${t("topics.none")}>${t("topics.none-text")}<//>`} /><//>
  <//>`;
}

export function Topic({ id }) {
  const topic = useData((signal) => get(`/v1/topics/${segment(id)}`, {}, signal), [id], POLL_MS);
  const list = usePages((cursor, signal) => get("/v1/connections", { topic: id, cursor }, signal), "connections", [id], POLL_MS);
  const columns = [
    { name: t("column.device"), cell: (row) => (row.token ? html`<${TokenLink} id=${row.token} copy />` : html`<span class="soft">${t("connections.jwt-alone")}</span>`) },
    { name: t("column.user"), cell: (row) => html`<${UserLink} id=${row.user} />` },
    { name: t("column.node"), cell: (row) => html`<${NodeLink} id=${row.node} />` },
    { name: t("column.address"), cell: (row) => html`<${AddressLink} ip=${row.ip} />` },
  ];
  const acts = html`${may("push") && html`<${LinkButton} href=${to(["send"], { kind: "topic", value: id })}>${t("nav.send")}<//>`}<${LinkButton} href=${to(["messages"], { to: `topic:${id}` })}>${t("user.messages")}<//>`;
  return html`<${Screen} title=${id} intro=${t("topic.intro")} actions=${acts}>
    ${topic.error?.code === "not_found" ? html`<${Empty} title=${t("topic.unknown")}>${t("topic.unknown-text")}<//>` : html`<${Trouble} error=${topic.error} retry=${topic.refresh} />`}
    ${topic.loading && html`<${Loading} />`}
    ${topic.data && html`<div class="figures"><${Figure} name=${t("topic.followers")} value=${number(topic.data.devices)} hint=${t("topic.followers-hint")} /></div>`}
    <${Card} wide title=${t("topic.sessions")}><${PagedTable} list=${list} caption=${t("topic.sessions")} columns=${columns} keyOf=${(row) => row.session} empty=${html`<${Empty} title=${t("topic.nobody")} />`} /><//>
  <//>`;
}
