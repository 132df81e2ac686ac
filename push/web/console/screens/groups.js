/** Groups: found by their id, made, their members and their history. The backend itself acts here, above all roles. */
import { html, useState } from "../lib/html.js";
import { call, get, segment } from "../lib/api.js";
import { useData, usePages } from "../lib/hooks.js";
import { go, to } from "../lib/route.js";
import { may } from "../lib/session.js";
import { count, number, t } from "../lib/texts.js";
import { confirm } from "../parts/dialog.js";
import { Field, emptyAfter, setOf, useForm } from "../parts/forms.js";
import { Button, Card, Copy, Empty, Facts, LinkButton, Loading, PagedTable, Pill, Screen, Time, Trouble, UserLink } from "../parts/ui.js";
import { say } from "../parts/toast.js";
import { History } from "./history.js";

export const namesOf = (text) => text.split(/[\s,]+/).filter(Boolean);

export function FindGroup() {
  const [id, setId] = useState("");
  const [group, setGroup] = useState({ name: "", owner: "", members: "", type: "normal" });
  const set = setOf(setGroup);
  const open = (event) => {
    event.preventDefault();
    if (id.trim()) go(to(["groups", id.trim()]));
  };
  const form = useForm(async () => {
    const made = await call("POST", "/v1/groups", { body: { name: group.name, owner: group.owner.trim(), members: namesOf(group.members), type: group.type } });
    say(t("group.made", { name: made.name }));
    go(to(["groups", made.group]));
  });
  return html`<${Screen} title=${t("nav.groups")} intro=${t("groups.intro")}>
    <${Card} title=${t("groups.open")}><form class="look-up" onSubmit=${open} role="search"><${Field} label=${t("group.id")} value=${id} set=${setId} help=${t("groups.help")} /><button class="button primary" disabled=${!id.trim()}>${t("open")}</button></form><//>
    <${Card} title=${t("groups.new")}><form class="stack" onSubmit=${form.submit}>
      <div class="pair"><${Field} label=${t("group.name")} value=${group.name} set=${set("name")} error=${form.errorAt("name")} required /><${Field} label=${t("group.owner")} value=${group.owner} set=${set("owner")} error=${form.errorAt("owner")} required /></div>
      <${Field} label=${t("group.members")} value=${group.members} set=${set("members")} lines=${2} help=${t("send.several")} error=${form.errorAt("members")} />
      <${Field} label=${t("column.kind")} value=${group.type} set=${set("type")} options=${["normal", "broadcast"].map((each) => [each, t(`group.type-${each}`)])} />
      <${Trouble} error=${form.error && !["name", "owner", "members"].includes(form.error.field) ? form.error : null} />
      <div><button class="button primary" disabled=${form.busy || !group.name || !group.owner}>${t("groups.make")}</button></div></form><//>
  <//>`;
}

export function Group({ id }) {
  const path = `/v1/groups/${segment(id)}`;
  const group = useData((signal) => get(path, {}, signal), [id]);
  const { data } = group;
  const dismiss = () =>
    confirm({ title: t("dismiss.title", { name: data.name }), text: t("dismiss.text"), verb: t("dismiss"), typed: data.name, run: async () => {
      await call("DELETE", path);
      go(to(["groups"]));
      return t("dismiss.done", { name: data.name });
    } });
  const acts = data && html`${may("push") && html`<${LinkButton} href=${to(["send"], { kind: "group", value: id })}>${t("nav.send")}<//>`}
    ${may("read") && html`<${LinkButton} href=${to(["messages"], { to: `group:${id}` })}>${t("user.messages")}<//>`}<${Button} kind="danger" onClick=${dismiss}>${t("dismiss")}…<//>`;
  return html`<${Screen} title=${data?.name ?? id} intro=${t("group.intro")} actions=${acts}>
    ${group.error?.code === "unknown_group" ? html`<${Empty} title=${t("group.unknown")}>${t("group.unknown-text")}<//>` : html`<${Trouble} error=${group.error} retry=${group.refresh} />`}
    ${group.loading && html`<${Loading} />`}
    ${data && html`<div class="columns"><${Card} title=${t("group.about")}><${Facts} rows=${[
      [t("group.id"), html`<span class="ref"><span class="mono">${data.group}</span><${Copy} text=${data.group} /></span>`],
      [t("group.owner"), html`<${UserLink} id=${data.owner} />`],
      [t("column.kind"), t(`group.type-${data.type}`)],
      [t("group.members"), number(data.members)],
      [t("group.invite"), t(`group.role-${data.invite}`)],
      [t("group.mute-all"), t(data.mute_all ? "yes" : "no")],
      [t("group.announcement"), data.announcement || undefined],
      [t("device.created"), html`<${Time} ms=${data.ts} />`],
    ]} /><//><${Change} group=${data} path=${path} refresh=${group.refresh} /></div>
    <${Members} path=${path} group=${data} refresh=${group.refresh} /><${History} key=${id} path=${`${path}/messages`} />`}
  <//>`;
}

function Change({ group, path, refresh }) {
  const [draft, setDraft] = useState({ name: group.name, announcement: group.announcement, invite: group.invite, mute_all: String(group.mute_all) });
  const set = setOf(setDraft);
  const form = useForm(async () => {
    await call("PATCH", path, { body: { ...draft, mute_all: draft.mute_all === "true" } });
    say(t("group.saved"));
    await refresh();
  });
  return html`<${Card} title=${t("group.change")}><form class="stack" onSubmit=${form.submit}>
    <${Field} label=${t("group.name")} value=${draft.name} set=${set("name")} error=${form.errorAt("name")} />
    <${Field} label=${t("group.announcement")} value=${draft.announcement} set=${set("announcement")} lines=${2} />
    <div class="pair"><${Field} label=${t("group.invite")} value=${draft.invite} set=${set("invite")} options=${["owner", "admin", "member"].map((each) => [each, t(`group.role-${each}`)])} />
      <${Field} label=${t("group.mute-all")} value=${draft.mute_all} set=${set("mute_all")} options=${[["false", t("no")], ["true", t("yes")]]} /></div>
    <${Trouble} error=${form.error && form.error.field !== "name" ? form.error : null} />
    <div><button class="button primary" disabled=${form.busy}>${t("save")}</button></div></form><//>`;
}

function Members({ path, group, refresh }) {
  const [users, setUsers] = useState("");
  const list = usePages((cursor, signal) => get(`${path}/members`, { cursor }, signal), "members", [path]);
  const again = async () => {
    await list.refresh();
    await refresh();
  };
  const form = useForm(async () => {
    const { results } = await call("POST", `${path}/members`, { body: { users: namesOf(users) } });
    const refused = Object.entries(results).filter(([, code]) => code !== "ok");
    say(refused.length ? refused.map(([user, code]) => t("member.refused", { user, why: t(`member.${code}`) })).join(" ") : count("member.added", namesOf(users).length), refused.length ? "bad" : "good");
    setUsers(emptyAfter(users));
    await again();
  });
  const change = async (user, body) => {
    try {
      await call("PUT", `${path}/members/${segment(user)}`, { body });
      await again();
    } catch (error) {
      say(error.message, "bad");
    }
  };
  const remove = (user) =>
    confirm({ title: t("member.remove-title", { user, name: group.name }), text: t("member.remove-text"), verb: t("member.remove"), run: async () => {
      await call("DELETE", `${path}/members/${segment(user)}`);
      await again();
      return t("member.removed", { user });
    } });
  const columns = [
    { name: t("column.user"), cell: (row) => html`<${UserLink} id=${row.user} />` },
    { name: t("member.role"), cell: (row) => (row.role === "owner" ? t("group.role-owner") : html`<select aria-label=${t("member.role-of", { user: row.user })} onChange=${(event) => change(row.user, { role: event.target.value })}>${["admin", "member"].map((role) => html`<option value=${role} selected=${role === row.role}>${t(`group.role-${role}`)}</option>`)}</select>`) },
    { name: t("member.muted"), cell: (row) => html`<${Pill} tone=${row.muted ? "warn" : "plain"}>${t(row.muted ? "member.is-muted" : "member.may-write")}<//>` },
    { name: "", end: true, cell: (row) => row.role !== "owner" && html`<span class="actions"><${Button} small about=${row.user} onClick=${() => change(row.user, { muted: !row.muted })}>${t(row.muted ? "member.unmute" : "member.mute")}<//><${Button} small kind="danger" onClick=${() => remove(row.user)} about=${row.user}>${t("member.remove")}<//></span>` },
  ];
  return html`<${Card} wide title=${t("group.members")} note=${count("group.members-n", group.members)}>
    <${PagedTable} list=${list} caption=${t("group.members")} columns=${columns} keyOf=${(row) => row.user} empty=${html`<${Empty} title=${t("group.nobody")} />`} />
    <form class="inline-form" onSubmit=${form.submit}><${Field} label=${t("member.add")} value=${users} set=${setUsers} help=${t("send.several")} error=${form.error?.message ?? ""} /><button class="button" disabled=${form.busy || !users.trim()}>${t("add")}</button></form><//>`;
}
