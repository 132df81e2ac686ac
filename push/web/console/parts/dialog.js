/** Dialogs: one that asks before something is ended or deleted, and one for a form. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/texts.js";
import { Button, Trouble } from "./ui.js";
import { say } from "./toast.js";

/** A modal window of the browser: it keeps the focus, and Escape closes it. */
export function Dialog({ title, close, children }) {
  const element = useRef(/** @type {any} */ (null));
  useEffect(() => {
    const modal = element.current;
    modal.showModal();
    return () => modal.close(); // which gives the focus back
  }, []);
  return html`<dialog class="dialog" ref=${element} aria-labelledby="dialog-title" onCancel=${(event) => {
    event.preventDefault();
    close();
  }}><h2 id="dialog-title">${title}</h2>${children}</dialog>`;
}

/** @type {(question: any) => void} */
let ask = () => {};

/**
 * Ask, and do it if the answer is yes. The dialog stays open, with the reason, while it does not work out.
 * @param {{ title: string, text: any, verb: string, done?: string, run: () => Promise<any>, danger?: boolean, typed?: string }} question
 *   `typed`: what must be written first
 */
export const confirm = (question) => ask(question);

export function ConfirmDialog() {
  const [question, setQuestion] = useState(/** @type {any} */ (null));
  const [state, setState] = useState(/** @type {any} */ ({ busy: false, error: null }));
  const [typed, setTyped] = useState("");
  useEffect(() => {
    ask = (next) => {
      setState({ busy: false, error: null });
      setTyped("");
      setQuestion(next);
    };
  }, []);
  if (!question) return null;
  const close = () => setQuestion(null);
  const isBlocked = Boolean(question.typed) && typed.trim() !== question.typed;
  const run = async (event) => {
    event.preventDefault();
    if (isBlocked || state.busy) return;
    setState({ busy: true, error: null });
    try {
      const answer = await question.run();
      close();
      say(typeof answer === "string" ? answer : question.done ?? t("done"));
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} title=${question.title} close=${close}>
    <form onSubmit=${run}>
      <div class="dialog-text">${question.text}</div>
      ${question.typed && html`<label class="field"><span class="label">${t("confirm.type", { text: question.typed })}</span>
        <input value=${typed} onInput=${(event) => setTyped(event.target.value)} autocomplete="off" spellcheck=${false} /></label>`}
      <${Trouble} error=${state.error} />
      <div class="dialog-actions"><${Button} onClick=${close}>${t("cancel")}<//>
        <button class=${`button ${question.danger === false ? "primary" : "danger-full"}`} disabled=${isBlocked || state.busy}>${state.busy ? t("working") : question.verb}</button></div>
    </form>
  <//>`;
}
