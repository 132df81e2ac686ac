/** Bans: addresses, devices and users that may not connect. */
import { html, useState } from "../lib/html.js";
import { call, get, target } from "../lib/api.js";
import { usePages } from "../lib/hooks.js";
import { t } from "../lib/texts.js";
import { BanDialog } from "../parts/acts.js";
import { confirm } from "../parts/dialog.js";
import { AddressLink, Button, Card, Empty, PagedTable, Pill, Screen, Time, TokenLink, UserLink } from "../parts/ui.js";

const kindOf = (ban) => (ban.ip ? "ip" : ban.token ? "token" : "user");

export function Bans() {
  const [isOpen, setOpen] = useState(false);
  const list = usePages((cursor, signal) => get("/v1/bans", { cursor }, signal), "bans", []);
  const lift = (ban) => {
    const kind = kindOf(ban);
    const value = ban[kind];
    confirm({ title: t("lift.title", { value }), text: t("lift.text"), verb: t("lift"), danger: false, run: async () => {
      await call("DELETE", target("/v1/bans", { [kind]: value }));
      await list.refresh();
      return t("lift.done", { value });
    } });
  };
  const links = { ip: (ban) => html`<${AddressLink} ip=${ban.ip} />`, token: (ban) => html`<${TokenLink} id=${ban.token} copy />`, user: (ban) => html`<${UserLink} id=${ban.user} copy />` };
  const columns = [
    { name: t("ban.kind"), cell: (row) => html`<${Pill}>${t(`ban.${kindOf(row)}`)}<//>` },
    { name: t("ban.what"), cell: (row) => links[kindOf(row)](row) },
    { name: t("ban.until"), cell: (row) => (row.until === null ? t("ban.forever") : html`<${Time} ms=${row.until} />`) },
    { name: "", end: true, cell: (row) => html`<${Button} small onClick=${() => lift(row)} about=${row[kindOf(row)]}>${t("lift")}<//>` },
  ];
  const add = html`<${Button} kind="primary" onClick=${() => setOpen(true)}>${t("ban.new")}<//>`;
  return html`<${Screen} title=${t("nav.bans")} intro=${t("bans.intro")} actions=${add}>
    <${Card} wide><${PagedTable} list=${list} caption=${t("nav.bans")} columns=${columns} keyOf=${(row) => kindOf(row) + row[kindOf(row)]} empty=${html`<${Empty} title=${t("bans.none")}>${t("bans.none-text")}<//>`} /><//>
    ${isOpen && html`<${BanDialog} close=${() => setOpen(false)} done=${list.refresh} />`}
  <//>`;
}
