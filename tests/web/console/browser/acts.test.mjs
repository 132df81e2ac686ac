/** What an operator does: signing in, finding out, ending, banning, sending. Each against the real server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { APP_KEY, KEY, NAMES as N, api, button, isAt, newDevice, open, row, serious, settled, shows, signInPage, signedIn, signedInAlone, text, unique, until } from "./console.mjs";

const storage = (page) => page.evaluate(() => [JSON.stringify(localStorage), JSON.stringify(sessionStorage)]);
const dialog = "dialog[open]";

/** Click in the dialog and wait until it is gone: while it is open, nothing beside it takes the focus, nor a text. */
async function answer(page, name) {
  await button(page, name, dialog).click();
  await page.locator(dialog).waitFor({ state: "detached" });
}

test("a wrong key is refused in a sentence; a right one is kept for this tab alone", async (t) => {
  const page = await signInPage(t);
  await page.fill("#key", "pk_wrong");
  await page.press("#key", "Enter");
  await shows(page, "#key-error", "not a valid API key");
  assert.deepEqual(await storage(page), ["{}", "{}"]);
  await page.fill("#key", ` ${KEY} `);
  await page.press("#key", "Enter");
  await shows(page, "h1", "Overview");
  const [local, session] = await storage(page);
  assert.ok(!local.includes(KEY) && session.includes(KEY));
  assert.ok(!page.url().includes(KEY));
  await page.evaluate(() => (location.hash = "#/topics/news"));
  await shows(page, "h1", "news");
  await page.reload();
  await shows(page, "h1", "news");
  await button(page, "Sign out").click();
  await page.locator("#key").waitFor();
  assert.deepEqual(await storage(page), ["{}", "{}"]);
});

test("what a key may do decides what is shown", async (t) => {
  const name = unique("reader");
  const { key } = await api("POST", "/v1/keys", { name, scopes: ["read"] });
  const page = await signedInAlone(t, "", {}, key);
  await shows(page, "#nav", "Topics");
  const links = await page.locator("#nav li a").allTextContents();
  assert.deepEqual(links, ["Overview", "Live events", "Connections", "Nodes", "Messages", "Devices", "Users", "Topics"]);
  await open(page, `devices/${N.phone}`);
  await shows(page, ".facts", N.phone);
  for (const act of ["Kick…", "Ban…", "Forget…", "Bind"]) assert.equal(await button(page, act).count(), 0);
  await open(page, "keys");
  await shows(page, "main", "needs a key with the scope admin");
  await shows(page, "main .empty .button", "Overview");
  await t.test("and a key that is revoked meanwhile signs out", async () => {
    await open(page, "connections");
    await api("DELETE", `/v1/keys/${name}`);
    await shows(page, ".banner-warn", "no longer valid");
    assert.deepEqual(await storage(page), ["{}", "{}"]);
  });
});

test("a key that may only register sees no screen", async (t) => {
  const page = await signedInAlone(t, "", {}, APP_KEY);
  await shows(page, "main", "needs a key with the scope read");
  assert.equal(await page.locator("#nav li a").count(), 0);
});

test("why did it not arrive?", async (t) => {
  const page = await signedIn(t);
  const asked = {
    [`${N.offline}?token=${N.tablet}`]: "It waits: the device is offline",
    [`${N.offline}?token=${N.phone}`]: "It did arrive",
    [`${N.never}?token=${N.unused}`]: "has never connected",
    [`${N.banned_message}?user=dave`]: "dave is banned until it is lifted",
    [`${N.elsewhere}?token=${N.phone}`]: "the device is bound to anna",
    [`${N.never}?token=${N.phone}`]: "It was never addressed to this device",
    [`${N.expired}?token=${N.tablet}`]: "It expired",
    [`${N.cancelled}?token=${N.tablet}`]: "It was cancelled",
    [`${N.collapsed}?token=${N.tablet}`]: "A newer message with the same collapse key",
    [`${N.too_large}?token=${N.small}`]: "larger than the frames",
    [`${N.topic}?token=${N.tablet}`]: "which the device does not follow",
    [`${N.all}?token=${N.tablet}`]: "It waits: the device is offline",
    [`${N.offline}?user=nobody`]: "nobody has no device",
  };
  for (const [place, wanted] of Object.entries(asked)) {
    await open(page, `messages/${place}`);
    await shows(page, "main .answers, main .empty", wanted);
  }
  await open(page, `messages/${N.offline}`);
  await page.getByLabel("Who misses it?").selectOption("user");
  await page.getByLabel("User", { exact: true }).fill("anna");
  await button(page, "Find out").click();
  await page.locator(".answers li").nth(1).waitFor();
  await isAt(page, `#/messages/${N.offline}?user=anna`);
  await page.getByLabel("User", { exact: true }).fill("team=red");
  await button(page, "Find out").click();
  await shows(page, ".empty", "team=red has no device");
  await isAt(page, `#/messages/${N.offline}?user=team=red`);
});

test("a ban ends a session, is listed and lifted; the dialog names its target and can be left", async (t) => {
  const page = await signedIn(t, "bans");
  const user = unique("banned");
  await button(page, "New ban").click();
  await page.locator(dialog).waitFor();
  assert.deepEqual(await serious(page), []);
  await page.keyboard.press("Escape");
  await page.locator(dialog).waitFor({ state: "detached" });
  await shows(page, ":focus", "New ban");
  await button(page, "New ban").click();
  await page.locator(dialog).getByLabel("Kind").selectOption("user");
  await page.locator(dialog).getByLabel("User").fill(user);
  await page.locator(dialog).getByLabel("Until").selectOption("");
  await answer(page, "Ban");
  await row(page, user).waitFor();
  await button(page, "Lift", `tbody tr:has-text("${user}")`).click();
  await shows(page, dialog, user);
  await answer(page, "Lift");
  await row(page, user).waitFor({ state: "detached" });
  await button(page, "New ban").click();
  await page.locator(dialog).getByLabel("Address or network").fill("no address");
  await button(page, "Ban", dialog).click();
  await shows(page, `${dialog} .error`, "address");
});

test("a push is sent, its line for a shell does the same, and its way is followed", async (t) => {
  const page = await signedIn(t, `send?kind=token&value=${N.laptop}`);
  await page.getByLabel("Title").fill("It's here");
  await page.getByLabel("Data for the app").fill("just text");
  await shows(page, ".help", "not JSON");
  await page.evaluate(() => {
    // As an extension of the browser fills a form: several fields in one turn.
    for (const [label, value] of [["Text", "Both are"], ["Title", "It's here"]]) {
      const field = [...document.querySelectorAll("label")].find((each) => each.textContent === label).control;
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });
  const line = await until(async () => {
    const shown = await text(page, ".code pre");
    return shown.includes("just text") && shown.includes("Both are") && shown;
  }, "the line follows the form");
  assert.match(line, /\/v1\/push' .*"title":"It'\\''s here"/);
  await button(page, "Push").click();
  await shows(page, "h2", "Accepted");
  await shows(page, ".why-text", "It arrived everywhere");
  await page.getByRole("link", { name: "Open message" }).click();
  await shows(page, ".why-text", "It arrived everywhere");
  await open(page, "send?kind=token&value=070KX00000000");
  await button(page, "Push").click();
  await page.locator("form .error, form .banner-bad").first().waitFor();
  await open(page, "send?kind=all");
  await button(page, "Push").click();
  await shows(page, dialog, "Every device of the system");
  await answer(page, "Cancel");
});

test("a device is bound, subscribed, and forgotten", async (t) => {
  const token = await newDevice();
  const user = unique("owner");
  const page = await signedIn(t, `devices/${token}`);
  await page.getByLabel("Bind to a user").fill(user);
  await button(page, "Bind").click();
  await page.locator(".facts").getByRole("link", { name: user }).waitFor();
  const topic = page.getByLabel("Subscribe to a topic");
  await topic.fill("sports");
  let hear = () => {};
  const asked = new Promise((resolve) => (hear = resolve));
  await page.route("**/v1/topics/sports/**", hear);
  await button(page, "Subscribe").click();
  const held = await asked;
  await topic.fill("weather"); // what is written before the answer comes stays
  await held.continue();
  await page.locator(".rows").getByRole("link", { name: "sports" }).waitFor();
  assert.equal(await topic.inputValue(), "weather");
  await page.unroute("**/v1/topics/sports/**");
  await button(page, "Unsubscribe").click();
  await answer(page, "Unsubscribe");
  await shows(page, "main", "Follows no topic");
  await button(page, "Forget…").click();
  await shows(page, dialog, token);
  await answer(page, "Forget");
  await shows(page, "h1", "Connections");
  await open(page, `devices/${token}`);
  await shows(page, "main", "No such device");
});

test("a name that would turn the text around it is shown as it is written", async (t) => {
  const { token } = await api("POST", "/v1/devices", { platform: "web", app: "shop", device: "exe.\u202etxt" }, APP_KEY);
  const page = await signedIn(t, `devices/${token}`);
  await shows(page, ".facts dd", "exe.\\u202etxt");
  const { group } = await api("POST", "/v1/groups", { owner: "anna", name: "Team \u202eevil" });
  await open(page, `groups/${group}`);
  await shows(page, "h1", "Team \\u202eevil");
  await page.waitForFunction(() => document.title.includes("\\u202e"));
  assert.equal(await page.evaluate(() => /\u202e/.test(document.documentElement.innerHTML + document.title)), false);
});

test("a user is erased only when their name was written", async (t) => {
  const user = unique("gone");
  await newDevice(user);
  const page = await signedIn(t, `users/${user}`);
  await button(page, "Erase…").click();
  assert.ok(await button(page, "Erase", dialog).isDisabled());
  await page.locator(dialog).getByRole("textbox").fill(user);
  await answer(page, "Erase");
  await shows(page, "main", "No device is bound to this user");
});

test("a key is made and told once, and revoked", async (t) => {
  const name = unique("made");
  const page = await signedIn(t, "keys");
  await button(page, "New key").click();
  await page.locator(dialog).waitFor();
  assert.deepEqual(await serious(page), []);
  await page.locator(dialog).getByLabel("Name").fill(name);
  await button(page, "Make key", dialog).click();
  const key = await text(page, ".secret pre");
  assert.deepEqual((await api("GET", "/v1/whoami", undefined, key)).scopes, ["push"]);
  await button(page, "I have kept it").click();
  await row(page, name).waitFor();
  await button(page, "Revoke…", `tbody tr:has-text("${name}")`).click();
  await shows(page, dialog, name);
  await answer(page, "Revoke");
  await row(page, name).waitFor({ state: "detached" });
});

test("an endpoint of the configuration is tested and replayed, and its attempts are listed", async (t) => {
  const { webhooks } = await api("GET", "/v1/webhooks");
  const { id } = webhooks.find(({ source }) => source === "config");
  const page = await signedIn(t, "webhooks");
  await page.locator("tbody").getByRole("link").first().click();
  await isAt(page, id);
  await shows(page, ".note", "changes there");
  for (const act of ["Change…", "Disable", "Delete…"]) assert.equal(await button(page, act).count(), 0);
  await button(page, "Send a test").click();
  await shows(page, "tbody tr", "webhook.test");
  await shows(page, "tbody tr", "HTTP 204");
  await button(page, "Send again…").click();
  await page.locator(dialog).waitFor();
  assert.deepEqual(await serious(page), []);
  await page.locator(dialog).getByLabel("Only those").uncheck();
  // It is shown for six seconds, which a busy machine may take to say that the button is clicked.
  await Promise.all([shows(page, ".toast", "sent again"), button(page, "Send again", dialog).click()]);
});

test("an endpoint is made with a secret that is told once, changed, and deleted", async (t) => {
  const page = await signedIn(t, "webhooks");
  await button(page, "New endpoint").click();
  const address = page.locator(dialog).getByLabel("Address");
  await address.fill("https://10.0.0.1/hook");
  await page.locator(dialog).getByLabel("message.expired").check();
  await button(page, "Save", dialog).click();
  await shows(page, `${dialog} .error`, "public address");
  // Nothing is sent to it: no message expires here while it is there.
  await address.fill("https://1.1.1.1/hook");
  await page.locator(dialog).getByLabel("Description").fill(unique("Orders"));
  await button(page, "Save", dialog).click();
  assert.match(await text(page, ".secret pre"), /^whsec_/);
  await button(page, "I have kept it").click();
  await page.getByRole("link", { name: "https://1.1.1.1/hook" }).click();
  await button(page, "Disable").click();
  await button(page, "Enable").waitFor();
  await button(page, "New secret…").click();
  await button(page, "New secret", dialog).click();
  assert.match(await text(page, ".secret pre"), /^whsec_/);
  await button(page, "Delete…").click();
  await shows(page, dialog, "https://1.1.1.1/hook");
  await answer(page, "Delete");
  await shows(page, "h1", "Webhooks");
});

test("a group is made, changed, and dismissed", async (t) => {
  const page = await signedIn(t, "groups");
  const name = unique("Team");
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Owner").fill("anna");
  await button(page, "Create group").click();
  await shows(page, "h1", name);
  await page.getByRole("textbox", { name: "Add members" }).fill("bob, carol");
  await button(page, "Add", ".inline-form").click();
  await row(page, "carol").waitFor();
  await row(page, "bob").getByRole("combobox").selectOption("admin");
  await until(async () => (await row(page, "bob").getByRole("combobox").inputValue()) === "admin", "bob is an admin");
  await button(page, "Remove", 'tbody tr:has-text("carol")').click();
  await answer(page, "Remove");
  await row(page, "carol").waitFor({ state: "detached" });
  await page.getByLabel("Announcement").fill("Tonight at eight.");
  await button(page, "Save").click();
  await shows(page, ".facts", "Tonight at eight.");
  const renamed = unique("Crew");
  await page.getByLabel("Name").fill(renamed);
  await page.getByLabel("Name").press("Enter");
  await page.waitForFunction((wanted) => document.title.startsWith(wanted), renamed);
  assert.equal(await page.locator(":focus").inputValue(), renamed); // whoever is typing goes on
  await button(page, "Dismiss…").click();
  await page.locator(dialog).getByRole("textbox").fill(renamed);
  await answer(page, "Dismiss");
  await shows(page, "h1", "Groups");
});

test("events come as they happen, and what is done is in the audit", async (t) => {
  const page = await signedIn(t, "live?kinds=pushed,acknowledged");
  await shows(page, ".pill", "Listening");
  const { id } = await api("POST", "/v1/push", { to: { token: N.phone }, data: "live" });
  await row(page, id).waitFor();
  await row(page, "Acknowledged").waitFor();
  await button(page, "Pause").click();
  await shows(page, ".pill", "Paused");
  const user = unique("audited");
  await api("POST", "/v1/bans", { user, until: Date.now() + 60_000 });
  await open(page, "audit?key=admin");
  await shows(page, `tbody tr:has-text("${user}")`, "Ban");
});

test("a node whose events are missing is named, and a click connects again", async (t) => {
  const page = await signedIn(t);
  let refuse = true;
  let asked = 0;
  const body = `event: skipped\ndata: {"ts":1,"node":"far-1","code":"silent"}\n\nevent: skipped\ndata: {"ts":2,"node":"near","n":3}\n\n`;
  await page.route("**/v1/events**", (route) => {
    asked += 1;
    return refuse ? route.fulfill({ status: 503, json: { error: "unavailable", reasons: ["full"] } }) : route.fulfill({ contentType: "text/event-stream", body });
  });
  await open(page, "live");
  const retry = button(page, "Try again");
  await retry.waitFor();
  refuse = false;
  const before = asked;
  await retry.click();
  await until(() => asked > before, "it asks again");
  await shows(page, ".banner", "far-1");
  await shows(page, "main", /\d skipped/);
  page.problems.length = 0; // the browser's own note of what was refused
});

test("a list that is read further keeps its first page", async (t) => {
  const page = await signedIn(t, "about");
  const message = (id) => ({ id, ts: 1, to: { user: "anna" }, expires: null, addressed: 1, stored: 1, written: 0, acknowledged: 0, expired: 0, cancelled: 0, dropped: {} });
  let isFurther = false;
  await page.route("**/v1/messages*", (route) => {
    const cursor = new URL(route.request().url()).searchParams.get("cursor");
    isFurther ||= Boolean(cursor);
    if (isFurther && !cursor) return; // whoever asks again for the first page waits for it
    return route.fulfill({ json: { messages: [message(cursor ? "older" : "newest")], cursor: cursor ? null : "further" } });
  });
  await open(page, "messages");
  await row(page, "newest").waitFor();
  await button(page, "More").click();
  await row(page, "older").waitFor();
  // What the screen then does it does after its next picture.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)))));
  assert.ok(await row(page, "newest").isVisible());
});

test("what has a name is found, whatever it names", async (t) => {
  const page = await signedIn(t);
  const finds = { anna: "The user anna", [N.phone]: `The device ${N.phone}`, [N.arrived]: `The message ${N.arrived}`, news: "The topic news", [N.group]: `The group ${N.group}`, "127.0.0.1": "Connections from 127.0.0.1" };
  for (const [word, found] of Object.entries(finds)) {
    await page.getByRole("searchbox").fill(word);
    await page.keyboard.press("Enter");
    await page.locator(".rows").getByRole("link", { name: found }).waitFor();
  }
});

test("nothing is asked for while nobody looks", async (t) => {
  const page = await signedInAlone(t, "connections");
  let asked = 0;
  page.on("request", () => (asked += 1));
  await until(() => asked > 0, "it asks again by itself");
  const show = (hidden) =>
    page.evaluate((is) => {
      Object.defineProperty(document, "hidden", { value: is, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await page.clock.install();
  await open(page, "nodes");
  await show(true);
  await page.clock.runFor(10_000);
  // What was asked for until now has been counted when the test hears of a request after it.
  const last = page.waitForRequest("**/healthz");
  await page.evaluate(() => fetch("/healthz"));
  await last;
  asked = 0;
  await page.clock.runFor(60_000);
  assert.equal(asked, 0);
  await show(false);
  await until(() => asked > 0, "it asks again at once");
});

test("a server that is away says so, and the screen stays", async (t) => {
  const page = await signedIn(t, "connections");
  await row(page, N.phone).waitFor();
  await page.route("**/v1/connections**", (route) => route.abort());
  await shows(page, ".banner-bad", "cannot be reached");
  assert.ok(await row(page, N.phone).isVisible());
  await page.unroute("**/v1/connections**");
  await button(page, "Try again").click();
  await page.locator(".banner-bad").waitFor({ state: "detached" });
  page.problems.length = 0; // the browser's own note of what was cut
});

test("language and theme are switched, and kept", async (t) => {
  const page = await signedInAlone(t, "nodes", { timezoneId: "UTC" }); // in a profile of its own, which keeps them
  await page.getByRole("button", { name: "切换到中文" }).click();
  await shows(page, "h1", "节点");
  await page.getByRole("button", { name: "深色主题" }).click();
  await page.reload();
  await shows(page, "h1", "节点");
  await page.locator('html[data-theme="dark"][lang="zh-Hans"]').waitFor();
});

test("everything is reached by the keyboard, and where the focus is can be seen", async (t) => {
  const page = await signedIn(t, "bans");
  await page.keyboard.press("Tab");
  await page.evaluate(() => document.querySelector(".skip").focus());
  assert.equal(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "solid");
  await page.keyboard.press("Enter");
  await page.locator("#main:focus").waitFor();
  await page.keyboard.press("Tab");
  await shows(page, ":focus", "New ban");
  await page.keyboard.press("Enter");
  await page.locator(`${dialog} :focus`).waitFor();
  await settled(page);
});

test("a chart has its values as a table, too", async (t) => {
  const page = await signedIn(t);
  await page.locator(".chart canvas").last().waitFor();
  await page.locator(".twin summary").first().click();
  await page.locator(".twin-table tbody tr").nth(299).waitFor();
  await button(page, "2 h").click();
  await shows(page, ".note", "each 10 seconds");
  await page.locator(".chart canvas").last().waitFor();
});
