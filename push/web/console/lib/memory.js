/** Storage that a browser may forbid: then things are forgotten with the page. */

/** @param {string} name @param {() => Storage} [storage] */
export function recall(name, storage = () => localStorage) {
  try {
    return storage().getItem(name);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string | null} value null: forget @param {() => Storage} [storage] */
export function remember(name, value, storage = () => localStorage) {
  try {
    if (value === null) storage().removeItem(name);
    else storage().setItem(name, value);
  } catch {
    // Then it is forgotten with the page.
  }
}

/** Of this tab alone. */
export const tab = () => sessionStorage;
