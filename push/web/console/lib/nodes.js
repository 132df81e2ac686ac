/** Daemons as an operator counts them: one process with several services is one node. */

/** Entries of `GET /v1/nodes` or `GET /v1/stats`, put together by the name of their node. @param {any[]} entries */
export function nodesOf(entries) {
  /** @type {Map<string, any>} */
  const nodes = new Map();
  for (const entry of entries) {
    const node = nodes.get(entry.instance) ?? { ...entry, services: [], addresses: {}, sessions: 0, capacity: 0, draining: false };
    node.services.push(entry.service);
    node.sessions += entry.sessions;
    node.capacity += entry.capacity;
    node.draining ||= entry.draining;
    Object.assign(node.addresses, entry.addresses ?? {});
    if (entry.started) node.started = Math.min(node.started ?? entry.started, entry.started);
    nodes.set(entry.instance, node);
  }
  return [...nodes.values()];
}

/** @param {any} node whether devices connect to it */
export const isConnector = (node) => node.services.includes("push-connector");
