// Two connectors, "one" and "two": draining, redirects, and what is pushed meanwhile.
import assert from "node:assert/strict";
import { test } from "node:test";

import { HTTP, WS, api, newDevice, push, start, until } from "../live/server.mjs";

const TWO = process.env.PUSH_WS_TWO;

/** A client, with the redirects that it was told. */
function client(pair, options) {
  const redirects = [];
  const made = start({ ...pair, ...options }, (one) => (one.on("redirect", (redirect) => redirects.push(redirect)), undefined));
  return Object.assign(made, { redirects });
}

test("a server that drains sends its clients to the other, and new ones as well", async () => {
  await until(async () => (await api("GET", "/v1/nodes")).nodes.filter(({ service }) => service === "push-connector").length === 2);
  const clients = [];
  for (let n = 0; n < 8; n++) {
    clients.push(client(await newDevice(), { servers: WS }));
    assert.equal((await clients[n].connected()).node, "one");
  }
  // One session a second: meanwhile "one" takes nobody any more, and says where to go.
  await api("POST", "/v1/nodes/one/drain", { rate: 1 });
  const health = await until(async () => {
    const answer = await fetch(`${process.env.PUSH_HTTP_ONE}/readyz`);
    return answer.status === 503 && (await answer.json());
  });
  assert.match(health.reasons[0], /^draining/); // for a load balancer in front of it
  const newcomer = client(await newDevice(), { servers: WS });
  assert.equal((await newcomer.connected()).node, "two");
  assert.deepEqual(newcomer.redirects.map(({ from, reason }) => [from, reason]), [[WS, "redirect"]]);

  const { token } = clients[0].credentials;
  for (let n = 0; n < 20; n++) await push({ token }, n);
  for (const here of clients) {
    await until(() => here.session?.node === "two");
    assert.equal(here.server, TWO);
    const [{ from, servers, reason }] = here.redirects;
    assert.deepEqual([from, reason, servers.includes(TWO)], [WS, "draining", true]);
  }
  await until(() => clients[0].messages.length === 20);
  assert.deepEqual(clients[0].messages.map(({ data }) => data), Array.from({ length: 20 }, (_, n) => n));

  const asking = client(await newDevice(), { servers: undefined, serversUrl: HTTP, key: process.env.PUSH_APP_KEY });
  assert.equal((await asking.connected()).node, "two");
  assert.deepEqual(asking.redirects, []);
});
