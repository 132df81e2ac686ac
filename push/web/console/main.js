/** The operator's console: starts in a language and a theme, signed in if this tab was before. */
import { html, render, useEffect, useState } from "./lib/html.js";
import { credentials } from "./lib/api.js";
import { recall, remember } from "./lib/memory.js";
import { resume, signOut } from "./lib/session.js";
import { language, speak } from "./lib/texts.js";
import { ConfirmDialog } from "./parts/dialog.js";
import { Shell } from "./parts/shell.js";
import { SignIn } from "./parts/sign_in.js";
import { Toast } from "./parts/toast.js";
import { ScreenOf } from "./screens.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");

function firstLanguage() {
  const stored = recall("push-console-language");
  if (stored === "en" || stored === "zh") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

async function useLanguage(/** @type {"en" | "zh"} */ wanted) {
  const answer = await fetch(`/console/${wanted}.json`);
  speak(wanted, await answer.json());
}

const firstTheme = () => recall("push-console-theme") ?? (DARK.matches ? "dark" : "light");

/** Whether somebody is signed in is "?", until the server has answered. */
function App() {
  const [state, setState] = useState(/** @type {"?" | "in" | "out" | "expired"} */ ("?"));
  const [error, setError] = useState(/** @type {any} */ (null));
  const [theme, setTheme] = useState(firstTheme());
  const [spoken, setSpoken] = useState(language());
  document.documentElement.dataset.theme = theme;

  const start = async () => {
    setError(null);
    try {
      setState((await resume()) ? "in" : "out");
    } catch (problem) {
      if (/** @type {any} */ (problem).status !== 401) setError(problem);
    }
  };
  useEffect(() => {
    credentials.rejected = () => {
      signOut();
      setState("expired");
    };
    start();
  }, []);

  const leave = () => {
    signOut();
    setState("out");
  };
  const look = {
    theme,
    switchTheme: () => {
      const next = theme === "dark" ? "light" : "dark";
      remember("push-console-theme", next);
      document.documentElement.dataset.theme = next; // before the charts look up their colours
      setTheme(next);
    },
    switchLanguage: async () => {
      const next = language() === "en" ? "zh" : "en";
      await useLanguage(next);
      remember("push-console-language", next);
      setSpoken(next);
    },
  };
  const inside = state === "in"
    ? html`<${Shell} key=${spoken} look=${look} leave=${leave}><${ScreenOf} theme=${theme} /><//>`
    : html`<${SignIn} key=${spoken} look=${look} waits=${state === "?"} expired=${state === "expired"} problem=${error} retry=${start} entered=${() => setState("in")} />`;
  return html`${inside}<${Toast} /><${ConfirmDialog} />`;
}

await useLanguage(firstLanguage());
const place = /** @type {Element} */ (document.getElementById("app"));
place.replaceChildren();
render(html`<${App} />`, place);
