/** Where in the console this is: `#/devices/TOKEN?x=y`, so that every place can be linked to. */
import { useEffect, useState } from "./html.js";

/** @typedef {{ path: string[], query: Record<string, string>, text: string }} Place */

/** @param {string} hash @returns {Place} */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  return {
    path: path.split("/").filter(Boolean).map(decoded),
    query: Object.fromEntries(new URLSearchParams(query)),
    text: hash,
  };
}

function decoded(/** @type {string} */ part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a place. @param {(string | number)[]} path @param {Record<string, any>} [query] empty values are left out */
export function to(path, query = {}) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) parts.set(name, String(value));
  }
  const text = parts.toString();
  return `#/${path.map((each) => encodeURIComponent(each)).join("/")}${text ? `?${text}` : ""}`;
}

/** @param {string} address @param {boolean} [inPlace] without an entry of its own in the history */
export function go(address, inPlace = false) {
  if (inPlace) {
    history.replaceState(null, "", address);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = address;
  }
}

/** @returns {Place} */
export function usePlace() {
  const [place, set] = useState(() => parse(location.hash));
  useEffect(() => {
    const moved = () => set(parse(location.hash));
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return place;
}
