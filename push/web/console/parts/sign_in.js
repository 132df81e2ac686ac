/** What a browser without a key sees: a way in, and the pages that need none. */
import { html, useState } from "../lib/html.js";
import { isMissingRoute } from "../lib/api.js";
import { signIn } from "../lib/session.js";
import { t } from "../lib/texts.js";
import { Look } from "./shell.js";
import { Button, Loading, Trouble, sentence } from "./ui.js";

/** @typedef {{ path: string, text: string }} Page */

export const version = () => document.body.dataset.version ?? "";
/** The addresses of pages that this server has, beside the console. */
export const pages = () => (document.body.dataset.pages ?? "").split(" ").filter(Boolean);

export function Pages() {
  return html`<ul class="pages">${pages().map((path) => html`<li key=${path}><a href=${path}>${path}</a><span>${t(`page.${path.slice(1)}`)}</span></li>`)}</ul>`;
}

export function SignIn({ look, waits, expired, problem, retry, entered }) {
  const [key, setKey] = useState("");
  const [isShown, setShown] = useState(false);
  const [state, setState] = useState(/** @type {any} */ ({ busy: false, error: null }));
  document.title = `${t("sign-in.title")} · push-universe`;
  const submit = async (event) => {
    event.preventDefault();
    if (!key.trim() || state.busy) return;
    setState({ busy: true, error: null });
    try {
      await signIn(key.trim());
      entered();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  const said = state.error && (state.error.status === 401 ? t("sign-in.wrong") : isMissingRoute(state.error) ? t("sign-in.old") : sentence(state.error));
  return html`<div class="welcome-page">
    <header class="welcome-bar"><span class="brand"><img src="/console/icon.svg" alt="" width="28" height="28" />push-universe <small>${version()}</small></span><${Look} ...${look} /></header>
    <main class="welcome">
      <section class="card sign-in">
        <h1>${t("sign-in.title")}</h1>
        ${waits
          ? html`${problem ? html`<${Trouble} error=${problem} retry=${retry} />` : html`<${Loading} />`}`
          : html`<p class="intro">${t("sign-in.text")}</p>
            ${expired && !said && html`<div class="banner banner-warn" role="alert">${t("sign-in.expired")}</div>`}
            <form onSubmit=${submit}>
              <label class="label" for="key">${t("sign-in.key")}</label>
              <div class="joined"><input id="key" type=${isShown ? "text" : "password"} value=${key} onInput=${(event) => setKey(event.target.value)} autocomplete="current-password" spellcheck=${false} aria-describedby=${said ? "key-error" : "key-help"} aria-invalid=${said ? "true" : undefined} />
                <${Button} onClick=${() => setShown(!isShown)} aria-pressed=${String(isShown)}>${t(isShown ? "sign-in.hide" : "sign-in.show")}<//></div>
              ${said && html`<p class="error" id="key-error" role="alert">${said}</p>`}
              <button class="button primary block" disabled=${state.busy || !key.trim()}>${t(state.busy ? "working" : "sign-in")}</button>
            </form>
            <div class="help" id="key-help"><p>${t("sign-in.where")}</p><pre tabindex="0">cat push-data/admin.key</pre><p>${t("sign-in.kept")}</p></div>`}
      </section>
      <section class="card" aria-label=${t("pages.title")}><h2>${t("pages.title")}</h2><${Pages} /></section>
    </main></div>`;
}
