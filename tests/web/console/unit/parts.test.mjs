/** The console's parts that need no page. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { curl, dataOf, quote } from "../../../../push/web/console/lib/curl.js";
import { EventReader } from "../../../../push/web/console/lib/event_stream.js";
import { after, NOTHING_SEEN } from "../../../../push/web/console/lib/live.js";
import { nodesOf } from "../../../../push/web/console/lib/nodes.js";
import { html, visible } from "../../../../push/web/console/lib/html.js";
import { parse, to } from "../../../../push/web/console/lib/route.js";
import { count, lasting, milliseconds, relative, short, speak, t } from "../../../../push/web/console/lib/texts.js";
import { target } from "../../../../push/web/console/lib/api.js";

const words = (language) => JSON.parse(readFileSync(new URL(`../../../../push/web/console/${language}.json`, import.meta.url)));

test("a place survives being an address", () => {
  for (const [path, query] of [[[], {}], [["devices", "0~*$=U"], {}], [["users", "a/b ü?#"], { token: "x&y=z" }], [["messages"], { to: "user:anna" }]]) {
    const { path: read, query: asked } = parse(to(path, query));
    assert.deepEqual([read, asked], [path, query]);
  }
  assert.equal(to(["connections"], { user: "", ip: null, node: undefined }), "#/connections");
  assert.deepEqual(parse("#/users/%").path, ["users", "%"]);
});

test("what somebody else wrote cannot turn a text around, and a form gets it as it is", () => {
  const name = "safe\u202egnp.exe\u2066";
  assert.equal(visible(name), "safe\\u202egnp.exe\\u2066");
  for (const word of ["naïve", "日本語", "می\u200cخواهم", "👩\u200d💻", "a\tb\nc"]) assert.equal(visible(word), word);
  const { props } = html`<p title=${name} value=${name}>${name} and ${[name, 7, null]}</p>`;
  assert.deepEqual([props.title, props.value], [visible(name), name]);
  assert.deepEqual(props.children.flat(), [visible(name), " and ", visible(name), 7, null]);
});

test("no module of the console has templates of its own", () => {
  const root = new URL("../../../../push/web/console/", import.meta.url);
  const modules = readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".js") && !name.startsWith("vendor"));
  assert.ok(modules.length > 30);
  const users = modules.filter((name) => readFileSync(new URL(name, root), "utf8").includes("vendor/preact.js"));
  assert.deepEqual(users, ["lib/html.js"]);
});

test("a query has what is not empty", () => assert.equal(target("/v1/x", { a: "1 2", b: "", c: null, d: 0 }), "/v1/x?a=1+2&d=0"));

test("a line of curl is what a shell reads back", () => {
  const body = { to: { user: "o'brien" }, data: { text: "it's $HOME `x` \"y\"\n" } };
  const line = curl("http://127.0.0.1:8080", "/v1/push", body, { "Idempotency-Key": "a'b" });
  const shown = execFileSync("sh", ["-c", `curl() { for each in "$@"; do printf '%s\\0' "$each"; done; }\nPUSH_KEY=secret\n${line}`], { encoding: "utf8" });
  const given = shown.split("\0");
  assert.deepEqual(JSON.parse(given[given.indexOf("-d") + 1]), body);
  assert.ok(given.includes("Authorization: Bearer secret") && given.includes("Idempotency-Key: a'b"));
  assert.equal(quote("a'b"), `'a'\\''b'`);
});

test("data is JSON when it is JSON", () => {
  assert.deepEqual([dataOf('{"a": 1}'), dataOf("12"), dataOf("hello"), dataOf("")], [{ a: 1 }, 12, "hello", ""]);
});

test("events are read whatever way they are cut", () => {
  const stream = ": hello\n\nevent: connected\ndata: {\"ts\":1}\n\nevent: pushed\r\ndata: a\r\ndata: b\r\n\r\ndata:x\n\n";
  const wanted = [{ event: "connected", data: '{"ts":1}' }, { event: "pushed", data: "a\nb" }, { event: "message", data: "x" }];
  for (let size = 1; size <= stream.length; size += 1) {
    const reader = new EventReader();
    const found = [];
    for (let at = 0; at < stream.length; at += size) found.push(...reader.feed(stream.slice(at, at + size)));
    assert.deepEqual(found, wanted, `in parts of ${size}`);
  }
});

test("events that are missing are counted, and nodes that are silent are named until they send again", () => {
  let seen = NOTHING_SEEN;
  const take = (event, body, isPaused = false) => (seen = { ...seen, ...after(seen, { event, data: JSON.stringify(body) }, isPaused) });
  take("skipped", { ts: 1, node: "b", code: "silent", reason: "it does not answer" });
  take("skipped", { ts: 2, node: "here", n: 3 });
  take("skipped", { ts: 3, node: "a", code: "silent" });
  take("skipped", { ts: 3, node: "a", code: "silent" });
  take("skipped", { ts: 4, node: "here", n: 4 });
  assert.deepEqual([seen.skipped, seen.silent, seen.total, seen.rows], [7, ["a", "b"], 0, []]);
  take("pushed", { ts: 5, node: "b" });
  take("pushed", { ts: 6, node: "c" }, true);
  assert.deepEqual([seen.silent, seen.total, seen.rows.map((row) => row.ts)], [["a"], 2, [5]]);
  for (let number = 0; number < 400; number += 1) take("pushed", { ts: number, node: "c" });
  assert.deepEqual([seen.rows.length, new Set(seen.rows.map((row) => row.key)).size, seen.rows[0].ts], [300, 300, 399]);
});

test("services of one process are one node", () => {
  const entry = (service, instance, more = {}) => ({ service, instance, sessions: 0, capacity: 0, version: "1", draining: false, ...more });
  const found = nodesOf([entry("push-api", "a"), entry("push-connector", "a", { sessions: 3, capacity: 9, draining: true }), entry("push-connector", "b")]);
  assert.deepEqual(found.map(({ instance, services, sessions, draining }) => [instance, services, sessions, draining]), [
    ["a", ["push-api", "push-connector"], 3, true], ["b", ["push-connector"], 0, false],
  ]);
});

test("numbers and times are said in both languages", () => {
  speak("en", words("en"));
  assert.deepEqual([lasting(0), lasting(61_000), lasting(90_000_000), lasting(3_600_000)], ["0 s", "1 min 1 s", "1 d 1 h", "1 h"]);
  assert.deepEqual([milliseconds(2.34), milliseconds(250), milliseconds(1500), milliseconds(null)], ["2.3 ms", "250 ms", "1.5 s", "–"]);
  assert.deepEqual([short(0), short(3.14), short(12_345), short(undefined)], ["0", "3.1", "12.3K", "–"]);
  assert.deepEqual([count("kick.done", 1), count("kick.done", 2)], ["1 session was ended.", "2 sessions were ended."]);
  assert.equal(relative(0, 3 * 86_400_000), "3 days ago");
  speak("zh", words("zh"));
  assert.deepEqual([t("nav.overview"), lasting(61_000)], ["总览", "1 分 1 秒"]);
});
