/** One endpoint: its state, its attempts, and sending again. */
import { html, useState } from "../lib/html.js";
import { call, get, segment } from "../lib/api.js";
import { useData, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { count, milliseconds, number, t } from "../lib/texts.js";
import { Dialog, confirm } from "../parts/dialog.js";
import { Check, Field, useForm } from "../parts/forms.js";
import { Secret } from "../parts/secret.js";
import { Button, Card, Copy, Empty, Facts, Loading, PagedTable, Pill, Screen, Time, Trouble } from "../parts/ui.js";
import { say } from "../parts/toast.js";
import { HOOK_TONES, HookDialog, TYPES } from "./webhooks.js";

const POLL_MS = 5000;
const SINCE = [["1h", 3_600_000], ["1d", 86_400_000], ["7d", 604_800_000]];

export function Webhook({ id }) {
  const path = `/v1/webhooks/${segment(id)}`;
  const [open, setOpen] = useState("");
  const [secret, setSecret] = useState("");
  const hook = useData((signal) => get(path, {}, signal), [id], POLL_MS);
  const { data } = hook;
  const test = useForm(async () => {
    await call("POST", `${path}/test`);
    say(t("webhook.test-sent"));
    await hook.refresh();
  });
  const enable = useForm(async () => {
    await call("PATCH", path, { body: { enabled: data.state === "disabled" } });
    await hook.refresh();
  });
  const rotate = () =>
    confirm({ title: t("rotate.title", { url: data.url }), text: t("rotate.text"), verb: t("rotate"), danger: false, run: async () => {
      setSecret((await call("PATCH", path, { body: { rotate: true } })).secret);
      return t("rotate.done");
    } });
  const remove = () =>
    confirm({ title: t("webhook.delete-title", { url: data.url }), text: count("webhook.delete-text", data.waiting), verb: t("delete"), run: async () => {
      await call("DELETE", path);
      go(to(["webhooks"]));
      return t("webhook.deleted");
    } });
  const isMade = data?.source !== "config";
  const acts = data && html`<${Button} onClick=${test.submit} disabled=${test.busy}>${t("webhook.send-test")}<//><${Button} onClick=${() => setOpen("replay")}>${t("replay")}…<//>
    ${isMade && html`<${Button} onClick=${() => setOpen("change")}>${t("webhook.change")}…<//><${Button} onClick=${enable.submit} disabled=${enable.busy}>${t(data.state === "disabled" ? "webhook.enable" : "webhook.disable")}<//>
    <${Button} onClick=${rotate}>${t("rotate")}…<//><${Button} kind="danger" onClick=${remove}>${t("delete")}…<//>`}`;
  return html`<${Screen} title=${data?.url ?? id} intro=${data?.description || t("webhook.intro")} actions=${acts}>
    ${hook.error?.status === 404 ? html`<${Empty} title=${t("webhook.unknown")} />` : html`<${Trouble} error=${hook.error} retry=${hook.refresh} />`}
    <${Trouble} error=${test.error ?? enable.error} />
    ${hook.loading && html`<${Loading} />`}
    ${secret && html`<${Secret} title=${t("rotate.made")} text=${t("rotate.text")} secret=${secret} close=${() => setSecret("")} />`}
    ${data && html`<${Card} title=${t("webhook.about")} note=${isMade ? null : t("webhook.from-config")} actions=${html`<${Pill} tone=${HOOK_TONES[data.state]}>${t(`webhook.state-${data.state}`)}<//>`}><${Facts} rows=${[
      [t("webhook.id"), html`<span class="ref"><span class="mono">${data.id}</span><${Copy} text=${data.id} /></span>`],
      [t("webhook.types"), html`<span class="pills">${data.types.map((type) => html`<${Pill} key=${type}>${type}<//>`)}</span>`],
      [t("webhook.waiting"), number(data.waiting)],
      [t("webhook.disabled-because"), data.disabled_reason ?? undefined],
      [t("webhook.lost"), data.lost ? number(data.lost) : undefined],
      [t("webhook.failing-since"), data.failing_since ? html`<${Time} ms=${data.failing_since} />` : undefined],
    ]} /><//><${Attempts} path=${path} />`}
    ${open === "change" && html`<${HookDialog} hook=${data} close=${() => setOpen("")} done=${hook.refresh} />`}
    ${open === "replay" && html`<${Replay} path=${path} close=${() => setOpen("")} />`}
  <//>`;
}

function Attempts({ path }) {
  const list = usePages((cursor, signal) => get(`${path}/attempts`, { cursor }, signal), "attempts", [path], POLL_MS);
  const columns = [
    { name: t("column.time"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: t("attempt.type"), cell: (row) => html`<span class="mono">${row.type}</span>` },
    { name: t("attempt.outcome"), cell: (row) => (row.status === undefined || row.status === null ? html`<span class="bad-text">${row.error}</span>` : html`<${Pill} tone=${row.status >= 200 && row.status < 300 ? "good" : "bad"}>HTTP ${row.status}<//>`) },
    { name: t("attempt.took"), num: true, cell: (row) => milliseconds(row.ms) },
    { name: t("attempt.next"), cell: (row) => (row.next ? html`<${Time} ms=${row.next} />` : html`<span class="soft">${t("attempt.no-next")}</span>`) },
    { name: t("attempt.event"), cell: (row) => html`<span class="ref"><span class="mono">${row.event}</span><${Copy} text=${row.event} /></span>` },
  ];
  return html`<${Card} wide title=${t("webhook.attempts")} note=${t("webhook.attempts-note")}><${PagedTable} list=${list} caption=${t("webhook.attempts")} columns=${columns} keyOf=${(row) => row.id} empty=${html`<${Empty} title=${t("attempts.none")}>${t("attempts.none-text")}<//>`} /><//>`;
}

function Replay({ path, close }) {
  const [since, setSince] = useState("1h");
  const [type, setType] = useState("");
  const [failed, setFailed] = useState(true);
  const form = useForm(async () => {
    const body = { since: Date.now() - Object.fromEntries(SINCE)[since], only_failed: failed, ...(type ? { type } : {}) };
    const answer = await call("POST", `${path}/replay`, { body });
    close();
    say(count("replay.done", answer.events));
  });
  return html`<${Dialog} title=${t("replay.title")} close=${close}><form onSubmit=${form.submit}><p class="dialog-text">${t("replay.text")}</p><div class="stack">
    <${Field} label=${t("messages.since")} value=${since} set=${setSince} options=${SINCE.map(([key]) => [key, t(`since.${key}`)])} />
    <${Field} label=${t("attempt.type")} value=${type} set=${setType} options=${[["", t("replay.all-types")], ...TYPES.map((each) => [each, each])]} />
    <${Check} label=${t("replay.only-failed")} value=${failed} set=${setFailed} /><${Trouble} error=${form.error} /></div>
    <div class="dialog-actions"><${Button} onClick=${close}>${t("cancel")}<//><button class="button primary" disabled=${form.busy}>${t("replay")}</button></div></form><//>`;
}
