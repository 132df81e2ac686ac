// The server under test (started by tests/web/conftest.py), a network to cut, and clients that are closed at the end.
import { createHmac } from "node:crypto";
import net from "node:net";
import { after } from "node:test";

import { PushClient } from "../../../push/web/push.js";

export const { PUSH_WS: WS, PUSH_HTTP: HTTP, PUSH_ADMIN_KEY: ADMIN, PUSH_APP_KEY: APP, PUSH_JWT_SECRET: SECRET } = process.env;

export { PushClient };

/** A request of the backend; the answer's JSON. Fails with the problem. */
export async function api(method, path, body) {
  const response = await fetch(HTTP + path, {
    method,
    headers: { Authorization: `Bearer ${ADMIN}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

export const push = (to, data, more = {}) => api("POST", "/v1/push", { to, data, ...more });

/** A device registered by HTTP. */
export const newDevice = () => api("POST", "/v1/devices", { platform: "test", app: "test" });

const WAIT_MS = Number(process.env.PUSH_WAIT_MS ?? 120_000);

let names = 0;
/** An id that no other test has. */
export const unique = (name) => `${name}-${process.pid}-${++names}`;

/** A JWT for a user; `seconds` until it ends. */
export function jwtOf(sub, { seconds = 3600, ...claims } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, aud: "push", exp: now + seconds, ...claims })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** The first true value of `condition`, which has WAIT_MS. It is looked at less and less often: each look costs a page something. */
export async function until(condition, what = condition) {
  let pause = 5;
  let value;
  for (const end = Date.now() + WAIT_MS; Date.now() < end; pause = Math.min(1.3 * pause, 80)) {
    value = await condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  const text = what === condition ? what.toString() : what();
  throw new Error(`not within ${WAIT_MS / 1000} s: ${text}; the last value was ${JSON.stringify(value)}`);
}

const clients = new Set();
const proxies = new Set();
after(async () => {
  for (const client of clients) await client.close();
  for (const proxy of proxies) proxy.close();
});

/** A client that is started, with what came in `messages` and `states`. It comes back quickly. */
export function start(options, setUp = () => {}) {
  const client = new PushClient({ servers: WS, random: () => 0.01, ...options });
  clients.add(client);
  client.messages = [];
  client.states = [];
  client.errors = [];
  client.on("state", (change) => client.states.push(change));
  client.on("error", (error) => client.errors.push(error));
  if (!setUp(client)) client.on("message", (message) => void client.messages.push(message));
  return client.start();
}

/** A connected client of a new device. */
export async function device(options, setUp) {
  const { token, secret } = await newDevice();
  const client = start({ token, secret, ...options }, setUp);
  await client.connected();
  return client;
}

/** TCP between client and server that can be cut, stalled and refused. `url` is for the client. */
export class Proxy {
  #pairs = new Set();
  #mode = "pass";
  connections = 0;

  static async start(target = WS) {
    const proxy = new Proxy();
    const { hostname, port, pathname } = new URL(target);
    proxy.server = net.createServer((client) => proxy.#accept(client, port, hostname));
    await new Promise((resolve) => proxy.server.listen(0, "127.0.0.1", resolve));
    proxy.url = `ws://127.0.0.1:${proxy.server.address().port}${pathname}`;
    proxies.add(proxy);
    return proxy;
  }

  #accept(client, port, host) {
    this.connections++;
    if (this.#mode === "refuse") return client.resetAndDestroy();
    const server = net.connect(port, host);
    const pair = [client, server];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, pair.toReversed()]) {
      from.on("data", (data) => to.write(data));
      from.on("error", () => {});
      from.on("close", () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
      if (this.#mode === "stall") from.pause();
    }
  }

  get open() {
    return this.#pairs.size;
  }

  /** Every connection is reset. */
  cut() {
    for (const [client, server] of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /** Connections stay open and nothing comes through, or (false) everything that waited. */
  stall(stalled = true) {
    this.#mode = stalled ? "stall" : "pass";
    for (const pair of this.#pairs) for (const socket of pair) stalled ? socket.pause() : socket.resume();
  }

  /** New connections fail, or (false) succeed again. */
  refuse(refused = true) {
    this.#mode = refused ? "refuse" : "pass";
  }

  close() {
    this.cut();
    this.server.close();
  }
}
