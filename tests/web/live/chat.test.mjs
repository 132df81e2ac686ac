// Chat: conversations, groups, presence, and one message whatever happens to the connection.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Proxy, api, jwtOf, start, unique, until } from "./server.mjs";

/** A connected user. */
async function user(name, options) {
  const id = unique(name);
  const client = start({ jwt: () => jwtOf(id), ...options });
  await client.connected();
  return Object.assign(client, { id });
}
const all = async (list) => {
  const items = [];
  for await (const item of list) items.push(item);
  return items;
};
const ofKind = (client, kind) => client.messages.filter((message) => message.kind === kind);

test("a message, its receipt, the history and taking it back", async () => {
  const [ada, ben] = [await user("ada"), await user("ben")];
  const chat = ada.chat(ben.id);
  const sent = await ada.send({ user: ben.id }, { text: "Tonight at eight?" });
  assert.deepEqual([sent.conversation, sent.seq], [`user:${ben.id}`, 1]);
  const [got] = await until(() => ofKind(ben, "chat").length && ofKind(ben, "chat"));
  assert.deepEqual(got.data, { text: "Tonight at eight?" });
  assert.deepEqual([got.raw.from, got.raw.conversation, got.raw.seq, got.raw.type], [ada.id, `user:${ada.id}`, 1, "text"]);
  await until(() => ofKind(ada, "chat").length === 1); // one's own, on each of one's devices
  const back = ben.conversation(got.raw.conversation);
  assert.deepEqual(await back.markRead(1), { seq: 1, delivered: 1, read: 1 });
  const receipt = await until(() => ofKind(ada, "receipt").find(({ raw }) => raw.read === 1));
  assert.deepEqual([receipt.raw.user, receipt.raw.delivered], [ben.id, 1]);
  await back.send("Yes", { type: "answer", reply_to: 1 });
  await until(() => ofKind(ada, "chat").length === 2);
  assert.equal((await chat.markDelivered(2)).delivered, 2);
  const typed = until(() => (back.typing(), ofKind(ada, "typing")[0]));
  assert.equal((await typed).raw.user, ben.id);
  await chat.recall(1);
  await until(() => ofKind(ben, "recall").length === 1);
  const history = await all(chat.history());
  assert.deepEqual(history.map(({ seq, data, recalled }) => [seq, data, recalled]), [[2, "Yes", undefined], [1, undefined, true]]);
  await assert.rejects(back.recall(99), (error) => error.refused && error.code === "unknown_message");
});

test("the history by pages, back and forth", async () => {
  const [ada, ben] = [await user("ada"), await user("ben")];
  const chat = ada.chat(ben.id);
  for (let n = 1; n <= 7; n++) await chat.send(n);
  const seqs = async (options) => (await all(chat.history(options))).map(({ seq }) => seq);
  assert.deepEqual(await seqs({ limit: 3 }), [7, 6, 5, 4, 3, 2, 1]);
  assert.deepEqual(await seqs({ before: 4, limit: 2 }), [3, 2, 1]);
  assert.deepEqual(await seqs({ after: 2, limit: 2 }), [3, 4, 5, 6, 7]);
  assert.deepEqual(await seqs({ after: 2, before: 5, limit: 2 }), [3, 4]);
  const page = await chat.historyPage({ limit: 2 });
  assert.deepEqual([page.messages.map(({ seq }) => seq), page.more], [[6, 7], true]);
});

test("a group: made, spoken in, changed, left and dismissed", async () => {
  const [ada, ben, eve] = [await user("ada"), await user("ben"), await user("eve")];
  const group = await ada.createGroup("Friends", [ben.id], { extra: { colour: "green" } });
  const heard = await until(() => ofKind(ben, "group")[0]);
  assert.deepEqual([heard.raw.group, heard.raw.event], [group.group, "created"]);
  await ada.send({ group: group.group }, "Welcome", { mentions: [ben.id] });
  assert.equal((await until(() => ofKind(ben, "chat")[0])).raw.conversation, group.id);
  assert.deepEqual(await group.add(eve.id, "no such user!").catch((error) => error.code), "invalid");
  assert.deepEqual(await group.add(eve.id), { [eve.id]: "ok" });
  assert.equal((await group.setRole(ben.id, "admin")).members, 3);
  await group.mute(eve.id);
  await assert.rejects(eve.group(group.group).send("?"), (error) => error.code === "muted");
  await group.mute(eve.id, false);
  const changed = await group.change({ name: "Old friends", announcement: "Hello" });
  assert.deepEqual([changed.name, changed.announcement, changed.extra], ["Old friends", "Hello", { colour: "green" }]);
  const members = await all(group.members({ limit: 2 }));
  assert.deepEqual(members.map(({ user, role }) => [user, role]).toSorted(), [[ada.id, "owner"], [ben.id, "admin"], [eve.id, "member"]].toSorted());
  assert.deepEqual(await group.remove(eve.id), { [eve.id]: "ok" });
  await group.transfer(ben.id);
  await group.leave();
  await assert.rejects(group.info(), (error) => error.code === "not_member");
  await ben.group(group.group).dismiss();
  await assert.rejects(ben.group(group.group).info(), (error) => ["unknown_group", "not_member"].includes(error.code));
});

test("conversations, the latest first, and who is online", async () => {
  const [ada, ben, eve] = [await user("ada"), await user("ben"), await user("eve")];
  await ben.chat(ada.id).send("one");
  await eve.chat(ada.id).send("two");
  const list = await until(async () => {
    const found = await all(ada.conversations({ limit: 1 }));
    return found.length === 2 && found;
  });
  assert.deepEqual(list.map(({ user, unread, last }) => [user, unread, last.data]), [[eve.id, 1, "two"], [ben.id, 1, "one"]]);
  assert.deepEqual(await ada.presence([ben.id]), { [ben.id]: true });
  await ben.close();
  await until(async () => (await ada.presence([ben.id]))[ben.id] === false);
});

test("a message that is sent over a lost connection is one message", async () => {
  const proxy = await Proxy.start();
  const ada = await user("ada", { servers: proxy.url });
  const ben = await user("ben");
  const chat = ada.chat(ben.id);
  for (let n = 0; n < 10; n++) {
    const sending = chat.send(n);
    proxy.cut(); // before, within, or after its way
    await sending;
  }
  await until(() => ofKind(ben, "chat").length >= 10);
  assert.deepEqual(ofKind(ben, "chat").map(({ data }) => data), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("a client_id of the application: the same message, or none at all", async () => {
  const [ada, ben] = [await user("ada"), await user("ben")];
  const client_id = unique("outbox");
  const first = await ada.chat(ben.id).send("x", { client_id });
  assert.deepEqual(await ada.chat(ben.id).send("x", { client_id }), first);
  await assert.rejects(ada.chat(ben.id).send("y", { client_id }), (error) => error.code === "idempotency_mismatch");
});

test("a backend's message", async () => {
  const ada = await user("ada");
  const sender = unique("bot");
  await api("POST", `/v1/users/${ada.id}/messages`, { from: sender, data: "hello" });
  assert.equal((await until(() => ofKind(ada, "chat")[0])).raw.from, sender);
});

test("a send that is not answered in time says so", async () => {
  const proxy = await Proxy.start();
  const ada = await user("ada", { servers: proxy.url });
  proxy.stall();
  await assert.rejects(ada.send({ user: "ben" }, "?", { timeout: 0.3 }), (error) => error.code === "unanswered");
});
