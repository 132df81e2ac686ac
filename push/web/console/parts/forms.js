/** Fields of forms, and what sends them. */
import { html, useState } from "../lib/html.js";
import { t } from "../lib/texts.js";
import { Button, sentence } from "./ui.js";

let made = 0;

/** A named input. `options`: a select; `lines`: a textarea. */
export function Field({ label, value, set, help = "", error = "", options = null, lines = 0, type = "text", ...rest }) {
  const [id] = useState(() => `field-${(made += 1)}`);
  const about = [help && `${id}-help`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const common = { id, value, "aria-describedby": about, "aria-invalid": error ? "true" : undefined, ...rest };
  const input = (event) => set(event.target.value);
  return html`<div class="field"><label class="label" for=${id}>${label}</label>
    ${options
      ? html`<select ...${common} onChange=${input}>${options.map(([key, name]) => html`<option value=${key} selected=${key === value}>${name}</option>`)}</select>`
      : lines
        ? html`<textarea rows=${lines} ...${common} onInput=${input}></textarea>`
        : html`<input type=${type} ...${common} onInput=${input} autocapitalize="none" autocomplete="off" spellcheck=${false} />`}
    ${help && html`<p class="help" id=${`${id}-help`}>${help}</p>`}
    ${error && html`<p class="error" id=${`${id}-error`}>${error}</p>`}
  </div>`;
}

export function Check({ label, value, set, help = "" }) {
  return html`<label class="check"><input type="checkbox" checked=${value} onChange=${(event) => set(event.target.checked)} /><span>${label}${help && html`<small class="help"> ${help}</small>`}</span></label>`;
}

/** Several of a list. `options`: `[key, name]`; `value`: the chosen keys. */
export function Checks({ label, options, value, set, help = "" }) {
  const change = (key, on) => set(on ? [...value, key] : value.filter((each) => each !== key));
  return html`<fieldset class="checks"><legend class="label">${label}</legend>
    <div class="checks-row">${options.map(([key, name]) => html`<${Check} label=${name} value=${value.includes(key)} set=${(on) => change(key, on)} />`)}</div>
    ${help && html`<p class="help">${help}</p>`}</fieldset>`;
}

/** Sets one value of a form's state: `setOf(setForm)("name")(value)`. Whatever was set before it in the same turn stays. */
export const setOf = (/** @type {any} */ setState) => (/** @type {string} */ name) => (/** @type {any} */ value) => setState((/** @type {any} */ now) => ({ ...now, [name]: value }));

/** Empties a field whose text was sent, unless somebody has written another one meanwhile: `setUser(emptyAfter(user))`. */
export const emptyAfter = (/** @type {string} */ text) => (/** @type {string} */ now) => (now === text ? "" : now);

/** What a form does with `send`: its error at the field that the server named, or else below. */
export function useForm(send) {
  const [state, setState] = useState(/** @type {any} */ ({ busy: false, error: null }));
  const submit = async (event) => {
    event?.preventDefault();
    if (state.busy) return;
    setState({ busy: true, error: null });
    try {
      await send();
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  const field = state.error?.field ?? null;
  return { ...state, submit, errorAt: (/** @type {string} */ name) => (field === name ? sentence(state.error) : "") };
}

/** A filter above a list: `fields` are `{ name, label, ... }` of `Field`; `apply` gets all values. */
export function Filters({ fields, values, apply }) {
  const [draft, setDraft] = useState(values);
  const [from, setFrom] = useState(values);
  if (JSON.stringify(from) !== JSON.stringify(values)) {
    setFrom(values);
    setDraft(values);
  }
  const submit = (event) => {
    event.preventDefault();
    apply(Object.fromEntries(Object.entries(draft).map(([name, value]) => [name, String(value).trim()])));
  };
  const isSet = Object.values(values).some(Boolean);
  return html`<form class="filters" onSubmit=${submit} role="search">
    ${fields.map(({ name, ...rest }) => html`<${Field} key=${name} ...${rest} value=${draft[name] ?? ""} set=${setOf(setDraft)(name)} />`)}
    <div class="filters-end"><button class="button primary">${t("filter.apply")}</button>
      ${isSet && html`<${Button} onClick=${() => apply(Object.fromEntries(fields.map(({ name }) => [name, ""])))}>${t("filter.clear")}<//>`}</div>
  </form>`;
}
