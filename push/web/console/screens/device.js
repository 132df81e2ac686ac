/** One device: what is registered, its session, what waits for it, and what happened to it. */
import { html, useState } from "../lib/html.js";
import { call, get, segment } from "../lib/api.js";
import { useData, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { count, number, t } from "../lib/texts.js";
import { BanButton, forgetDevice, kickDevice } from "../parts/acts.js";
import { confirm } from "../parts/dialog.js";
import { Field, emptyAfter, useForm } from "../parts/forms.js";
import { Button, Card, Copy, Empty, Facts, LinkButton, Loading, MessageLink, NodeLink, PagedTable, Pill, Screen, Time, TopicLink, Trouble, UserLink } from "../parts/ui.js";
import { say } from "../parts/toast.js";
import { eventText } from "./live.js";

const POLL_MS = 5000;
const TONES = { connected: "good", acknowledged: "good", disconnected: "plain", redirected: "warn", dropped: "bad", repaired: "warn" };

/** The way to a device whose token somebody knows. */
export function FindDevice() {
  const [token, setToken] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (token.trim()) go(to(["devices", token.trim()]));
  };
  return html`<${Screen} title=${t("nav.devices")} intro=${t("devices.intro")}>
    <${Card}><form class="look-up" onSubmit=${submit} role="search"><${Field} label=${t("filter.token")} value=${token} set=${setToken} help=${t("devices.help")} /><button class="button primary" disabled=${!token.trim()}>${t("open")}</button></form><//>
    <${Empty} title=${t("devices.other-ways")}><p>${t("devices.other-ways-text")}</p><${LinkButton} href=${to(["users"])}>${t("nav.users")}<//> <${LinkButton} href=${to(["connections"])}>${t("nav.connections")}<//><//>
  <//>`;
}

export function Device({ id }) {
  const path = `/v1/devices/${segment(id)}`;
  const device = useData((signal) => get(path, {}, signal), [id], POLL_MS);
  const { data } = device;
  const acts = data && html`
    ${may("push") && html`<${LinkButton} href=${to(["send"], { kind: "token", value: id })}>${t("nav.send")}<//>`}
    ${may("admin") && html`${data.online && html`<${Button} kind="danger" onClick=${() => kickDevice(id, device.refresh)}>${t("kick")}…<//>`}
      <${BanButton} kind="token" value=${id} done=${device.refresh} /><${Button} kind="danger" onClick=${() => forgetDevice(id)}>${t("forget")}…<//>`}`;
  return html`<${Screen} title=${id} mono intro=${t("device.intro")} actions=${acts}>
    ${device.error?.code === "unknown_token" || device.error?.status === 422
      ? html`<${Empty} title=${t(device.error.status === 422 ? "device.mistyped" : "device.unknown")}><p>${t(device.error.status === 422 ? "device.mistyped-text" : "device.unknown-text")}</p><//>`
      : html`<${Trouble} error=${device.error} retry=${device.refresh} />`}
    ${device.loading && html`<${Loading} />`}
    ${data && html`<div class="columns"><${Record} device=${data} refresh=${device.refresh} /><${Topics} device=${data} refresh=${device.refresh} /></div>
      <${Waiting} id=${id} backlog=${data.backlog} /><${Timeline} id=${id} />`}
  <//>`;
}

function Record({ device, refresh }) {
  const [user, setUser] = useState("");
  const form = useForm(async () => {
    await call("PUT", `/v1/users/${segment(user.trim())}/devices/${segment(device.token)}`);
    say(t("bind.done", { user: user.trim() }));
    setUser(emptyAfter(user));
    await refresh();
  });
  const unbind = () =>
    confirm({ title: t("unbind.title", { user: device.user }), text: t("unbind.text"), verb: t("unbind"), run: async () => {
      await call("DELETE", `/v1/users/${segment(device.user)}/devices/${segment(device.token)}`);
      await refresh();
      return t("unbind.done", { user: device.user });
    } });
  return html`<${Card} title=${t("device.record")} actions=${html`<${Pill} tone=${device.online ? "good" : "plain"}>${t(device.online ? "online" : "offline")}<//>`}>
    <${Facts} rows=${[
      [t("device.token"), html`<span class="ref"><span class="mono">${device.token}</span><${Copy} text=${device.token} /></span>`],
      [t("column.user"), html`<${UserLink} id=${device.user} copy />`],
      [t("device.session"), device.online ? html`<span class="mono">${device.session}</span>` : t("device.no-session")],
      [t("column.node"), device.online ? html`<${NodeLink} id=${device.node} />` : undefined],
      [t("device.seen"), device.seen === null ? t("device.never-seen") : html`<${Time} ms=${device.seen} />`],
      [t("device.backlog"), device.backlog ? count("device.waiting", device.backlog) : t("device.nothing-waits")],
      [t("device.app"), device.app],
      [t("device.platform"), device.platform],
      [t("device.device"), device.device],
      [t("device.created"), html`<${Time} ms=${device.created} />`],
    ]} />
    ${may("push") && html`<form class="inline-form" onSubmit=${form.submit}><${Field} label=${t("bind.label")} value=${user} set=${setUser} error=${form.error ? form.error.message : ""} /><button class="button" disabled=${form.busy || !user.trim()}>${t("bind")}</button>
      ${device.user && html`<${Button} kind="danger" onClick=${unbind}>${t("unbind")}…<//>`}</form>`}
  <//>`;
}

function Topics({ device, refresh }) {
  const [topic, setTopic] = useState("");
  const path = (name) => `/v1/topics/${segment(name)}/devices/${segment(device.token)}`;
  const form = useForm(async () => {
    await call("PUT", path(topic.trim()));
    say(t("subscribe.done", { topic: topic.trim() }));
    setTopic(emptyAfter(topic));
    await refresh();
  });
  const leave = (name) =>
    confirm({ title: t("unsubscribe.title", { topic: name }), text: t("unsubscribe.text"), verb: t("unsubscribe"), run: async () => {
      await call("DELETE", path(name));
      await refresh();
      return t("unsubscribe.done", { topic: name });
    } });
  return html`<${Card} title=${t("nav.topics")} note=${count("device.topics", device.topics.length)}>
    ${device.topics.length ? html`<ul class="rows">${device.topics.map((name) => html`<li key=${name}><${TopicLink} id=${name} />${may("push") && html`<${Button} small onClick=${() => leave(name)} about=${name}>${t("unsubscribe")}<//>`}</li>`)}</ul>` : html`<${Empty} title=${t("device.no-topics")} />`}
    ${may("push") && html`<form class="inline-form" onSubmit=${form.submit}><${Field} label=${t("subscribe.label")} value=${topic} set=${setTopic} error=${form.error ? form.error.message : ""} /><button class="button" disabled=${form.busy || !topic.trim()}>${t("subscribe")}</button></form>`}
  <//>`;
}

function Waiting({ id, backlog }) {
  const list = usePages((cursor, signal) => get(`/v1/devices/${segment(id)}/messages`, { cursor }, signal), "messages", [id, backlog]);
  const columns = [
    { name: t("column.message"), cell: (row) => html`<${MessageLink} id=${row.id} copy />` },
    { name: t("column.stream"), cell: (row) => html`<span class="mono">${row.stream}</span>` },
    { name: t("column.sent"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: t("column.expires"), cell: (row) => html`<${Time} ms=${row.expires} />` },
    { name: t("column.data"), cell: (row) => html`<${Data} value=${row.data} />` },
  ];
  return html`<${Card} wide title=${t("device.waits")} note=${t("device.waits-note")}><${PagedTable} list=${list} caption=${t("device.waits")} columns=${columns} keyOf=${(row) => `${row.stream} ${row.id}`} empty=${html`<${Empty} title=${t("device.nothing-waits")} />`} /><//>`;
}

/** What an app sent, shortened. Only the app knows what it means: a text is shown as such, anything else as JSON. */
export function Data({ value }) {
  if (value === null || value === undefined) return html`<span class="soft">–</span>`;
  const words = typeof value === "object" && value !== null && Object.keys(value).join() === "text" ? value.text : value;
  if (typeof words === "string") return html`<span class="quoted">${words.length > 120 ? `${words.slice(0, 120)}…` : words}</span>`;
  const text = JSON.stringify(value);
  const brief = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return html`<code class="data">${brief}</code>`;
}

function Timeline({ id }) {
  const list = usePages((cursor, signal) => get(`/v1/devices/${segment(id)}/events`, { cursor }, signal), "events", [id], POLL_MS);
  const columns = [
    { name: t("column.time"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: t("column.event"), cell: (row) => html`<${Pill} tone=${TONES[row.event]}>${t(`event.${row.event}`)}<//>` },
    { name: t("column.what"), cell: (row) => (row.event === "acknowledged" ? count("timeline.acknowledged", row.n ?? 1) : eventText(row) || html`<span class="soft">–</span>`) },
    { name: t("column.node"), cell: (row) => html`<${NodeLink} id=${row.node} />` },
    { name: t("column.session"), cell: (row) => html`<span class="mono soft">${row.session ?? "–"}</span>` },
  ];
  return html`<${Card} wide title=${t("device.timeline")} note=${t("device.timeline-note", { days: number(7) })}><${PagedTable} list=${list} caption=${t("device.timeline")} columns=${columns} keyOf=${(row) => `${row.ts} ${row.event} ${row.session} ${row.n}`} empty=${html`<${Empty} title=${t("device.no-events")}>${t("device.no-events-text")}<//>`} /><//>`;
}
