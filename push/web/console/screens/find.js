/** What somebody has a name of, whatever it is the name of. */
import { html } from "../lib/html.js";
import { get, segment } from "../lib/api.js";
import { useData } from "../lib/hooks.js";
import { may } from "../lib/session.js";
import { to } from "../lib/route.js";
import { count, t } from "../lib/texts.js";
import { Card, Empty, Loading, Screen, Trouble } from "../parts/ui.js";

const TOKEN = /^[0-9A-HJKMNP-TV-Z]{13}[0-9A-HJKMNP-TV-Z*~$=U]$/;
const ADDRESS = /^(?=.*[.:])[0-9a-f.:]+(\/\d{1,3})?$/i;

/** Each way to look: null when there is no such thing, or a server that has no such route. */
/** @type {[string, string, (text: string, signal: AbortSignal) => Promise<any>, (text: string) => string][]} */
const WAYS = [
  ["device", "read", async (text, signal) => TOKEN.test(text) ? (await get(`/v1/devices/${segment(text)}`, {}, signal)).token : null, (text) => to(["devices", text])],
  ["message", "read", async (text, signal) => (await get(`/v1/messages/${segment(text)}`, {}, signal)).id, (text) => to(["messages", text])],
  ["user", "read", async (text, signal) => {
    const user = await get(`/v1/users/${segment(text)}`, {}, signal);
    return user.devices.length || user.online ? count("user.devices-n", user.devices.length) : null;
  }, (text) => to(["users", text])],
  ["topic", "read", async (text, signal) => count("topic.devices", (await get(`/v1/topics/${segment(text)}`, {}, signal)).devices), (text) => to(["topics", text])],
  ["group", "chat", async (text, signal) => (await get(`/v1/groups/${segment(text)}`, {}, signal)).name, (text) => to(["groups", text])],
  ["address", "read", async (text, signal) => {
    if (!ADDRESS.test(text)) return null;
    const page = await get("/v1/connections", { ip: text, limit: 1 }, signal);
    return page.connections.length ? t("find.online-from") : null;
  }, (text) => to(["connections"], { ip: text })],
  ["node", "read", async (text, signal) => (await get("/v1/nodes", {}, signal)).nodes.find(({ instance }) => instance === text)?.service ?? null, (text) => to(["nodes"], { node: text })],
];

async function look(text, signal) {
  const asked = WAYS.filter(([, scope]) => may(scope)).map(async ([kind, , ask, address]) => {
    try {
      const what = await ask(text, signal);
      return what === null ? null : { kind, what, href: address(text) };
    } catch (error) {
      if (error.status >= 400 && error.status < 500) return null;
      throw error;
    }
  });
  return (await Promise.all(asked)).filter((each) => each !== null);
}

export function Find({ query }) {
  const text = query.q ?? "";
  const found = useData((signal) => look(text, signal), [text]);
  return html`<${Screen} title=${t("find.title", { text })} intro=${t("find.intro")}>
    <${Trouble} error=${found.error} retry=${found.refresh} />
    ${found.loading && html`<${Loading} />`}
    ${found.data && (found.data.length
      ? html`<${Card}><ul class="rows">${found.data.map(({ kind, what, href }) => html`<li key=${kind}><a href=${href}>${t(`find.${kind}`, { text })}</a><span class="soft">${what === text ? "" : what}</span></li>`)}</ul><//>`
      : html`<${Empty} title=${t("find.nothing", { text })}>${t("find.nothing-text")}<//>`)}
  <//>`;
}
