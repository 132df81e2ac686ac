/** Endpoints that get events. */
import { html, useState } from "../lib/html.js";
import { call, get } from "../lib/api.js";
import { usePages } from "../lib/hooks.js";
import { to } from "../lib/route.js";
import { number, t } from "../lib/texts.js";
import { Dialog } from "../parts/dialog.js";
import { Checks, Field, useForm } from "../parts/forms.js";
import { Secret } from "../parts/secret.js";
import { Button, Card, Empty, PagedTable, Pill, Screen, Time, Trouble } from "../parts/ui.js";

export const TYPES = ["device.online", "device.offline", "message.acknowledged", "message.expired", "message.dropped", "chat.message", "group.changed"];
export const HOOK_TONES = { ok: "good", failing: "bad", disabled: "plain" };

export function Webhooks() {
  const [isOpen, setOpen] = useState(false);
  const [made, setMade] = useState(/** @type {any} */ (null));
  const list = usePages((cursor, signal) => get("/v1/webhooks", { cursor }, signal), "webhooks", [], 5000);
  const columns = [
    { name: t("webhook.url"), cell: (row) => html`<span class="stacked long"><a href=${to(["webhooks", row.id])}>${row.url}</a>${row.description && html`<span class="soft">${row.description}</span>`}</span>` },
    { name: t("column.state"), cell: (row) => html`<${Pill} tone=${HOOK_TONES[row.state]}>${t(`webhook.state-${row.state}`)}<//>` },
    { name: t("webhook.failing-since"), cell: (row) => html`<${Time} ms=${row.failing_since} />` },
    { name: t("webhook.waiting"), num: true, cell: (row) => number(row.waiting) },
    { name: t("webhook.types"), cell: (row) => html`<span class="pills">${row.types.map((type) => html`<${Pill} key=${type}>${type}<//>`)}</span>` },
  ];
  return html`<${Screen} title=${t("nav.webhooks")} intro=${t("webhooks.intro")} actions=${html`<${Button} kind="primary" onClick=${() => setOpen(true)}>${t("webhook.new")}<//>`}>
    ${made && html`<${Secret} title=${t("webhook.made", { url: made.url })} text=${t("webhook.once")} secret=${made.secret} close=${() => setMade(null)} />`}
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.webhooks")} columns=${columns} keyOf=${(row) => row.id} empty=${html`<${Empty} title=${t("webhooks.none")}>${t("webhooks.none-text")}<//>`} /><//>
    ${isOpen && html`<${HookDialog} close=${() => setOpen(false)} done=${(hook) => {
      setMade(hook);
      list.refresh();
    }} />`}
  <//>`;
}

/** Makes an endpoint, or changes `hook`. */
export function HookDialog({ hook = null, close, done }) {
  const [url, setUrl] = useState(hook?.url ?? "https://");
  const [types, setTypes] = useState(hook?.types ?? []);
  const [description, setDescription] = useState(hook?.description ?? "");
  const form = useForm(async () => {
    const body = { url: url.trim(), types, description };
    const answer = hook ? await call("PATCH", `/v1/webhooks/${encodeURIComponent(hook.id)}`, { body }) : await call("POST", "/v1/webhooks", { body });
    close();
    done(answer);
  });
  const known = ["url", "description"];
  return html`<${Dialog} title=${t(hook ? "webhook.change" : "webhook.new")} close=${close}><form onSubmit=${form.submit}><div class="stack">
    <${Field} label=${t("webhook.url")} value=${url} set=${setUrl} help=${t("webhook.url-help")} error=${form.errorAt("url")} required />
    <${Checks} label=${t("webhook.types")} value=${types} set=${setTypes} options=${TYPES.map((type) => [type, html`<span class="mono">${type}</span>`])} />
    <${Field} label=${t("webhook.description")} value=${description} set=${setDescription} error=${form.errorAt("description")} />
    <${Trouble} error=${form.error && !known.includes(form.error.field) ? form.error : null} /></div>
    <div class="dialog-actions"><${Button} onClick=${close}>${t("cancel")}<//><button class="button primary" disabled=${form.busy || !url.trim() || !types.length}>${t("save")}</button></div></form><//>`;
}
