/** The settings that hold, and where each comes from. */
import { html, useState } from "../lib/html.js";
import { get } from "../lib/api.js";
import { useData } from "../lib/hooks.js";
import { number, t } from "../lib/texts.js";
import { Field } from "../parts/forms.js";
import { Card, Empty, Loading, Pill, Screen, Table, Trouble } from "../parts/ui.js";

export function Settings() {
  const [word, setWord] = useState("");
  const config = useData((signal) => get("/v1/config", {}, signal), []);
  const sections = Object.entries(config.data?.settings ?? {})
    .map(([section, keys]) => [section, Object.entries(keys).filter(([key]) => `${section}.${key}`.includes(word.trim().toLowerCase()))])
    .filter(([, rows]) => rows.length);
  const columns = [
    { name: t("settings.key"), cell: ([key]) => html`<code>${key}</code>` },
    { name: t("settings.value"), cell: ([, { value }]) => html`<${Value} value=${value} />` },
    { name: t("settings.source"), cell: ([, { source }]) => html`<${Pill} tone=${source === "default" ? "plain" : "info"}>${source}<//>` },
  ];
  return html`<${Screen} title=${t("nav.settings")} intro=${t("settings.intro")}>
    <${Trouble} error=${config.error} retry=${config.refresh} />
    ${config.loading && html`<${Loading} />`}
    ${config.data && html`<${Card} note=${t("settings.node", { node: config.data.node })} title=${t("settings.search")}><${Field} label=${t("settings.search")} value=${word} set=${setWord} type="search" /><//>
      <div class="settings">${sections.length ? sections.map(([section, rows]) => html`<${Card} key=${section} wide title=${`[${section}]`}><${Table} caption=${section} columns=${columns} rows=${rows} keyOf=${([key]) => key} /><//>`) : html`<${Empty} title=${t("settings.none")} />`}</div>`}
  <//>`;
}

function Value({ value }) {
  if (value === null || value === "") return html`<span class="soft">${t("settings.unset")}</span>`;
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (typeof value === "number") return number(value, 3);
  if (Array.isArray(value)) return value.length ? html`<ul class="lines">${value.map((each) => html`<li class="mono">${typeof each === "object" ? Object.entries(each).map(([key, part]) => `${key}: ${part}`).join(", ") : String(each)}</li>`)}</ul>` : html`<span class="soft">${t("settings.unset")}</span>`;
  if (typeof value === "object") return html`<ul class="lines">${Object.entries(value).map(([key, part]) => html`<li><span class="soft">${key}</span> <span class="mono">${String(part)}</span></li>`)}</ul>`;
  return html`<span class="mono">${String(value)}</span>`;
}
