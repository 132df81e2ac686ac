/** The history of a conversation, newest first; earlier ones on request. */
import { html, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useData } from "../lib/hooks.js";
import { number, t } from "../lib/texts.js";
import { Button, Card, Empty, Table, Time, Trouble, UserLink } from "../parts/ui.js";
import { Data } from "./device.js";

export function History({ path }) {
  const [earlier, setEarlier] = useState(/** @type {any} */ ({ rows: [], more: null, error: null }));
  const first = useData((signal) => get(path, {}, signal), [path]);
  const rows = [...earlier.rows, ...(first.data?.messages ?? [])];
  const hasMore = earlier.more ?? first.data?.more;
  const more = async () => {
    try {
      const page = await get(path, { before: rows[0].seq });
      setEarlier({ rows: [...page.messages, ...earlier.rows], more: page.more, error: null });
    } catch (error) {
      setEarlier({ ...earlier, error });
    }
  };
  const columns = [
    { name: t("history.seq"), num: true, cell: (row) => number(row.seq) },
    { name: t("history.from"), cell: (row) => html`<${UserLink} id=${row.from} />` },
    { name: t("column.sent"), cell: (row) => html`<${Time} ms=${row.ts} />` },
    { name: t("column.data"), cell: (row) => (row.recalled ? html`<em class="soft">${t("history.recalled")}</em>` : html`<${Data} value=${row.data} />`) },
  ];
  return html`<${Card} wide title=${t("history.title")}>
    <${Trouble} error=${first.error ?? earlier.error} retry=${first.refresh} />
    ${!first.error && html`<${Table} caption=${t("history.title")} columns=${columns} rows=${[...rows].reverse()} loading=${first.loading} keyOf=${(row) => row.seq} empty=${html`<${Empty} title=${t("history.none")} />`} />`}
    ${hasMore && html`<div class="pager"><span></span><${Button} onClick=${more}>${t("history.earlier")}<//></div>`}
  <//>`;
}
