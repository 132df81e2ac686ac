import assert from "node:assert/strict";
import { test } from "node:test";
import { PHONE, WIDE, board, push, say, screenshot, serious, shows, text, welcome } from "./pages.mjs";

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** Animations are over: a colour in between is no colour of the page. */
const settled = (page) =>
  page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));

const LOCALES = { en: "en-US", zh: "zh-CN" };
// Each size with each scheme, each language with both: what two of them spoil together is found. All three in the long form.
const LOOKS = ["wide light en", "wide dark zh", "phone light zh", "phone dark en"];
if (Number(process.env.PUSH_TEST_LONG)) LOOKS.push("wide light zh", "wide dark en", "phone light en", "phone dark zh");

for (const [size, colorScheme, language] of LOOKS.map((look) => look.split(" "))) {
  test(`it looks right: ${size}, ${colorScheme}, ${language}`, async (t) => {
    const [viewport, locale] = [{ wide: WIDE, phone: PHONE }[size], LOCALES[language]];
    const options = { viewport, colorScheme, locale };
    const page = await welcome(t, options);
    assert.equal(await page.locator("html").getAttribute("lang"), { en: "en", zh: "zh-Hans" }[language]);
    assert.equal(await page.locator("html").getAttribute("data-theme"), colorScheme);
    assert.deepEqual(await serious(page), []);
    assert.ok((await overflow(page)) <= 0);
    await screenshot(page, `welcome-${size}-${colorScheme}-${language}`);

    const one = await board(t, "", options);
    const other = await board(t, "", { viewport, locale });
    await push(one);
    await one.locator("#inbox .inbox-acked").waitFor();
    await one.locator(".step-done").nth(3).waitFor();
    await say(one, language === "zh" ? "大家好，有人在吗？" : "Hello, is anybody there?");
    await one.locator(".bubble-own .tick-read").first().waitFor();
    await say(other, language === "zh" ? "在的，我在另一个窗口。" : "Yes, in the other window.");
    await one.locator(".bubble:not(.bubble-own)").last().waitFor();
    await one.selectOption("#seconds", "8");
    const cut = one.locator("#connection.pill-warn").waitFor();
    await one.click("#cut");
    await cut;
    await settled(one);
    assert.deepEqual(await serious(one), []);
    await one.locator("#result.result-good").waitFor();
    await settled(one);
    assert.deepEqual(await serious(one), []);
    assert.ok((await overflow(one)) <= 0);
    await screenshot(one, `${size}-${colorScheme}-${language}`);
  });
}

test("language and theme are switched, and kept over a reload", async (t) => {
  const page = await welcome(t, { timezoneId: "UTC" }); // a profile of its own, which keeps them
  const html = page.locator("html");
  await page.click("#language");
  await shows(page, "#welcome-title", "看消息如何抵达");
  await page.click("#theme");
  await page.locator('html[data-theme="dark"]').waitFor();
  await page.reload();
  await shows(page, "#welcome-title", "看消息如何抵达");
  await page.locator('html[lang="zh-Hans"][data-theme="dark"]').waitFor();
  await page.click("#start button");
  await page.locator("#connection.pill-good").waitFor();
  await page.click("#language");
  await shows(page, "#connection", "Connected to");
  await shows(page, "#events-title", "What just happened");
  assert.equal(await html.getAttribute("lang"), "en");
});

test("no text of the page is left out in either language", async (t) => {
  const page = await board(t);
  for (let times = 0; times < 2; times += 1) {
    const empty = await page.evaluate(() =>
      [...document.querySelectorAll("[data-t]")]
        .filter((element) => !element.textContent.trim() || element.textContent === element.dataset.t)
        .map((element) => element.dataset.t));
    assert.deepEqual(empty, []);
    const before = await text(page, "#push-title");
    await page.click("#language");
    await page.waitForFunction((was) => document.querySelector("#push-title").textContent !== was, before);
  }
});

test("everything works by the keyboard alone", async (t) => {
  const page = await welcome(t);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "skip");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => location.hash === "#main"); // from there the next stop is looked for
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "name");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid");
  await page.keyboard.press("Enter");
  await page.locator("#connection.pill-good").waitFor();
  await page.locator("#main:focus").waitFor();

  await page.locator('#push [name="to"]:checked').focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.locator('#push [name="to"]:checked').getAttribute("value"), "user");
  await page.locator("#push-user").waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "push-user");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "push-text");
  await page.keyboard.press("Enter");
  await page.locator("#inbox .inbox-acked").waitFor();
  assert.equal(await focused(), "push-text");

  await page.locator("#say-text").focus();
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await shows(page, ".bubble-own", "by keyboard");
  assert.equal(await focused(), "say-text");
});

test("with reduced motion nothing moves", async (t) => {
  const page = await board(t, "", { reducedMotion: "reduce" });
  await push(page);
  await page.locator("#inbox li").first().waitFor();
  const moving = await page.evaluate(() =>
    [...document.querySelectorAll("*")].filter((element) => {
      const style = getComputedStyle(element);
      return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
    }).length);
  assert.equal(moving, 0);
});

test("what arrives is announced", async (t) => {
  const page = await board(t);
  await page.fill("#push-text", "Hear this");
  await push(page);
  await shows(page, "#live", "Push arrived: Hear this");
  assert.equal(await page.locator("#live").getAttribute("aria-live"), "polite");
});
