/** A secret that the server tells once. */
import { html } from "../lib/html.js";
import { t } from "../lib/texts.js";
import { Button, Code } from "./ui.js";

export function Secret({ title, text, secret, close }) {
  return html`<section class="card secret" role="status" aria-label=${title}><h2>${title}</h2><p>${text}</p><${Code} name=${t("secret.name")} text=${secret} />
    <div><${Button} onClick=${close}>${t("secret.kept")}<//></div></section>`;
}
