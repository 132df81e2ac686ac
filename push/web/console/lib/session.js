/** Who is signed in: a key, kept for this tab alone, and what it may do. */
import { call, credentials, get } from "./api.js";
import { recall, remember, tab } from "./memory.js";

const PLACE = "push-console-key";

/** @typedef {{ name: string, scopes: string[] }} Owner */

/** @type {{ owner: Owner | null }} */
const session = { owner: null };

export const owner = () => session.owner;
/** @param {string | undefined} scope */
export const may = (scope) => scope === undefined || (session.owner?.scopes.includes(scope) ?? false);

/** Sign in with a key. Throws an `ApiError`, and then nothing is kept. @param {string} key */
export async function signIn(key) {
  const found = await call("GET", "/v1/whoami", { key });
  credentials.key = key;
  remember(PLACE, key, tab);
  session.owner = found;
}

/** With the key that this tab has had before; false: it has none. */
export async function resume() {
  const key = recall(PLACE, tab);
  if (!key) return false;
  credentials.key = key;
  session.owner = await get("/v1/whoami");
  return true;
}

export function signOut() {
  credentials.key = "";
  session.owner = null;
  remember(PLACE, null, tab);
}
