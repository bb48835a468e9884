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
  HANDOVER,
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
const note = vi.fn();
const stop = (seconds: number): Response =>
  new Response(null, { status: 204, headers: { "X-Tagstitch-Stop": `${seconds}` } });

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
  takeOver(calls, createTag(makeSettings(changes), token ? { lt: token } : {}, note), () => {});
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
  ["a number", () => 1],
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
    const run = start({ consent: "required" });
    run("track", "seen");
    run("identify", "4711", { signature: "1.2.3" });
    await pass(60_000);
    history.pushState(null, "", "/later");
    setVisibility("hidden");
    setVisibility("visible");
    expect([get.mock.calls, collector.posted, collector.beaconed]).toEqual([[], [], []]);
    // One spy, not two on one property: undone, they would leave each other behind.
    get.mockRestore();
    expect([document.cookie, localStorage.length, sessionStorage.length]).toEqual(["", 0, 0]);

    const answeredMs = Date.now();
    run("consent", "all");
    await pass();
    expect(names()).toEqual([["page_view", "seen", "identify"]]);
    expect(last()).toMatchObject({
      u: "https://shop.example/offer?utm_source=news",
      r: "https://search.example/",
      c: "aifpm",
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
    run("consent", { analytics: true });
    run("identify", "4711");
    run("track", "seen");
    await pass();
    expect(names()).toEqual([["page_view", "seen"]]);
    run("consent", { identity: true });
    await pass();
    expect(names()[1]).toEqual(["identify", "consent"]);
    expect(last().c).toBe("ai");
  });

  test("taking identity back takes back what waits for another try, and keeps the rest", async () => {
    collector.answers = [new Error("offline")];
    const run = start({ consent: "required", page: false });
    run("consent", "all");
    run("identify", "4711");
    run("track", "seen");
    await pass();
    collector.posted.length = 0;
    run("consent", { identity: false });
    await pass(10_000);
    expect(names()).toEqual([["seen"], ["consent"]]);
  });

  test("an answer that changes is told at once, one that was just given with its proof", async () => {
    const run = start({ consent: "required" });
    run("consent", { analytics: true, marketing: true }, { source: "our banner", proof: "record 17", policy: 3 });
    await pass();
    expect(names()).toEqual([["page_view", "consent"]]);
    expect(last().e[1]?.p).toEqual({ source: "our banner", proof: "record 17", policy: 3 });
    run("consent", { analytics: true, marketing: true });
    await pass();
    expect(collector.posted).toHaveLength(1);
    run("consent", { marketing: false });
    await pass();
    expect(names()[1]).toEqual(["consent"]);
    expect(last().c).toBe("a");
    run("consent", "none", { source: "our banner" });
    await pass();
    expect(last()).toMatchObject({ c: "", e: [{ n: "consent", p: { source: "our banner" } }] });
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
    run("consent", { analytics: true, identity: true });
    await pass(1);
    expect(loadModule).not.toHaveBeenCalled();
    run("consent", { fingerprint: true });
    expect(loadModule).toHaveBeenCalledTimes(1);
    const [, , use] = vi.mocked(loadModule).mock.calls[0] as Parameters<typeof loadModule<"f">>;
    use(async () => ({ v: 1, s: { math: "0a" } }));
    await pass();
    expect(names()).toEqual([["page_view"], ["consent", "fingerprint"]]);
    expect(collector.posted.map(({ c }) => c)).toEqual(["ai", "aif"]);
    expect(last().f).toEqual({ v: 1, s: { math: "0a" } });
    setVisibility("hidden"); // the next page finds what this one has written
    setVisibility("visible");
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
    run("consent", { analytics: true });
    await pass();
    expect(names()).toEqual([["page_view"]]);
    expect(last()).toMatchObject({ c: "a", lt: TOKEN }); // the collector counts its campaign, and nothing else of it
    expect(last()).not.toHaveProperty("hs");
    run("consent", { identity: true });
    await pass();
    expect(names()[1]).toEqual(["link_confirm", "consent"]);
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

describe("the page's script", () => {
  test("does not wait for the device: cookies and storages are looked at when the browser is idle", async () => {
    const get = vi.spyOn(document, "cookie", "get");
    const item = vi.spyOn(Storage.prototype, "getItem");
    const run = start();
    run("track", "seen");
    run("identify", "4711");
    run("consent", "all");
    const touches = [get.mock.calls.length, item.mock.calls.length];
    for (const spy of [get, item]) spy.mockRestore();
    expect(touches).toEqual([0, 0]);
    expect(document.cookie).toBe("");
    await pass(1);
    expect(readCookie("_ts_v")).not.toBe("");
    await pass();
    expect(names()).toEqual([["page_view", "seen", "identify"]]);
  });

  test("and a page that is left before that loses nothing", () => {
    const run = start();
    run("track", "seen");
    setVisibility("hidden");
    expect(names(collector.beaconed)).toEqual([["page_view", "seen"]]);
    expect(collector.beaconed[0]?.d).toBe(decodeMemory(readCookie("_ts_v"))?.visitor);
  });

  test("a withdrawal before that takes back what was said, and writes nothing", async () => {
    const run = start();
    run("track", "seen");
    run("consent", "none");
    await pass();
    expect([collector.posted, document.cookie, localStorage.length]).toEqual([[], "", 0]);
  });
});

describe("visitor", () => {
  test("what was said before a reset is about the visitor before it, even in the page's first task", async () => {
    const run = start();
    run("identify", "4711");
    run("reset");
    run("track", "anonymous");
    await pass();
    expect(names()).toEqual([
      ["page_view", "identify"],
      ["reset", "anonymous"],
    ]);
    expect(last().rf).toBe(collector.posted[0]?.d);
  });

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
    await pass(301);
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

describe("cookieless", () => {
  test("before the answer events go without visitor, session and facts, and nothing on the device is read or written", async () => {
    const storage = vi.spyOn(Storage.prototype, "getItem");
    const run = start({ consent: "cookieless" });
    run("track", "seen");
    run("identify", "4711");
    await pass();
    expect(names()).toEqual([["page_view", "seen"]]);
    for (const field of ["d", "x", "c", "l", "z", "w", "o"]) expect(last()).not.toHaveProperty(field);
    expect(last().e[0]).not.toHaveProperty("p");
    expect([storage.mock.calls, document.cookie, localStorage.length]).toEqual([[], "", 0]);
  });

  test("with the grant what comes is as usual, and what waited for it goes", async () => {
    const run = start({ consent: "cookieless" });
    run("identify", "4711");
    await pass();
    run("consent", "all");
    run("track", "after");
    await pass();
    expect(names()[1]).toEqual(["identify", "after"]);
    expect(last()).toMatchObject({ c: "aifpm", d: expect.stringMatching(/-7/), x: { n: 1 } });
  });

  test("a refusal is sent along, and identifiers are gone", async () => {
    const run = start({ consent: "cookieless" });
    run("identify", "4711");
    run("consent", "none");
    run("track", "after");
    await pass();
    expect(names().flat()).toEqual(["after"]);
    expect(last().c).toBe("");
    expect(last()).not.toHaveProperty("d");
  });

  test("a token of the address is not sent without consent to storage", async () => {
    start({ consent: "cookieless" }, TOKEN);
    await pass();
    expect(last()).not.toHaveProperty("lt");
  });
});

describe("silence", () => {
  test("what the collector asks for is kept: nothing more is sent on this page, nor on the next", async () => {
    collector.answers = [stop(60)];
    const run = start();
    await pass();
    run("track", "unheard");
    await pass();
    start();
    await pass();
    expect(names()).toEqual([["page_view"]]);
    await pass(60_000);
    setVisibility("hidden");
    setVisibility("visible");
    run("track", "heard");
    await pass();
    expect(names()[1]).toEqual(["heard"]);
  });

  test("an objection empties the device, tells the collector once without naming the visitor, and lasts", async () => {
    const run = start();
    await pass();
    run("optOut");
    run("track", "unheard");
    await pass();
    expect(names()).toEqual([["page_view"], ["consent"]]);
    expect(last()).not.toHaveProperty("d");
    expect(document.cookie).toBe("_ts_out=1");
    expect(localStorage).toHaveLength(0);
    start();
    await pass();
    expect(collector.posted).toHaveLength(2);
    run("optIn");
    run("track", "heard");
    await pass();
    expect(names()[2]).toEqual(["heard"]);
  });
});

describe("consent that changed elsewhere", () => {
  test("what another tab has removed is not written back, and nothing more is sent from here until the page says so", async () => {
    const run = start();
    await pass();
    for (const part of document.cookie.split("; ")) {
      // biome-ignore lint/suspicious/noDocumentCookie: the other tab's withdrawal.
      document.cookie = `${part.split("=")[0]}=;path=/;max-age=-1`;
    }
    localStorage.clear();
    setVisibility("hidden");
    expect(document.cookie).toBe("");
    collector.beaconed.length = collector.posted.length = 0;
    setVisibility("visible");
    run("track", "unheard");
    await pass();
    expect([names(), names(collector.beaconed)]).toEqual([[], [["consent"]]]);
    expect(document.cookie).toBe("");
  });

  test("a wish for silence never takes the place of an objection", async () => {
    const run = start();
    await pass();
    collector.answers = [stop(86_400)];
    run("optOut");
    await pass();
    expect(document.cookie).toBe("_ts_out=1");
  });

  test("after an objection nothing that was kept is sent", async () => {
    localStorage.setItem("_ts_vq", JSON.stringify([{ event: { i: "x", n: "kept" }, context: {}, extra: {} }]));
    // biome-ignore lint/suspicious/noDocumentCookie: the collector's page has set it.
    document.cookie = "_ts_out=1;path=/";
    start();
    await pass(5000);
    setVisibility("hidden");
    setVisibility("visible");
    await pass(5000);
    expect(collector.posted).toEqual([]);
    expect(document.cookie).toBe("_ts_out=1");
  });
});

describe("who", () => {
  test("an alias names the other and, where the page has identified somebody, both", async () => {
    const run = start({ page: false });
    run("alias", "kim@example.org", { kind: "email" });
    run("identify", "4711", { signature: "1.2.3" });
    run("alias", "K-9", { kind: "loyalty", signature: "1.2.4" });
    run("reset");
    run("alias", "after");
    run("alias", "");
    await pass();
    const ids = collector.posted.flatMap(({ e }) => e).map(({ n, k }) => [n, k?.map(({ v }) => v)]);
    expect(ids).toEqual([
      ["alias", ["kim@example.org"]],
      ["identify", ["4711"]],
      ["alias", ["4711", "K-9"]],
      ["reset", undefined],
      ["alias", ["after"]],
    ]);
  });

  test("an ID token names the customer by itself", async () => {
    start({ page: false })("identify", "", { token: "e30.e30.c2ln" });
    await pass();
    expect(last().e[0]?.k).toEqual([{ k: "customer", v: "", j: "e30.e30.c2ln" }]);
  });

  test("with the nonce that the page had asked for", async () => {
    start({ page: false })("identify", "", { token: "e30.e30.c2ln", nonce: "n-1" });
    await pass();
    expect(last().e[0]?.k).toEqual([{ k: "customer", v: "", j: "e30.e30.c2ln", n: "n-1" }]);
  });

  test("a group is an event with its kind, id and traits", async () => {
    start({ page: false })("group", 42, { traits: { seats: 5 } });
    await pass();
    expect(last().e[0]).toMatchObject({
      n: "group",
      p: { group_kind: "company", group_id: "42", traits: { seats: 5 } },
    });
  });

  test("what the site captures rides on the page view, once a session while it is the same, and only with consent to identity", async () => {
    const changes = { capture: "customer=js:shopCustomer", consent: "required" } as const;
    (window as unknown as Record<string, unknown>).shopCustomer = "4711";
    const claims = (): unknown[] => collector.posted.flatMap(({ e }) => e).map(({ k }) => k?.[0]?.v);
    let run = start(changes);
    run("consent", { analytics: true });
    await pass();
    expect(claims()).toEqual([undefined]);
    run = start(changes);
    run("consent", "all");
    await pass();
    start({ ...changes, consent: "implied" });
    await pass();
    (window as unknown as Record<string, unknown>).shopCustomer = "4712";
    start({ ...changes, consent: "implied" });
    await pass();
    Reflect.deleteProperty(window, "shopCustomer");
    expect(claims()).toEqual([undefined, "4711", undefined, "4712"]);
  });
});

describe("hand-over", () => {
  test("a page view asks for a token where domains are listed, and the answer's decorates links", async () => {
    collector.answers = [new Response(JSON.stringify({ x: HANDOVER }), { status: 200 })];
    const run = start({ domains: "other.example" });
    await pass();
    expect(last().xl).toBe(1);
    const use = vi.fn();
    run("link", "https://other.example/", use);
    expect(use).toHaveBeenCalledWith(`https://other.example/?_tsh=${HANDOVER}`);
  });

  test("who arrives with a token sends it once, with consent to identity", async () => {
    const arrive = (changes: Partial<Settings>) =>
      takeOver([], createTag(makeSettings(changes), { _tsh: HANDOVER }, note), note);
    const run = arrive({});
    run("track", "later");
    await pass();
    run("track", "last");
    await pass();
    expect(collector.posted.map(({ ho }) => ho)).toEqual([HANDOVER, undefined]);
    arrive({ consent: "required" })("consent", { analytics: true });
    await pass();
    expect(last()).not.toHaveProperty("ho");
  });
});

describe("routes", () => {
  const { pushState, replaceState } = history;
  afterEach(() => Object.assign(history, { pushState, replaceState }));
  const go = (path: string): void => {
    history.pushState(null, "", path);
    dispatchEvent(new Event("popstate")); // happy-dom has no Navigation API, and one listener for each start
  };
  const paths = (): string[] =>
    collector.posted.flatMap(({ u, e }) => e.map((event) => new URL((event.u || u) as string).pathname));

  test("a change of path is a page view, with the title that the router sets afterwards", async () => {
    start({ auto: "spa" });
    go("/a");
    document.title = "A";
    await pass();
    expect(paths()).toEqual(["/offer", "/a"]);
    expect(collector.posted[0]?.e[1]).toMatchObject({
      n: "page_view",
      h: "A",
      r: "https://shop.example/offer?utm_source=news",
    });
  });

  test("the same path again, and a fragment alone, are no page views; a fragment is one with `hash`", async () => {
    start({ auto: "spa" });
    go("/offer?utm_source=news");
    go("/offer?utm_source=news#reviews");
    await pass();
    expect(paths()).toEqual(["/offer"]);
    start({ auto: "spa hash", page: false });
    go("/offer?utm_source=news#/basket");
    await pass();
    expect(paths()).toEqual(["/offer", "/offer"]);
  });

  test("routes that follow each other at once are one page view: the last", async () => {
    start({ auto: "spa" });
    go("/login");
    go("/account");
    await pass();
    expect(paths()).toEqual(["/offer", "/account"]);
  });

  test("a site that calls `page` for each route has each once, whoever comes first", async () => {
    const run = start({ auto: "spa" });
    run("page"); // the router's first route, which was counted by itself
    go("/a");
    run("page");
    await pass();
    go("/b");
    await pass();
    run("page"); // late, after ours
    await pass();
    expect(paths()).toEqual(["/offer", "/a", "/b"]);
    run("page"); // asked for twice: wanted

    run("page", { step: 2 });
    await pass();
    expect(paths()).toHaveLength(5);
  });
});

describe("hooks", () => {
  test("a view that was not kept is not counted: the page's own call is", async () => {
    const run = start({ consent: "required", auto: "spa" }, "", [["consent", "none"]]);
    run("consent", "all");
    run("page");
    await pass();
    expect(names()).toEqual([["page_view"]]);
  });

  test("what a hook makes unsendable costs that event alone", async () => {
    const run = start({
      page: false,
      beforeSend: (event) => (event.n === "big" ? { ...event, p: { n: BigInt(1) } } : event),
    });
    run("track", "big");
    run("track", "good");
    await pass();
    expect(names()).toEqual([["good"]]);
  });

  test("a page's own fetch that throws is a network that is away", async () => {
    const run = start();
    vi.stubGlobal("fetch", () => {
      throw new Error("page's mistake");
    });
    await pass();
    collector = fakeCollector();
    run("track", "later");
    await pass(5000);
    expect(names()).toEqual([["page_view", "later"]]);
  });

  test("beforeSend changes an event, or drops it; one that throws lets nothing through", async () => {
    const run = start({
      page: false,
      beforeSend: (event) => {
        if (event.n === "secret") return null;
        if (event.n === "broken") throw new Error("site's mistake");
        return { ...event, h: "title removed" };
      },
    });
    for (const name of ["secret", "broken", "plain"]) run("track", name);
    await pass();
    expect(names()).toEqual([["plain"]]);
    expect(last().h).toBe("title removed");
    expect(last().e[0]?.q).toBe(1);
  });

  test("a listener hears each event as it was queued, and cannot stop it", async () => {
    const heard = vi.fn(() => {
      throw new Error("listener's mistake");
    });
    const run = start({ page: false });
    run("on", "event", heard);
    run("track", "plain");
    await pass();
    expect(heard).toHaveBeenCalledWith(expect.objectContaining({ n: "plain" }));
    expect(names()).toEqual([["plain"]]);
  });

  test("an add-on begins with consent to its purpose, has the commands, and its mistakes stay with it", async () => {
    const run = start({ page: false, consent: "required" });
    const addOn = vi.fn((tag) => tag.track("from_add_on"));
    run("use", addOn, { purpose: "fingerprint" });
    run("use", () => {
      throw new Error("add-on's mistake");
    });
    run("consent", { analytics: true, identity: true });
    await pass();
    expect(addOn).not.toHaveBeenCalled();
    run("consent", "all");
    run("consent", "all");
    await pass();
    expect(addOn).toHaveBeenCalledTimes(1);
    expect(names().flat()).toEqual(["consent", "from_add_on"]);
  });

  test("an add-on may be a module of its own", async () => {
    vi.useRealTimers();
    const run = start({ page: false });
    run("use", "data:text/javascript,export default (tag) => tag.track('from_module')");
    await vi.waitFor(() => expect(names().flat()).toEqual(["from_module"]), { timeout: 3000 });
  });
});

describe("offline", () => {
  afterEach(() => Object.defineProperty(navigator, "onLine", { value: true, configurable: true }));

  test("what was not sent when the page was left is sent by the next page, once", async () => {
    const run = start();
    await pass();
    Object.defineProperty(navigator, "onLine", { value: false, configurable: true });
    run("track", "offline");
    setVisibility("hidden");
    expect(collector.beaconed).toEqual([]);
    expect(localStorage.getItem("_ts_vq")).toContain("offline");
    stopListening();
    Object.defineProperty(navigator, "onLine", { value: true, configurable: true });
    setVisibility("visible");
    collector.posted.length = 0;
    start();
    start();
    await pass(5000);
    expect(
      names()
        .flat()
        .filter((name) => name === "offline"),
    ).toHaveLength(1);
    expect(localStorage.getItem("_ts_vq")).toBeNull();
  });

  test("withdrawal empties the shelf", async () => {
    const run = start();
    Object.defineProperty(navigator, "onLine", { value: false, configurable: true });
    setVisibility("hidden");
    expect(localStorage.getItem("_ts_vq")).not.toBeNull();
    run("consent", "none");
    expect(localStorage).toHaveLength(0);
  });
});
