// A server that speaks nonsense: the client ignores what it does not understand, throws nothing, and goes on.
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { PushClient, until } from "./server.mjs";

const { default: WebSocket, WebSocketServer } = await import(process.env.PUSH_WS_LIBRARY);

const frame = (signal, more) => JSON.stringify({ signal, ...more });
const SESSION = { session: "s", user: null, heartbeat: 60, window: 64, max_frame: 65536, node: "n", time: 0, truncated: [] };
const servers = [];
after(() => {
  for (const server of servers) {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
});

/** Servers of one connection. `answers` has what is sent for each signal: frames, or a function that makes one. */
async function connected(answers, options) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  servers.push(server);
  await new Promise((resolve) => server.once("listening", resolve));
  const received = [];
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      const got = JSON.parse(data);
      received.push(got);
      const accepted = { subSignal: "ACCEPTED", messageId: got.messageId, content: SESSION };
      for (const answer of answers[got.signal] ?? (got.signal === "CONNECT" ? [frame("CONNECT_ACK", accepted)] : [])) {
        socket.send(typeof answer === "function" ? answer(got) : answer);
      }
    });
  });
  const client = new PushClient({ servers: `ws://127.0.0.1:${server.address().port}`, token: "t", secret: "s", WebSocket, ...options });
  client.on("message", () => {});
  client.start();
  after(() => client.close());
  await client.connected();
  await until(() => received.some(({ signal }) => signal === "PING"));
  const [socket] = server.clients;
  return { client, received, socket };
}

/** The client takes a message, as if nothing had been. */
async function takes({ received, socket }, messageId) {
  socket.send(frame("PUSH", { messageId, content: { id: `m${messageId}`, stream: "all", data: 1 } }));
  await until(() => received.some((one) => one.signal === "PUB_ACK" && one.messageId === messageId));
}

const NONSENSE = {
  null: "null",
  "a number": "5",
  "a text": '"x"',
  "a list": "[]",
  "no signal": "{}",
  "an unknown signal": frame("WHAT", { content: null }),
  "a push without content": frame("PUSH", { messageId: 9, content: null }),
  "a push of a text": frame("PUSH", { messageId: 9, content: "x" }),
  "a push of wrong types": frame("PUSH", { messageId: "x", content: { id: {}, stream: 5, offset: [], kind: 7, ts: "x" } }),
  "an answer to nothing": frame("PUB_ACK", { messageId: 77, content: null }),
};

for (const [name, text] of Object.entries(NONSENSE)) {
  test(`${name} is ignored`, async () => {
    const world = await connected({});
    world.socket.send(text);
    await takes(world, 1);
    assert.equal(world.client.state, "connected");
  });
}

test("an answer to a PING that says nothing is one", async () => {
  const world = await connected({ PING: [({ messageId }) => frame("PING", { messageId, content: null })] });
  await until(() => world.client.heartbeat.answeredAt);
  assert.equal(world.client.heartbeat.interval, 60);
  await takes(world, 1);
});

test("what ends the connection without a reason is a loss", async () => {
  const world = await connected({});
  world.socket.send(frame("DISCONNECT", { content: null }));
  await until(() => world.client.state === "waiting");
});

test("an interval that no timer can hold brings no storm of PINGs", async () => {
  const content = { interval: 1e12, time: 0 };
  const world = await connected({ PING: [({ messageId }) => frame("PING", { messageId, content })] });
  await until(() => world.client.heartbeat.answeredAt);
  for (let messageId = 1; messageId <= 50; messageId++) {
    await takes(world, messageId);
    await new Promise((resolve) => setTimeout(resolve, 2)); // a timer that fired at once would come first
  }
  assert.equal(world.received.filter(({ signal }) => signal === "PING").length, 1);
});

test("a time-out may have no end", async () => {
  const answer = ({ messageId, subSignal }) => frame("PUB_ACK", { subSignal, messageId, content: { ok: true } });
  const { client } = await connected({ PUBLISH: [answer] }, { connectTimeout: Infinity });
  await client.subscribe("news", { timeout: Infinity });
});
