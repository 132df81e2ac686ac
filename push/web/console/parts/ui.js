/** The building blocks of every screen: one look for cards, tables, states, fields and links. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { ApiError, isMissingRoute } from "../lib/api.js";
import { useNow } from "../lib/hooks.js";
import { to } from "../lib/route.js";
import { absolute, count, exact, has, number, relative, t } from "../lib/texts.js";
import { say } from "./toast.js";

/** A screen: its name in the window's title and as the heading, which has the focus first, but not when data renames it. */
export function Screen({ title, mono = false, intro = null, actions = null, children }) {
  const heading = useRef(null);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, []);
  useEffect(() => {
    document.title = `${title} · push-universe`;
  }, [title]);
  return html`<div class="screen-head">
      <div><h1 tabindex="-1" ref=${heading} class=${mono ? "mono" : ""}>${title}</h1>${intro && html`<p class="intro">${intro}</p>`}</div>
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>
    <div class="screen">${children}</div>`;
}

export function Card({ title = "", note = null, actions = null, children = null, wide = false }) {
  return html`<section class=${wide ? "card card-wide" : "card"} aria-label=${title || undefined}>
    ${(title || actions) && html`<div class="card-head"><div><h2>${title}</h2>${note && html`<p class="note">${note}</p>`}</div>
      ${actions && html`<div class="actions">${actions}</div>`}</div>`}
    ${children}
  </section>`;
}

/** `about`: what it acts on, for those who do not see where it stands. */
export function Button({ children = null, kind = "", small = false, about = "", ...rest }) {
  return html`<button type="button" class=${`button ${kind} ${small ? "small" : ""}`} ...${rest}>${children}${about && html`<span class="hidden"> ${about}</span>`}</button>`;
}

export function LinkButton({ href, children, kind = "" }) {
  return html`<a class=${`button ${kind}`} href=${href}>${children}</a>`;
}

export function Pill({ tone = "plain", children }) {
  return html`<span class=${`pill pill-${tone}`}>${children}</span>`;
}

/** A figure with its name. */
export function Figure({ name, value, unit = "", hint = null, href = "", tone = "" }) {
  const inside = html`<span class="figure-name">${name}</span><span class=${`figure-value ${tone}`}>${value}${unit && html`<small> ${unit}</small>`}</span>
    ${hint && html`<span class="figure-hint">${hint}</span>`}`;
  return href ? html`<a class="figure" href=${href}>${inside}</a>` : html`<div class="figure">${inside}</div>`;
}

/** Names and values under each other. Rows whose value is undefined are left out. */
export function Facts({ rows }) {
  return html`<dl class="facts">${rows.filter(([, value]) => value !== undefined).map(
    ([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value ?? "–"}</dd></div>`,
  )}</dl>`;
}

/**
 * Columns are `{ name, cell(row), num?, wide? }`; on a narrow screen a row is a card, with the names before the values.
 * (The roles are written because such a layout takes them away.)
 */
export function Table({ caption, columns, rows, keyOf, empty = null, loading = false }) {
  if (!rows.length) return loading ? html`<${Loading} />` : empty;
  return html`<table class="table" role="table" aria-busy=${loading ? "true" : "false"}>
    <caption class="hidden">${caption}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map(({ name, num }) => html`<th role="columnheader" scope="col" class=${num ? "num" : ""}>${name || html`<span class="hidden">${t("table.actions")}</span>`}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row, index) => html`<tr role="row" key=${keyOf ? keyOf(row) : index}>${columns.map(
      ({ name, num, cell, end }) => html`<td role="cell" data-name=${name} class=${`${num ? "num" : ""} ${end ? "end" : ""}`}><div class="cell">${cell(row)}</div></td>`,
    )}</tr>`)}</tbody>
  </table>`;
}

/** A table of `usePages` with the way to its next page. */
export function PagedTable({ list, ...rest }) {
  return html`<${Trouble} error=${list.error} retry=${list.refresh} />
    ${(!list.error || list.rows.length > 0) && html`<${Table} ...${rest} rows=${list.rows} loading=${list.loading} />`}
    <${Silent} nodes=${list.page?.silent} />
    ${list.rows.length > 0 && html`<div class="pager"><span class="note">${count("table.rows", list.rows.length)}${list.hasMore ? t("table.there-is-more") : ""}</span>
      ${list.hasMore && html`<${Button} onClick=${list.more} disabled=${list.loadingMore}>${t(list.loadingMore ? "loading" : "table.more")}<//>`}</div>`}`;
}

export function Empty({ title, children = null }) {
  return html`<div class="empty"><p class="empty-title">${title}</p>${children && html`<div class="empty-text">${children}</div>`}</div>`;
}

export function Loading() {
  return html`<div class="loading" role="status"><span class="hidden">${t("loading")}</span><i></i><i></i><i></i></div>`;
}

/** What went wrong, in a sentence. @param {any} error */
export function sentence(error) {
  if (!(error instanceof ApiError)) return t("error.page", { text: String(error?.message ?? error) });
  if (error.status === 0) return t("error.unreachable");
  const detail = error.reasons.length ? error.reasons.join("; ") : error.message;
  const after = error.afterSeconds ? ` ${count("error.after", error.afterSeconds)}` : "";
  return has(`error.${error.code}`) ? t(`error.${error.code}`, { detail, after }) : `${capital(detail)}.${after}`.replace(/\.\.$/, ".");
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function Trouble({ error, retry = null }) {
  if (!error) return null;
  if (isMissingRoute(error) && retry) return html`<div class="banner banner-plain">${t("error.missing-route")}</div>`;
  return html`<div class="banner banner-bad" role="alert"><span>${sentence(error)}</span>
    ${retry && html`<${Button} small onClick=${retry}>${t("error.retry")}<//>`}</div>`;
}

/** Nodes that did not answer, so that what they have is missing. */
export function Silent({ nodes }) {
  if (!nodes?.length) return null;
  return html`<div class="banner banner-warn" role="status">${t("silent", { nodes: nodes.join(", ") })}</div>`;
}

/** How long ago, and when. */
export function Time({ ms, brief = false }) {
  useNow();
  if (ms === null || ms === undefined) return html`<span class="soft">–</span>`;
  return html`<time datetime=${new Date(ms).toISOString()} title=${exact(ms)}>${brief ? relative(ms) : html`<span class="nowrap">${absolute(ms)}</span> <span class="soft nowrap">${relative(ms)}</span>`}</time>`;
}

const CopyIcon = () => html`<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.5"><rect x="5.5" y="5.5" width="8" height="8" rx="1.5" /><path d="M10.5 5.5v-2a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h2" /></svg>`;

export function Copy({ text, label = "" }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      say(t("copy.done"));
      setTimeout(() => setDone(false), 2000);
    } catch {
      say(t("copy.failed"), "bad");
    }
  };
  return html`<button type="button" class="copy" onClick=${copy} aria-label=${label ? undefined : t("copy.what", { text })} title=${t("copy")}>${done ? html`<span aria-hidden="true">✓</span>` : html`<${CopyIcon} />`}${label && html` <span>${label}</span>`}</button>`;
}

/** @param {string} kind of what is linked to */
const linkOf = (kind, mono) => ({ id, copy = false }) =>
  id === null || id === undefined || id === ""
    ? html`<span class="soft">–</span>`
    : html`<span class="ref"><a class=${mono ? "mono" : ""} href=${to([kind, id])}>${id}</a>${copy && html`<${Copy} text=${id} />`}</span>`;

export const TokenLink = linkOf("devices", true);
export const UserLink = linkOf("users", false);
export const MessageLink = linkOf("messages", true);
export const TopicLink = linkOf("topics", false);
export const GroupLink = linkOf("groups", true);

export function NodeLink({ id }) {
  return id ? html`<a href=${to(["nodes"], { node: id })}>${id}</a>` : html`<span class="soft">–</span>`;
}

export function AddressLink({ ip }) {
  return ip ? html`<a class="mono" href=${to(["connections"], { ip })}>${ip}</a>` : html`<span class="soft">–</span>`;
}

/** A text of code with a way to copy it. */
export function Code({ text, name }) {
  return html`<div class="code"><div class="code-head"><span>${name}</span><${Copy} text=${text} label=${t("copy")} /></div>
    <pre tabindex="0" role="region" aria-label=${name}>${text}</pre></div>`;
}

/** A share of a whole, as a bar and as numbers. */
export function Share({ value, of, tone = "" }) {
  if (!(of > 0)) return html`<span>${number(value)}</span>`;
  const share = Math.min(1, value / of);
  return html`<span class="share"><span class=${`share-bar ${tone}`}><i style=${{ width: `${(share * 100).toFixed(1)}%` }}></i></span><span class="nowrap">${number(value)} / ${number(of)}</span></span>`;
}
