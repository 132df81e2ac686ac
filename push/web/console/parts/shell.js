/** The frame of every screen: navigation by what the key may do, search, language, theme, sign-out. */
import { html, useEffect, useState } from "../lib/html.js";
import { go, to, usePlace } from "../lib/route.js";
import { may, owner } from "../lib/session.js";
import { t } from "../lib/texts.js";
import { version } from "./sign_in.js";
import { Button } from "./ui.js";

/** The screens by group: the first segment of the address, and the scope that it needs. */
export const NAVIGATION = [
  ["now", [["", "read"], ["live", "read"], ["connections", "read"], ["nodes", "read"]]],
  ["messages", [["send", "push"], ["messages", "read"]]],
  ["who", [["devices", "read"], ["users", "read"], ["topics", "read"], ["groups", "chat"], ["bans", "admin"]]],
  ["system", [["webhooks", "admin"], ["keys", "admin"], ["audit", "admin"], ["settings", "admin"]]],
];

export const SCOPE_OF = Object.fromEntries(NAVIGATION.flatMap(([, items]) => /** @type {any} */ (items)));
/** @param {string} name */
export const titleOf = (name) => t(`nav.${name || "overview"}`);

export function Look({ theme, switchTheme, switchLanguage }) {
  return html`<div class="look">
    <button type="button" class="button quiet" lang=${t("language.code")} onClick=${switchLanguage} aria-label=${t("language.switch")}>${t("language.name")}</button>
    <button type="button" class="button quiet icon" onClick=${switchTheme} aria-label=${t(theme === "dark" ? "theme.light" : "theme.dark")}><span aria-hidden="true">${theme === "dark" ? "☀" : "☾"}</span></button>
  </div>`;
}

function Search() {
  const [text, setText] = useState("");
  const submit = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    go(to(["find"], { q: text.trim() }));
    setText("");
  };
  return html`<form class="search" role="search" onSubmit=${submit}><input type="search" value=${text} onInput=${(event) => setText(event.target.value)} placeholder=${t("search.placeholder")} aria-label=${t("search.label")} autocapitalize="none" autocomplete="off" spellcheck=${false} /></form>`;
}

export function Shell({ look, leave, children }) {
  const { path, text } = usePlace();
  const [isOpen, setOpen] = useState(false);
  useEffect(() => setOpen(false), [text]);
  const here = path[0] ?? "";
  const key = owner();
  return html`<a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("main")?.focus();
    }}>${t("skip")}</a>
    <div class="frame">
      <header class="bar">
        <button type="button" class="button quiet icon menu" aria-expanded=${String(isOpen)} aria-controls="nav" aria-label=${t("menu")} onClick=${() => setOpen(!isOpen)}><span aria-hidden="true">☰</span></button>
        <a class="brand" href="#/"><img src="/console/icon.svg" alt="push-universe" width="28" height="28" /><span aria-hidden="true">push-universe</span></a>
        ${may("read") && html`<${Search} />`}
        <${Look} ...${look} />
      </header>
      <nav id="nav" class=${isOpen ? "nav nav-open" : "nav"} aria-label=${t("nav.label")}>
        ${NAVIGATION.map(([group, items]) => {
          const shown = /** @type {any[]} */ (items).filter(([, scope]) => may(scope));
          return shown.length > 0 && html`<div class="nav-group" key=${group}><p class="nav-title" id=${`nav-${group}`}>${t(`nav.group-${group}`)}</p><ul aria-labelledby=${`nav-${group}`}>${shown.map(
            ([name]) => html`<li key=${name}><a href=${to(name ? [name] : [])} aria-current=${here === name ? "page" : undefined}>${titleOf(name)}</a></li>`,
          )}</ul></div>`;
        })}
        <div class="nav-end">
          <p class="nav-key"><span class="soft">${t("nav.signed-in")}</span><br /><strong>${key?.name}</strong><br /><span class="soft">${key?.scopes.join(", ")}</span></p>
          <${Button} small onClick=${leave}>${t("sign-out")}<//>
          <p class="nav-links"><a href="/docs">${t("nav.docs")}</a> · <a href="/errors">${t("nav.errors")}</a> · <a href="#/about">${t("nav.about")}</a><br /><span class="soft">${version()}</span></p>
        </div>
      </nav>
      <main id="main" tabindex="-1">${children}</main>
    </div>`;
}
