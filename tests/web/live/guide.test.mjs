// Every example of docs/javascript.md, against the server. (Its page is in tests/web/browser.)
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { APP, PushClient, WS, api, jwtOf, push, start, unique, until } from "./server.mjs";

const guide = readFileSync(new URL("../../../docs/javascript.md", import.meta.url), "utf8");
const blocks = [...guide.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code).filter((code) => !code.includes('from "/push.js"'));
const AsyncFunction = (async () => {}).constructor;

/** The block that contains `text`, which is run with `names`; gives the client that it makes. Each block is run once. */
async function run(text, names) {
  const [code] = blocks.filter((block) => block.includes(text));
  assert.ok(code, text);
  blocks.splice(blocks.indexOf(code), 1);
  const own = code.includes("const client =");
  const body = code.replace(/^import .*$/gm, "") + (own ? "\nreturn client;" : "");
  return await new AsyncFunction(...Object.keys(names), body)(...Object.values(names));
}

/** `servers` of the guide, and clients that are kept to be closed. */
const made = [];
class Kept extends PushClient {
  constructor(options) {
    super(options);
    made.push(this);
  }
}
test.after(async () => {
  for (const client of made) await client.close();
});

/** A connected user. */
async function user(id = unique("ada"), setUp = () => true) {
  const client = start({ jwt: jwtOf(id) }, setUp);
  await client.connected();
  return Object.assign(client, { id });
}
const output = () => {
  const lines = [];
  return { lines, log: (...words) => lines.push(words) };
};

test("a device registers itself", async () => {
  const client = await run("APP_KEY", { PushClient: Kept, servers: WS, APP_KEY: APP });
  assert.equal((await api("GET", `/v1/devices/${client.credentials.token}`)).app, "parcels");
});

test("a JWT from the application's own server", async () => {
  const id = unique("ada");
  const fetch = async (path) => (assert.equal(path, "/my/jwt"), new Response(jwtOf(id)));
  const client = await run("/my/jwt", { PushClient: Kept, servers: WS, fetch });
  assert.equal((await client.connected()).user, id);
});

test("a handler", async () => {
  const client = await user();
  const saved = [];
  await run("const off", { client, save: async (data) => saved.push(data) });
  await push({ user: client.id }, 17);
  await until(() => saved.length);
  assert.deepEqual(saved, [17]);
});

test("a loop", async () => {
  const client = await user();
  const saved = [];
  const loop = run("for await (const message of client)", { client, save: async (data) => saved.push(data) });
  await push({ user: client.id }, 17);
  await until(() => saved.length);
  await client.close();
  await loop;
  assert.deepEqual(saved, [17]);
});

test("topics", async () => {
  const client = await user();
  await run('subscribe("news")', { client });
});

test("chat", async () => {
  const client = await user();
  const ben = await user("ben", (made_) => (made_.on("chat", () => {}), true));
  const console = output();
  await run("createGroup", { client, console });
  assert.ok(console.lines.some(([conversation, unread]) => conversation === "user:ben" && unread === 0));
  assert.deepEqual(console.lines.at(-1), [{}]); // he has not written yet
  await ben.send({ user: client.id }, "And you?");
  await until(() => console.lines.find((words) => words[3] === "And you?"));
  assert.deepEqual(await client.presence(["ben"]), { ben: true });
});

test("state and errors", async () => {
  const client = await user();
  const console = output();
  await run('client.on("redirect"', { client, console });
  client.check();
  await until(() => console.lines.some(([roundTripMs]) => typeof roundTripMs === "number"));
});

test("a WebSocket that is passed in", async () => {
  const client = await run('from "ws"', { PushClient: Kept, WebSocket });
  assert.equal(client.state, "idle");
});

test("no example is left", () => {
  assert.deepEqual(blocks, []);
});
