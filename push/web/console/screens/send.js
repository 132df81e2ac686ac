/** Push something, with the line for a shell that does the same. */
import { html, useState } from "../lib/html.js";
import { call, get, segment } from "../lib/api.js";
import { curl, dataOf } from "../lib/curl.js";
import { useData } from "../lib/hooks.js";
import { to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { count, t } from "../lib/texts.js";
import { confirm } from "../parts/dialog.js";
import { Field, setOf, useForm } from "../parts/forms.js";
import { targetText } from "../parts/targets.js";
import { Card, Code, LinkButton, MessageLink, Screen, Silent, Trouble } from "../parts/ui.js";
import { Funnel } from "./message.js";

const KINDS = ["token", "user", "topic", "group", "tokens", "users", "ip", "all"];
const TTLS = [["", "default"], ["0", "0"], ["60", "60"], ["3600", "3600"], ["86400", "86400"], ["604800", "604800"]];

/** The body of the push that the form describes. */
export function bodyOf(form) {
  const values = form.value.split(/[\s,]+/).filter(Boolean);
  const given = { token: values[0] ?? "", user: values[0] ?? "", topic: values[0] ?? "", group: values[0] ?? "", ip: values[0] ?? "", tokens: values, users: values, all: true };
  const body = { to: { [form.kind]: given[form.kind] }, data: dataOf(form.data) };
  for (const name of ["title", "body", "collapse"]) if (form[name]) body[name] = form[name];
  if (form.ttl !== "") body.ttl = Number(form.ttl);
  if (form.qos === "0") body.qos = 0;
  return body;
}

const EMPTY = { kind: "user", value: "", title: "", body: "", data: '{"text": "Hello"}', ttl: "", qos: "1", collapse: "", once: "" };

export function Send({ query }) {
  const [form, setForm] = useState({ ...EMPTY, kind: KINDS.includes(query.kind) ? query.kind : "user", value: query.value ?? "" });
  const [sent, setSent] = useState(/** @type {any} */ (null));
  const set = setOf(setForm);
  const body = bodyOf(form);
  const headers = form.once ? { "Idempotency-Key": form.once } : {};
  const push = async () => setSent(await call("POST", "/v1/push", { body, headers }));
  const state = useForm(async () => {
    if (form.kind !== "all") return push();
    confirm({ title: t("send.all-title"), text: t("send.all-text"), verb: t("send.verb"), run: push, done: t("send.accepted") });
  });
  const isText = typeof body.data === "string";
  const several = form.kind === "tokens" || form.kind === "users";
  return html`<${Screen} title=${t("nav.send")} intro=${t("send.intro")}>
    <div class="columns">
      <${Card} title=${t("send.message")}><form class="stack" onSubmit=${state.submit}>
        <div class="pair"><${Field} label=${t("send.to")} value=${form.kind} set=${set("kind")} options=${KINDS.map((kind) => [kind, t(`target.${kind}`)])} />
          ${form.kind !== "all" && html`<${Field} label=${t(`send.value-${form.kind}`)} value=${form.value} set=${set("value")} lines=${several ? 3 : 0} help=${several ? t("send.several") : ""} error=${state.error?.field?.startsWith("to") ? state.error.message : ""} required />`}</div>
        <${Field} label=${t("send.title")} value=${form.title} set=${set("title")} help=${t("send.title-help")} error=${state.errorAt("title")} />
        <${Field} label=${t("send.body")} value=${form.body} set=${set("body")} lines=${2} error=${state.errorAt("body")} />
        <${Field} label=${t("send.data")} value=${form.data} set=${set("data")} lines=${4} class="mono" help=${t(isText ? "send.data-text" : "send.data-json")} error=${state.errorAt("data")} />
        <div class="pair"><${Field} label=${t("send.ttl")} value=${form.ttl} set=${set("ttl")} options=${TTLS.map(([value, name]) => [value, t(`send.ttl-${name}`)])} error=${state.errorAt("ttl")} />
          <${Field} label=${t("send.qos")} value=${form.qos} set=${set("qos")} options=${[["1", t("send.qos-1")], ["0", t("send.qos-0")]]} /></div>
        <details class="more"><summary>${t("send.more")}</summary><div class="stack">
          <${Field} label=${t("send.collapse")} value=${form.collapse} set=${set("collapse")} help=${t("send.collapse-help")} error=${state.errorAt("collapse")} />
          <${Field} label="Idempotency-Key" value=${form.once} set=${set("once")} help=${t("send.once-help")} /></div></details>
        <${Trouble} error=${state.error} />
        <div><button class="button primary" disabled=${state.busy || (form.kind !== "all" && !form.value.trim())}>${t(state.busy ? "working" : "send.verb")}</button></div>
      </form><//>
      <div class="stack"><${Card} title=${t("send.preview")} note=${t("send.preview-note")}><${Code} name="curl" text=${curl(location.origin, "/v1/push", body, headers)} /><//>
        ${sent && html`<${Sent} key=${sent.id} sent=${sent} to=${body.to} />`}</div>
    </div>
  <//>`;
}

function Sent({ sent, to: target }) {
  const known = useData((signal) => get(`/v1/messages/${segment(sent.id)}`, {}, signal), [sent.id], 2000);
  const isIp = "ip" in target;
  return html`<${Card} title=${t("send.accepted")} actions=${may("read") && html`<${LinkButton} href=${to(["messages", sent.id])}>${t("send.follow")}<//>`}>
      <p>${isIp ? count("send.sent-ip", sent.online) : count("send.sent", sent.streams, { to: targetText(target), online: count("send.online", sent.online) })}</p>
      <p><span class="soft">${t("message.id")}</span> <${MessageLink} id=${sent.id} copy /></p>
      ${sent.unknown?.length > 0 && html`<div class="banner banner-warn">${count("send.unknown", sent.unknown.length, { tokens: sent.unknown.join(", ") })}</div>`}
      <${Silent} nodes=${sent.silent} />
    <//>
    ${may("read") && known.data && html`<${Funnel} message=${known.data} />`}`;
}
