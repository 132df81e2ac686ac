// Messages, acknowledgement, copies, topics, cursors.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy, PushClient, api, device, jwtOf, push, start, unique, until } from "./server.mjs";

const datas = (client) => client.messages.map((message) => message.data);
const acknowledged = async (id) => (await api("GET", `/v1/messages/${id}`)).acknowledged;
const again = (client, more = {}, setUp) => start({ ...client.credentials, ...more }, setUp);

test("a push arrives and is acknowledged when the handler has finished", async () => {
  let finish;
  const client = await device({}, (made) =>
    made.on("message", (message) => (made.messages.push(message), new Promise((resolve) => (finish = resolve)))),
  );
  const { token } = client.credentials;
  const { id } = await push({ token }, { order: 17 }, { title: "Here", body: "now" });
  await until(() => client.messages.length === 1);
  const [message] = client.messages;
  assert.deepEqual([message.id, message.data, message.title, message.body], [id, { order: 17 }, "Here", "now"]);
  assert.deepEqual([message.kind, message.qos, message.acknowledged], [null, 1, false]);
  assert.equal(message.stream, `dev:${token}`);
  assert.equal(message.raw.id, id);
  assert.equal(message.bytes, null);
  assert.equal(await acknowledged(id), 0);
  finish();
  await until(async () => (await acknowledged(id)) === 1);
  assert.equal(message.acknowledged, true);
});

test("an acknowledgement is told as an event", async () => {
  const told = [];
  const client = await device({}, (made) => (made.on("acknowledged", (event) => told.push(event)), undefined));
  const { id } = await push({ token: client.credentials.token }, 1);
  await until(() => told.length);
  assert.deepEqual(told, [{ id, stream: `dev:${client.credentials.token}` }]);
});

test("a message whose handler throws comes again, and the error is told", async () => {
  let failures = 1;
  const client = await device({}, (made) =>
    made.on("message", async (message) => {
      made.messages.push(message);
      if (failures-- > 0) throw new Error("not now");
    }),
  );
  const { id } = await push({ token: client.credentials.token }, "x");
  await until(() => client.messages.length === 2);
  await until(async () => (await acknowledged(id)) === 1);
  assert.deepEqual(client.errors.map((error) => error.message), ["not now"]);
});

test("a handler that gives a message back gets it again", async () => {
  const client = await device({}, (made) =>
    made.on("message", (message) => {
      made.messages.push(message);
      if (made.messages.length === 1) message.release();
    }),
  );
  const { id } = await push({ token: client.credentials.token }, "x");
  await until(() => client.messages.length === 2);
  await until(async () => (await acknowledged(id)) === 1);
});

test("explicit: acknowledged in any order, and given back", async () => {
  const told = [];
  const client = await device({ acks: "explicit" }, (made) => (made.on("acknowledged", ({ id }) => told.push(id)), undefined));
  const { token } = client.credentials;
  const ids = [];
  for (const n of [1, 2, 3]) ids.push((await push({ token }, n)).id);
  await until(() => client.messages.length === 3);
  client.messages[2].ack();
  client.messages[2].ack();
  client.messages[0].release();
  await until(() => client.messages.length === 4);
  assert.equal(client.messages[3].id, ids[0]);
  client.messages[3].ack();
  client.messages[1].ack();
  for (const id of ids) await until(async () => (await acknowledged(id)) === 1);
  assert.deepEqual(told, [ids[2], ids[0], ids[1]]);
  assert.deepEqual(datas(client), [1, 2, 3, 1]);
});

test("a loop acknowledges when it asks for the next message; what was in hand at a break comes again", async () => {
  const client = await device({}, () => true);
  const { token } = client.credentials;
  const ids = [];
  for (const n of [1, 2, 3]) ids.push((await push({ token }, n)).id);
  const seen = [];
  for await (const message of client) {
    seen.push(message.data);
    if (seen.length === 2) break;
  }
  assert.deepEqual(seen, [1, 2]);
  await until(async () => (await acknowledged(ids[0])) === 1);
  for await (const message of client) {
    seen.push(message.data);
    message.ack(); // sooner than by asking for the next
    if (seen.length === 4) break;
  }
  assert.deepEqual(seen.toSorted(), [1, 2, 2, 3]);
  await until(async () => (await acknowledged(ids[2])) === 1 && (await acknowledged(ids[1])) === 1);
});

test("close() in a loop ends it, and messages that nobody took come next time", async () => {
  const client = await device({}, () => true);
  const { token } = client.credentials;
  const { id } = await push({ token }, 1);
  for (const n of [2, 3]) await push({ token }, n);
  const seen = [];
  for await (const message of client) {
    seen.push(message.data);
    message.ack();
    await client.close();
  }
  assert.deepEqual(seen, [1]);
  await until(async () => (await acknowledged(id)) === 1);
  const next = again(client);
  await until(() => datas(next).includes(3), () => JSON.stringify(datas(next)));
  assert.deepEqual(datas(next), [2, 3]);
});

test("without a handler messages wait, and the first handler gets them in order", async () => {
  const client = await device({}, () => true);
  const { token } = client.credentials;
  const ids = [];
  for (const n of [1, 2]) ids.push((await push({ token }, n)).id);
  const seen = [];
  await client.publish("PS", { users: [] }).catch(() => {}); // what was sent before its answer is here
  client.on("message", (message) => void seen.push(message.data));
  await until(() => seen.length === 2);
  assert.deepEqual(seen, [1, 2]);
  await until(async () => (await acknowledged(ids[1])) === 1);
});

test("messages that no handler wants are acknowledged, and those of a kind go to its handlers, too", async () => {
  const seen = [];
  const client = await device({}, (made) => made.on("chat", (message) => void seen.push(message)));
  const { id } = await push({ token: client.credentials.token }, "plain");
  await until(async () => (await acknowledged(id)) === 1);
  assert.deepEqual(seen, []);
  const off = client.on("message", (message) => void client.messages.push(message));
  await push({ token: client.credentials.token }, "wanted");
  await until(() => client.messages.length === 1);
  off();
  const third = await push({ token: client.credentials.token }, "no more");
  await until(async () => (await acknowledged(third.id)) === 1);
  assert.deepEqual(datas(client), ["wanted"]);
});

test("QoS 0: nothing to acknowledge, and more than may wait is dropped and counted", async () => {
  const client = await device({ queueMessages: 2 }, () => true);
  const { token } = client.credentials;
  for (const n of [1, 2, 3, 4]) await push({ token }, n, { qos: 0 });
  const last = await push({ token }, "kept"); // QoS 1 is never dropped
  await until(() => client.droppedMessages === 2);
  const seen = [];
  for await (const message of client) {
    seen.push(message);
    message.ack();
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen.map(({ data, qos, offset }) => [data, qos, offset === null]), [[1, 0, true], [2, 0, true], ["kept", 1, false]]);
  await until(async () => (await acknowledged(last.id)) === 1);
});

test("binary data", async () => {
  const client = await device();
  await push({ token: client.credentials.token }, Buffer.from([0, 255, 16]).toString("base64"), { encoding: "base64" });
  await until(() => client.messages.length === 1);
  assert.deepEqual([...client.messages[0].bytes], [0, 255, 16]);
});

test("a copy that comes after a reconnect is not delivered twice, and acknowledged when the first is done", async () => {
  const proxy = await Proxy.start();
  let finish;
  const client = await device({ servers: proxy.url }, (made) =>
    made.on("message", (message) => (made.messages.push(message), new Promise((resolve) => (finish = resolve)))),
  );
  const { token } = client.credentials;
  const { id } = await push({ token }, "once");
  await until(() => client.messages.length === 1);
  const { session } = client.session;
  proxy.cut();
  await until(() => client.session && client.session.session !== session);
  const other = await push({ token }, "next"); // behind the copy
  await until(() => client.messages.length === 2);
  finish();
  await until(async () => (await acknowledged(other.id)) === 1);
  assert.equal(await acknowledged(id), 0);
  client.messages[0].ack();
  await until(async () => (await acknowledged(id)) === 1);
  assert.deepEqual(datas(client), ["once", "next"]);
});

test("a message that was finished while the connection was down is acknowledged on the next", async () => {
  const proxy = await Proxy.start();
  const client = await device({ servers: proxy.url, acks: "explicit" });
  const { id } = await push({ token: client.credentials.token }, "once");
  await until(() => client.messages.length === 1);
  proxy.refuse();
  proxy.cut();
  await until(() => client.session === null);
  client.messages[0].ack();
  proxy.refuse(false);
  await until(async () => (await acknowledged(id)) === 1);
  assert.deepEqual(datas(client), ["once"]);
});

test("the window stops the server, and nothing is lost or out of order", async () => {
  const client = await device({ window: 4, acks: "explicit" });
  const { token } = client.credentials;
  assert.equal(client.session.window, 4);
  await api("POST", "/v1/push/batch", Array.from({ length: 50 }, (_, n) => ({ to: { token }, data: n })));
  for (let n = 0; n < 50; n++) {
    await until(() => client.messages.length > n);
    assert.ok(client.messages.length <= n + 4);
    client.messages[n].ack();
  }
  assert.deepEqual(datas(client), Array.from({ length: 50 }, (_, n) => n));
});

test("topics: in effect when it returns", async () => {
  const client = await device();
  const topic = unique("news");
  await client.subscribe(topic);
  await push({ topic }, "heard");
  await until(() => client.messages.length === 1);
  assert.equal(client.messages[0].stream, `topic:${topic}`);
  await client.unsubscribe(topic);
  await push({ topic }, "not heard");
  await push({ token: client.credentials.token }, "end");
  await until(() => datas(client).includes("end"));
  assert.deepEqual(datas(client), ["heard", "end"]);
});

test("a refused request says why", async () => {
  const client = await device();
  await assert.rejects(client.subscribe("private.secret"), (error) => error.refused && error.code === "not_allowed");
  await assert.rejects(client.subscribe("no blanks"), (error) => error.code === "invalid" && error.field === "topic");
  await assert.rejects(client.publish("XX", {}), (error) => error.code === "bad_frame" || error.code === "unknown_request");
});

test("a user without a device follows topics again after a reconnect", async () => {
  const proxy = await Proxy.start();
  const topic = unique("news");
  const client = start({ servers: proxy.url, jwt: jwtOf(unique("ada")) });
  await client.subscribe(topic);
  const { session } = await client.connected();
  proxy.cut();
  await until(() => client.session && client.session.session !== session);
  await until(async () => {
    await push({ topic }, "again");
    return client.messages.length;
  });
});

/** As localStorage. */
class Store extends Map {
  getItem = (name) => this.get(name) ?? null;
  setItem = (name, value) => void this.set(name, value);
  removeItem = (name) => void this.delete(name);
}

test("a user without a device reads on where they stopped, by cursors that are stored", async () => {
  const user = unique("ada");
  const storage = new Store();
  const first = start({ jwt: jwtOf(user), storage });
  await first.connected();
  await push({ user }, 1);
  await until(() => first.messages[0]?.acknowledged);
  await first.close();
  await push({ user }, 2);
  const second = start({ jwt: () => jwtOf(user), storage });
  await until(() => second.messages.length === 1);
  assert.deepEqual(datas(second), [2]);
  const other = start({ jwt: jwtOf(unique("ben")), storage });
  await other.connected();
  assert.equal([...storage.keys()].filter((name) => name.includes(user)).length, 1);
});

test("a store that throws is as good as none", async () => {
  const throwing = () => {
    throw new Error("SecurityError");
  };
  const storage = { getItem: throwing, setItem: throwing, removeItem: throwing };
  const user = unique("ada");
  const client = start({ jwt: jwtOf(user), storage });
  await client.connected();
  await push({ user }, 1);
  await until(() => client.messages[0]?.acknowledged);
  await client.close();
  assert.deepEqual(client.errors, []);
});

test("messages that are gone are told", async () => {
  const first = await device();
  await first.close();
  const { token } = first.credentials;
  const items = Array.from({ length: 120 }, (_, n) => ({ to: { token }, data: n }));
  await api("POST", "/v1/push/batch", items);
  const gone = [];
  const client = again(first, {}, (made) => (made.on("truncated", (message) => void gone.push(message)), undefined));
  await until(() => datas(client).includes(119));
  assert.ok(gone.length >= 1);
  assert.equal(gone[0].stream, `dev:${token}`);
  assert.equal(gone[0].kind, "truncated");
  const plain = client.messages.filter((message) => message.kind === null);
  assert.ok(plain.length < 120);
  assert.deepEqual((await client.connected()).truncated, [`dev:${token}`]);
});

test("a WebSocket of a library that is passed in", async () => {
  const { WebSocket } = await import(process.env.PUSH_WS_LIBRARY);
  const client = await device({ WebSocket });
  await push({ token: client.credentials.token }, "by ws");
  await until(() => client.messages[0]?.acknowledged);
  await client.close();
});
