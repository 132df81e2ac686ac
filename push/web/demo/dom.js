/** Small helpers for the page's elements. Text is always set as text: nothing that somebody wrote becomes markup. */

/** @param {string} id @returns {any} */
export const by = (id) => document.getElementById(id);

/**
 * An element with properties and children (elements or texts; null is left out).
 * @param {string} tag
 * @param {Record<string, any>} [properties] `class`, attributes with a hyphen, else properties of the element.
 * @param {...(Node | string | null)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.includes("-")) element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * Make the children of a list those of `items`, and keep the elements whose key and look have not changed: a screen
 * reader hears only what is new, and the focus stays where it is.
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => HTMLElement} draw
 */
export function keep(list, items, keyOf, draw) {
  const known = new Map([...list.children].map((child) => [/** @type {any} */ (child).key, child]));
  let place = list.firstElementChild;
  for (const item of items) {
    const fresh = draw(item);
    const look = fresh.outerHTML;
    let element = /** @type {any} */ (known.get(keyOf(item)));
    known.delete(keyOf(item));
    if (element === undefined) {
      element = fresh;
    } else if (element.look !== look) {
      patch(element, fresh);
    }
    element.key = keyOf(item);
    element.look = look;
    if (element === place) place = element.nextElementSibling;
    else list.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** Make `element` like `fresh` with as few changes as possible. Styles that were set by the script stay. */
function patch(/** @type {any} */ element, /** @type {any} */ fresh) {
  if (element.nodeName !== fresh.nodeName) return element.replaceWith(fresh);
  if (element.nodeType === Node.TEXT_NODE) {
    if (element.data !== fresh.data) element.data = fresh.data;
    return;
  }
  for (const { name, value } of fresh.attributes) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
  const before = [...element.childNodes];
  const after = [...fresh.childNodes];
  if (before.length !== after.length) return element.replaceChildren(...after);
  before.forEach((node, place) => patch(node, after[place]));
}

/** Set the text only when it changes, so that live regions speak once. */
export function say(/** @type {HTMLElement} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}
