/** The target of a push in words and links. */
import { html } from "../lib/html.js";
import { targetOf } from "../lib/why.js";
import { count, t } from "../lib/texts.js";
import { AddressLink, GroupLink, TokenLink, TopicLink, UserLink } from "./ui.js";

/** @param {any} to as it was pushed, e.g. {"user": "anna"} */
export function targetText(to) {
  const kind = targetOf(to);
  if (kind === "all") return t("target.all-devices");
  if (kind === "tokens" || kind === "users") return count(`target.${kind}`, to[kind].length);
  return kind ? `${t(`target.${kind}`)} ${to[kind]}` : "–";
}

export function Target({ to }) {
  const kind = targetOf(to);
  const links = { token: TokenLink, user: UserLink, topic: TopicLink, group: GroupLink };
  const name = html`<span class="soft">${t(`target.${kind}`)}</span>`;
  if (kind in links) return html`<span class="ref">${name} <${links[kind]} id=${to[kind]} /></span>`;
  if (kind === "ip") return html`<span class="ref">${name} <${AddressLink} ip=${to.ip} /></span>`;
  return html`<span>${targetText(to)}</span>`;
}
