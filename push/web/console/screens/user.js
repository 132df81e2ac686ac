/** One user: presence, devices, conversations. */
import { html, useState } from "../lib/html.js";
import { get, segment } from "../lib/api.js";
import { useData, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { count, number, t } from "../lib/texts.js";
import { BanButton, eraseUser, kickUser } from "../parts/acts.js";
import { Field } from "../parts/forms.js";
import { Button, Card, Empty, Facts, GroupLink, LinkButton, Loading, NodeLink, PagedTable, Pill, Screen, Silent, Table, Time, TokenLink, Trouble, UserLink } from "../parts/ui.js";
import { Data } from "./device.js";

const POLL_MS = 5000;

export function FindUser() {
  const [user, setUser] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (user.trim()) go(to(["users", user.trim()]));
  };
  return html`<${Screen} title=${t("nav.users")} intro=${t("users.intro")}>
    <${Card}><form class="look-up" onSubmit=${submit} role="search"><${Field} label=${t("filter.user")} value=${user} set=${setUser} help=${t("users.help")} /><button class="button primary" disabled=${!user.trim()}>${t("open")}</button></form><//>
    <${Empty} title=${t("users.no-list")}><p>${t("users.no-list-text")}</p><${LinkButton} href=${to(["connections"])}>${t("nav.connections")}<//><//>
  <//>`;
}

export function User({ id }) {
  const user = useData((signal) => get(`/v1/users/${segment(id)}`, {}, signal), [id], POLL_MS);
  const { data } = user;
  const acts = data && html`
    ${may("push") && html`<${LinkButton} href=${to(["send"], { kind: "user", value: id })}>${t("nav.send")}<//>`}
    <${LinkButton} href=${to(["messages"], { to: `user:${id}` })}>${t("user.messages")}<//>
    ${may("admin") && html`${data.online && html`<${Button} kind="danger" onClick=${() => kickUser(id, user.refresh)}>${t("kick")}…<//>`}
      <${BanButton} kind="user" value=${id} done=${user.refresh} /><${Button} kind="danger" onClick=${() => eraseUser(id, user.refresh)}>${t("erase")}…<//>`}`;
  return html`<${Screen} title=${id} intro=${t("user.intro")} actions=${acts}>
    <${Trouble} error=${user.error} retry=${user.refresh} />
    ${user.loading && html`<${Loading} />`}
    ${data && html`<${Silent} nodes=${data.silent} />
      <${Card} title=${t("user.presence")} actions=${html`<${Pill} tone=${data.online ? "good" : "plain"}>${t(data.online ? "online" : "offline")}<//>`}>
        <${Facts} rows=${[
          [t("user.devices"), count("user.devices-n", data.devices.length)],
          [t("user.online-devices"), number(data.devices.filter(({ online }) => online).length)],
          [t("user.sessions"), html`<a href=${to(["connections"], { user: id })}>${t("user.show-sessions")}</a>`],
        ]} />
      <//>
      <${Devices} devices=${data.devices} />
      ${may("chat") && html`<${Conversations} id=${id} />`}`}
  <//>`;
}

function Devices({ devices }) {
  const columns = [
    { name: t("column.device"), cell: (row) => html`<${TokenLink} id=${row.token} copy />` },
    { name: t("column.state"), cell: (row) => html`<${Pill} tone=${row.online ? "good" : "plain"}>${t(row.online ? "online" : "offline")}<//>` },
    { name: t("device.seen"), cell: (row) => (row.seen === null ? t("device.never-seen") : html`<${Time} ms=${row.seen} />`) },
    { name: t("column.node"), cell: (row) => html`<${NodeLink} id=${row.node} />` },
    { name: t("device.app"), cell: (row) => row.app },
    { name: t("device.platform"), cell: (row) => row.platform },
  ];
  return html`<${Card} wide title=${t("nav.devices")}><${Table} caption=${t("nav.devices")} columns=${columns} rows=${devices} keyOf=${(row) => row.token} empty=${html`<${Empty} title=${t("user.no-devices")}>${t("user.no-devices-text")}<//>`} /><//>`;
}

function Conversations({ id }) {
  const list = usePages((cursor, signal) => get(`/v1/users/${segment(id)}/conversations`, { cursor }, signal), "conversations", [id]);
  const columns = [
    { name: t("column.conversation"), cell: (row) => (row.group ? html`<${GroupLink} id=${row.group} />` : html`<${UserLink} id=${row.user} />`) },
    { name: t("column.kind"), cell: (row) => t(row.group ? "conversation.group" : "conversation.single") },
    { name: t("conversation.last"), cell: (row) => html`<${Time} ms=${row.last?.ts} />` },
    { name: t("column.data"), cell: (row) => (row.last?.recalled ? t("history.recalled") : row.last ? html`<${Data} value=${row.last.data} />` : "–") },
    { name: t("conversation.unread"), num: true, cell: (row) => number(row.unread) },
    { name: t("conversation.messages"), num: true, cell: (row) => number(row.seq) },
  ];
  return html`<${Card} wide title=${t("user.conversations")}><${PagedTable} list=${list} caption=${t("user.conversations")} columns=${columns} keyOf=${(row) => row.conversation} empty=${html`<${Empty} title=${t("user.no-conversations")} />`} /><//>`;
}
