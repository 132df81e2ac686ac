/** Acts on devices, users and addresses that several screens offer, each behind a question that names its target. */
import { html, useState } from "../lib/html.js";
import { call, segment } from "../lib/api.js";
import { go, to } from "../lib/route.js";
import { count, t } from "../lib/texts.js";
import { Dialog, confirm } from "./dialog.js";
import { Field, useForm } from "./forms.js";
import { Button, Trouble } from "./ui.js";
import { say } from "./toast.js";

/** What a change says when not every node has confirmed it. */
const withSilent = (text, answer) =>
  answer?.silent?.length ? `${text} ${t("silent.write", { nodes: answer.silent.join(", ") })}` : text;

const kicked = (answer) => withSilent(count("kick.done", answer.kicked), answer);

export function kickSession(session, refresh) {
  confirm({ title: t("kick.session", { session }), text: t("kick.text"), verb: t("kick"), run: async () => {
    const answer = await call("DELETE", `/v1/connections/${segment(session)}`);
    refresh?.();
    return kicked(answer);
  } });
}

export function kickDevice(token, refresh) {
  confirm({ title: t("kick.device", { token }), text: t("kick.text"), verb: t("kick"), run: async () => {
    const answer = await call("POST", `/v1/devices/${segment(token)}/kick`);
    refresh?.();
    return kicked(answer);
  } });
}

export function kickUser(user, refresh) {
  confirm({ title: t("kick.user", { user }), text: t("kick.text"), verb: t("kick"), run: async () => {
    const answer = await call("POST", `/v1/users/${segment(user)}/kick`);
    refresh?.();
    return kicked(answer);
  } });
}

export function kickAddress(ip, refresh) {
  confirm({ title: t("kick.ip", { ip }), text: t("kick.text"), verb: t("kick"), run: async () => {
    const answer = await call("POST", "/v1/connections/kick", { body: { ip } });
    refresh?.();
    return kicked(answer);
  } });
}

export function forgetDevice(token) {
  confirm({ title: t("forget.title", { token }), text: t("forget.text"), verb: t("forget"), run: async () => {
    const answer = await call("DELETE", `/v1/devices/${segment(token)}`);
    go(to(["connections"]));
    return withSilent(t("forget.done", { token }), answer);
  } });
}

export function eraseUser(user, refresh) {
  confirm({ title: t("erase.title", { user }), text: t("erase.text"), verb: t("erase"), typed: user, run: async () => {
    const answer = await call("DELETE", `/v1/users/${segment(user)}`);
    refresh?.();
    return withSilent(t("erase.done", { user }), answer);
  } });
}

export function cancelMessage(id, refresh) {
  confirm({ title: t("cancel-message.title", { id }), text: t("cancel-message.text"), verb: t("cancel-message"), run: async () => {
    const answer = await call("DELETE", `/v1/messages/${segment(id)}`);
    refresh?.();
    return count("cancel-message.done", answer.cancelled);
  } });
}

const HOURS = ["1", "24", "168", "720", ""];

/** The dialog that bans; `kind` and `value` may be given. */
export function BanDialog({ kind: given = "ip", value: first = "", close, done = () => {} }) {
  const [kind, setKind] = useState(given);
  const [value, setValue] = useState(first);
  const [hours, setHours] = useState("24");
  const form = useForm(async () => {
    const until = hours ? { until: Date.now() + Number(hours) * 3_600_000 } : {};
    const answer = await call("POST", "/v1/bans", { body: { [kind]: value.trim(), ...until } });
    close();
    done();
    say(withSilent(t("ban.done", { value: value.trim() }), answer));
  });
  return html`<${Dialog} title=${first ? t("ban.title", { value: first }) : t("ban.new")} close=${close}>
    <form onSubmit=${form.submit}><p class="dialog-text">${t("ban.text")}</p>
      <div class="stack">
        ${!first && html`<${Field} label=${t("ban.kind")} value=${kind} set=${setKind} options=${["ip", "token", "user"].map((each) => [each, t(`ban.${each}`)])} />
        <${Field} label=${t(`ban.${kind}`)} value=${value} set=${setValue} required error=${form.errorAt(kind)} help=${kind === "ip" ? t("ban.ip-help") : ""} />`}
        <${Field} label=${t("ban.until")} value=${hours} set=${setHours} options=${HOURS.map((each) => [each, each ? t(`ban.hours-${each}`) : t("ban.forever")])} />
      </div>
      <${Trouble} error=${form.error && !form.errorAt(kind) ? form.error : null} />
      <div class="dialog-actions"><${Button} onClick=${close}>${t("cancel")}<//><button class="button danger-full" disabled=${form.busy || !value.trim()}>${t("ban")}</button></div>
    </form><//>`;
}

/** A button that opens it. */
export function BanButton({ kind, value, done = () => {}, small = false }) {
  const [isOpen, setOpen] = useState(false);
  return html`<${Button} kind="danger" small=${small} onClick=${() => setOpen(true)}>${t("ban")}…<//>
    ${isOpen && html`<${BanDialog} kind=${kind} value=${value} close=${() => setOpen(false)} done=${done} />`}`;
}
