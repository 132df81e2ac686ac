/** The page: language, theme, and the step from the welcome to the board. */

import { ask, DemoError } from "./api.js";
import { App } from "./app.js";
import { by, say } from "./dom.js";
import { preferredLanguage, recall, remember, switchLanguage, t, useLanguage } from "./texts.js";

const KEPT = "demo-page";
const session = () => sessionStorage;
const dark = matchMedia("(prefers-color-scheme: dark)");

function useTheme() {
  const theme = recall("demo-theme") ?? (dark.matches ? "dark" : "light");
  const other = theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  by("theme").setAttribute("aria-label", t(`theme.${other}`));
  say(by("theme-icon"), other === "dark" ? "☾" : "☀");
  return other;
}

function showWelcome() {
  remember(KEPT, null, session);
  by("board").hidden = true;
  by("welcome").hidden = false;
}

function showBoard(/** @type {any} */ start) {
  remember(KEPT, JSON.stringify(start), session);
  by("welcome").hidden = true;
  by("board").hidden = false;
  app.begin(start);
}

async function ended() {
  await app.end();
  showWelcome();
  by("banner").hidden = false;
  say(by("banner"), t("error.ended"));
}

const app = new App(ended);

async function register(/** @type {Event} */ event) {
  event.preventDefault();
  const name = by("name").value.trim().toLowerCase();
  const button = by("start").querySelector("button");
  say(by("name-error"), "");
  button.disabled = true;
  say(button, t("welcome.starting"));
  try {
    showBoard(await ask("start", name ? { name } : {}));
    by("banner").hidden = true;
    by("main").focus();
    scrollTo(0, 0);
  } catch (/** @type {any} */ error) {
    if (!(error instanceof DemoError)) throw error;
    say(by("name-error"), error.code === "unavailable" ? t("error.full") : error.text);
  } finally {
    button.disabled = false;
    say(button, t("welcome.start"));
  }
}

async function leave() {
  const { ticket } = app.start;
  await app.end();
  showWelcome();
  by("name").focus();
  await ask("leave", { ticket }).catch(() => {}); // it ends by itself
}

/** Go on as before a reload, if that user is still there. */
async function resume() {
  const kept = recall(KEPT, session);
  if (kept === null) return showWelcome();
  const start = JSON.parse(kept);
  try {
    await ask("state", { ticket: start.ticket });
    showBoard(start);
  } catch {
    showWelcome();
  }
}

by("start").addEventListener("submit", register);
by("leave").addEventListener("click", leave);
by("theme").addEventListener("click", () => {
  remember("demo-theme", useTheme());
  useTheme();
});
dark.addEventListener("change", useTheme);
by("language").addEventListener("click", async () => {
  await switchLanguage();
  useTheme();
  app.render();
});

await useLanguage(preferredLanguage());
useTheme();
await resume();
