import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readCookie } from "../src/cookie";
import { makeId } from "../src/ids";
import { decodeMemory } from "../src/memory";
import { loadModule } from "../src/modules";
import { takeOver } from "../src/queue";
import type { Settings } from "../src/settings";
import { createTag } from "../src/tag";
import type { Envelope } from "../src/wire";
import {
  type FakeCollector,
  fakeCollector,
  makeSettings,
  setVisibility,
  standStill,
  stopListening,
  TOKEN,
  visit,
  watchListeners,
} from "./fakes";

vi.mock("../src/modules", () => ({ loadModule: vi.fn() }));

let collector: FakeCollector;

beforeEach(() => {
  standStill();
  watchListeners();
  collector = fakeCollector();
  vi.mocked(loadModule).mockClear();
  visit("https://shop.example/offer?utm_source=news", "https://search.example/");
  setVisibility("visible");
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

const start = (changes: Partial<Settings> = {}, token = "", calls: unknown[][] = []) =>
  takeOver(
    calls,
    createTag(makeSettings(changes), token ? { lt: token } : {}, () => {}),
    () => {},
  );
const pass = (ms = 1000): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const names = (envelopes: Envelope[] = collector.posted): string[][] => envelopes.map(({ e }) => e.map(({ n }) => n));
const last = (): Envelope => collector.posted.at(-1) as Envelope;

function press(): void {
  const event = new Event("keydown");
  Object.defineProperty(event, "isTrusted", { value: true });
  dispatchEvent(event);
}

test("a page view is sent by itself, with its address, and can be switched off", async () => {
  start();
  await pass();
  expect(names()).toEqual([["page_view"]]);
  expect(last()).toMatchObject({ u: "https://shop.example/offer?utm_source=news", r: "https://search.example/" });
  start({ page: false });
  await pass();
  expect(collector.posted).toHaveLength(1);
});

test("properties are what they were when the event was tracked", async () => {
  const run = start();
  const props = { price: 12 };
  run("track", "add_to_cart", props);
  props.price = 99;
  await pass();
  expect(last().e[1]).toMatchObject({ n: "add_to_cart", p: { price: 12 } });
});

test.each([
  [
    "a circle",
    () => {
      const circle: Record<string, unknown> = {};
      circle.self = circle;
      return circle;
    },
  ],
  ["a BigInt", () => ({ big: BigInt(1) })],
  ["text", () => "x"],
  ["a list", () => [1]],
])("properties that cannot be sent (%s) cost only their event", async (_, make) => {
  const run = start();
  run("track", "bad", make());
  run("track", "good");
  await pass();
  expect(names()).toEqual([["page_view", "good"]]);
  expect(last().e.map(({ q }) => q)).toEqual([1, 2]);
});

describe("consent", () => {
  test("required: nothing is read, written or sent before the answer, then everything with its own time and address", async () => {
    const get = vi.spyOn(document, "cookie", "get");
    const set = vi.spyOn(document, "cookie", "set");
    const run = start({ consent: "required" });
    run("track", "seen");
    run("identify", "4711", { signature: "1.2.3" });
    await pass(60_000);
    history.pushState(null, "", "/later");
    setVisibility("hidden");
    setVisibility("visible");
    expect([get.mock.calls, set.mock.calls, collector.posted, collector.beaconed]).toEqual([[], [], [], []]);

    const answeredMs = Date.now();
    run("consent", "all");
    await pass();
    expect(names()).toEqual([["page_view", "seen", "identify"]]);
    expect(last()).toMatchObject({
      u: "https://shop.example/offer?utm_source=news",
      r: "https://search.example/",
      c: "sifm",
    });
    expect(last().e[0]?.t).toBe(answeredMs - 60_000);
    expect(last().x?.t).toBe(answeredMs - 60_000);
    expect(readCookie("_ts_v")).toContain(last().d);
  });

  test("none drops what waited and what comes", async () => {
    const run = start({ consent: "required" });
    run("consent", "none");
    run("track", "seen");
    await pass();
    run("consent", "all");
    run("track", "after");
    await pass();
    expect(names()).toEqual([["after"]]);
  });

  test("a no that was said before the tag had loaded holds from the first event on", async () => {
    const set = vi.spyOn(document, "cookie", "set");
    start({ consent: "implied" }, "", [
      ["track", "early"],
      ["consent", "none"],
    ]);
    await pass();
    expect(collector.posted).toEqual([]);
    for (const [cookie] of set.mock.calls) expect(cookie).toContain("max-age=-1");
  });

  test("without consent to identity an identify waits, and goes once that is given", async () => {
    const run = start({ consent: "required" });
    run("consent", { storage: true });
    run("identify", "4711");
    run("track", "seen");
    await pass();
    expect(names()).toEqual([["page_view", "seen"]]);
    run("consent", { identity: true });
    await pass();
    expect(names()[1]).toEqual(["identify"]);
    expect(last().c).toBe("si");
  });

  test("withdrawal removes the cookie, drops what waits, and tells the collector without naming the visitor", async () => {
    const run = start({ consent: "required" });
    run("consent", "all");
    await pass();
    run("track", "unsent");
    run("consent", "none");
    await pass();
    expect(document.cookie).toBe("");
    expect(names()).toEqual([["page_view"], ["consent"]]);
    expect(last().c).toBe("");
    expect(last()).not.toHaveProperty("d");
    expect(last()).not.toHaveProperty("u");
    run("consent", "none");
    await pass();
    expect(collector.posted).toHaveLength(2);
  });

  test("the fingerprint module is loaded with consent to that purpose only, once per session", async () => {
    const run = start({ consent: "required" });
    run("consent", { storage: true, identity: true });
    expect(loadModule).not.toHaveBeenCalled();
    run("consent", { fingerprint: true });
    expect(loadModule).toHaveBeenCalledTimes(1);
    const [, , , use] = vi.mocked(loadModule).mock.calls[0] as Parameters<typeof loadModule<"f">>;
    use(async () => ({ v: 1, s: { math: "0a" } }));
    await pass();
    expect(names()).toEqual([["page_view"], ["fingerprint"]]);
    expect(collector.posted.map(({ c }) => c)).toEqual(["si", "sif"]);
    expect(last().f).toEqual({ v: 1, s: { math: "0a" } });
    start({ consent: "off" });
    expect(loadModule).toHaveBeenCalledTimes(1);
  });
});

describe("tagged link", () => {
  test("the token goes with the landing, and again with the first human signal", async () => {
    start({}, TOKEN);
    await pass();
    expect(last()).toMatchObject({ lt: TOKEN });
    expect(last()).not.toHaveProperty("hs");
    press();
    press();
    await pass();
    expect(names()).toEqual([["page_view"], ["link_confirm"]]);
    expect(last()).toMatchObject({ lt: TOKEN, hs: "key" });
  });

  test("it is never written to the device, and other beacons do not carry it", async () => {
    const set = vi.spyOn(document, "cookie", "set");
    const run = start({}, TOKEN);
    await pass();
    run("track", "later");
    await pass();
    expect(last()).not.toHaveProperty("lt");
    for (const [cookie] of set.mock.calls) expect(cookie).not.toContain(TOKEN.slice(0, 12));
    expect(JSON.stringify({ ...localStorage, ...sessionStorage })).not.toContain(TOKEN.slice(0, 12));
  });

  test("a human signal before consent counts once identity is consented to", async () => {
    const run = start({ consent: "required" }, TOKEN);
    press();
    run("consent", { storage: true });
    await pass();
    expect(names()).toEqual([["page_view"]]);
    expect(last()).not.toHaveProperty("lt");
    run("consent", { identity: true });
    await pass();
    expect(names()[1]).toEqual(["link_confirm"]);
    expect(last()).toMatchObject({ lt: TOKEN, hs: "key" });
  });

  test("after a reset the link confirms nobody", async () => {
    const run = start({}, TOKEN);
    run("reset");
    press();
    await pass();
    expect(names().flat()).not.toContain("link_confirm");
  });
});

describe("visitor", () => {
  test("the collector's visitor id is taken over for what comes, and written", async () => {
    const other = makeId();
    collector.answers = [new Response(JSON.stringify({ d: other }), { status: 200 })];
    const run = start();
    await pass();
    run("track", "after");
    await pass();
    expect(last().d).toBe(other);
    expect(decodeMemory(readCookie("_ts_v"))?.visitor).toBe(other);
  });

  test("an answer about the visitor before a reset does not undo the reset", async () => {
    collector.answers = [new Response(JSON.stringify({ d: makeId() }), { status: 200 })];
    const run = start();
    await pass(300);
    const before = last().d;
    visit("https://shop.example/");
    run("reset");
    await pass();
    expect(last().d).not.toBe(before);
  });

  test("reset: a new visitor and session at once, the old id beside it until the collector has answered", async () => {
    const run = start();
    await pass();
    const before = last();
    run("reset");
    run("track", "anonymous");
    await pass();
    expect(names()[1]).toEqual(["reset", "anonymous"]);
    expect(last().rf).toBe(before.d);
    expect(last().d).not.toBe(before.d);
    expect(last().x).toMatchObject({ n: 1 });
    expect(last().x?.i).not.toBe(before.x?.i);
    run("track", "later");
    await pass();
    expect(last()).not.toHaveProperty("rf");
  });

  test("a reset survives the page it was called on", () => {
    const run = start();
    run("reset");
    setVisibility("hidden");
    const sent = collector.beaconed.at(-1) as Envelope;
    expect(decodeMemory(readCookie("_ts_v"))).toMatchObject({ visitor: sent.d, resetFrom: sent.rf });
  });

  test("a reset before consent holds: the visitor that the device remembers is left behind", async () => {
    start();
    await pass();
    const before = last().d;
    const run = start({ consent: "required" });
    run("identify", "4711");
    run("reset");
    run("consent", "all");
    await pass();
    expect(names()[1]).toEqual(["page_view", "reset"]);
    expect(last().rf).toBe(before);
  });

  test("a clock that is wrong is corrected on later events, frozen on earlier ones", async () => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    collector.answers = [new Response(null, { status: 204, headers: { Date: date } })];
    const run = start();
    await pass();
    expect(last()).not.toHaveProperty("o");
    run("track", "later");
    await pass();
    expect(Math.abs((last().o as number) - 3_600_000)).toBeLessThan(1500);
    start();
    await pass();
    expect(last().o).toBe(collector.posted[1]?.o);
  });
});

describe("the page's life", () => {
  test("on hide everything leaves at once", () => {
    start();
    setVisibility("hidden");
    dispatchEvent(new Event("pagehide"));
    expect(names(collector.beaconed)).toEqual([["page_view"]]);
  });

  test("out of the back-forward cache it is a page view again, as the visitor of now", async () => {
    start();
    setVisibility("hidden");
    dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    await pass();
    expect(names()).toEqual([["page_view"]]);
    expect(collector.posted[0]?.e[0]?.i).not.toBe(collector.beaconed[0]?.e[0]?.i);
  });

  test("a device that refuses cookies does not stop the tag", async () => {
    vi.spyOn(document, "cookie", "get").mockReturnValue("");
    const run = start();
    run("track", "a");
    await pass();
    run("track", "b");
    await pass();
    expect(names()).toEqual([["page_view", "a"], ["b"]]);
    expect(collector.posted[1]?.d).toBe(collector.posted[0]?.d);
  });
});
