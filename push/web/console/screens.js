/** Which screen an address is, and the scope that it needs. */
import { html, useErrorBoundary } from "./lib/html.js";
import { to, usePlace } from "./lib/route.js";
import { may } from "./lib/session.js";
import { t } from "./lib/texts.js";
import { Pages } from "./parts/sign_in.js";
import { SCOPE_OF, titleOf } from "./parts/shell.js";
import { Card, Empty, LinkButton, Screen, Trouble } from "./parts/ui.js";
import { Audit } from "./screens/audit.js";
import { Bans } from "./screens/bans.js";
import { Connections } from "./screens/connections.js";
import { Device, FindDevice } from "./screens/device.js";
import { Find } from "./screens/find.js";
import { FindGroup, Group } from "./screens/groups.js";
import { Keys } from "./screens/keys.js";
import { Live } from "./screens/live.js";
import { Message } from "./screens/message.js";
import { Messages } from "./screens/messages.js";
import { Nodes } from "./screens/nodes.js";
import { Overview } from "./screens/overview.js";
import { Send } from "./screens/send.js";
import { Settings } from "./screens/settings.js";
import { Topic, Topics } from "./screens/topics.js";
import { FindUser, User } from "./screens/user.js";
import { Webhook } from "./screens/webhook.js";
import { Webhooks } from "./screens/webhooks.js";

/** @type {Record<string, any[]>} by the first segment: the screen without and with a second one */
const SCREENS = {
  "": [Overview], live: [Live], connections: [Connections], nodes: [Nodes], send: [Send], messages: [Messages, Message],
  devices: [FindDevice, Device], users: [FindUser, User], topics: [Topics, Topic], groups: [FindGroup, Group],
  bans: [Bans], webhooks: [Webhooks, Webhook], keys: [Keys], audit: [Audit], settings: [Settings], find: [Find], about: [About],
};

function About() {
  return html`<${Screen} title=${t("pages.title")}><${Card}><${Pages} /><//><//>`;
}

export function ScreenOf({ theme }) {
  const { path, query, text } = usePlace();
  const [error, reset] = useErrorBoundary();
  const [name = "", id] = path;
  const found = SCREENS[name]?.[id === undefined ? 0 : 1];
  const scope = name === "find" ? "read" : SCOPE_OF[name];
  if (error) return html`<${Screen} title=${t("error.title")}><${Trouble} error=${error} retry=${reset} /><//>`;
  if (!found) return html`<${Screen} title=${t("nowhere.title")}><${Empty} title=${t("nowhere.text")}><${LinkButton} href="#/">${t("nav.overview")}<//><//><//>`;
  if (!may(scope)) return html`<${Forbidden} scope=${scope} />`;
  const key = name === "send" || name === "find" ? text : path.join("/"); // these begin anew at each address
  return html`<${found} key=${key} id=${id} query=${query} theme=${theme} />`;
}

/** The first screen that the key may see, for one without `read`. */
function Forbidden({ scope }) {
  const first = Object.entries(SCOPE_OF).find(([, needed]) => may(needed));
  return html`<${Screen} title=${t("forbidden.title")}><${Empty} title=${t("forbidden.text", { scope })}>
    ${first && html`<${LinkButton} href=${to([first[0]])}>${titleOf(first[0])}<//>`}<//><//>`;
}
