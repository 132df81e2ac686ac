/** API keys: which there are, made and revoked while the system runs. */
import { html, useState } from "../lib/html.js";
import { call, get, segment } from "../lib/api.js";
import { usePages } from "../lib/hooks.js";
import { owner } from "../lib/session.js";
import { t } from "../lib/texts.js";
import { Dialog, confirm } from "../parts/dialog.js";
import { Checks, Field, useForm } from "../parts/forms.js";
import { Secret } from "../parts/secret.js";
import { Button, Card, Empty, PagedTable, Pill, Screen, Time, Trouble } from "../parts/ui.js";

export const SCOPES = ["read", "push", "chat", "register", "admin"];
const DAYS = ["", "1", "30", "90", "365"];

export function Keys() {
  const [isOpen, setOpen] = useState(false);
  const [made, setMade] = useState(/** @type {any} */ (null));
  const list = usePages((cursor, signal) => get("/v1/keys", { cursor }, signal), "keys", []);
  const revoke = (row) =>
    confirm({ title: t("revoke.title", { name: row.name }), text: row.name === owner()?.name ? t("revoke.own") : t("revoke.text"), verb: t("revoke"), run: async () => {
      await call("DELETE", `/v1/keys/${segment(row.name)}`);
      await list.refresh();
      return t("revoke.done", { name: row.name });
    } });
  const columns = [
    { name: t("key.name"), cell: (row) => html`<span class="ref">${row.name}${row.name === owner()?.name && html`<${Pill} tone="info">${t("key.yours")}<//>`}</span>` },
    { name: t("key.scopes"), cell: (row) => html`<span class="pills">${row.scopes.map((scope) => html`<${Pill} key=${scope} tone=${scope === "admin" ? "warn" : "plain"}>${scope}<//>`)}</span>` },
    { name: t("key.source"), cell: (row) => t(`key.source-${row.source}`) },
    { name: t("key.used"), cell: (row) => (row.used ? html`<${Time} ms=${row.used} />` : html`<span class="soft">${t("key.never")}</span>`) },
    { name: t("device.created"), cell: (row) => html`<${Time} ms=${row.created} />` },
    { name: t("column.expires"), cell: (row) => (row.expires ? html`<${Time} ms=${row.expires} />` : html`<span class="soft">${t("key.no-end")}</span>`) },
    { name: "", end: true, cell: (row) => row.source === "made" && html`<${Button} small kind="danger" onClick=${() => revoke(row)} about=${row.name}>${t("revoke")}…<//>` },
  ];
  return html`<${Screen} title=${t("nav.keys")} intro=${t("keys.intro")} actions=${html`<${Button} kind="primary" onClick=${() => setOpen(true)}>${t("key.new")}<//>`}>
    ${made && html`<${Secret} title=${t("key.made", { name: made.name })} text=${t("key.once")} secret=${made.key} close=${() => setMade(null)} />`}
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.keys")} columns=${columns} keyOf=${(row) => `${row.source} ${row.name}`} empty=${html`<${Empty} title=${t("keys.none")}>${t("keys.none-text")}<//>`} /><//>
    ${isOpen && html`<${NewKey} close=${() => setOpen(false)} done=${(key) => {
      setMade(key);
      list.refresh();
    }} />`}
  <//>`;
}

function NewKey({ close, done }) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState(["push"]);
  const [days, setDays] = useState("");
  const form = useForm(async () => {
    const expires = days ? { expires: Date.now() + Number(days) * 86_400_000 } : {};
    const key = await call("POST", "/v1/keys", { body: { name: name.trim(), scopes, ...expires } });
    close();
    done(key);
  });
  return html`<${Dialog} title=${t("key.new")} close=${close}><form onSubmit=${form.submit}><div class="stack">
    <${Field} label=${t("key.name")} value=${name} set=${setName} help=${t("key.name-help")} error=${form.errorAt("name")} required />
    <${Checks} label=${t("key.scopes")} value=${scopes} set=${setScopes} options=${SCOPES.map((scope) => [scope, html`<strong>${scope}</strong> <span class="soft">${t(`scope.${scope}`)}</span>`])} />
    <${Field} label=${t("key.expires")} value=${days} set=${setDays} options=${DAYS.map((each) => [each, t(`key.days-${each || "none"}`)])} />
    <${Trouble} error=${form.error && form.error.field !== "name" ? form.error : null} /></div>
    <div class="dialog-actions"><${Button} onClick=${close}>${t("cancel")}<//><button class="button primary" disabled=${form.busy || !name.trim() || !scopes.length}>${t("key.make")}</button></div></form><//>`;
}
