import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type * as api from "../src/api";
import type { Answer, Preset } from "../src/consent";
import type { IdentifyOptions } from "../src/identify";
import type { Stub } from "../src/queue";
import type { Settings } from "../src/settings";
import type { WireEvent } from "../src/wire";
import {
  type FakeCollector,
  fakeCollector,
  setVisibility,
  standStill,
  stopListening,
  visit,
  watchListeners,
} from "./fakes";

type Package = typeof import("../src/package");
type Scope = Record<string, Stub | undefined>;

let collector: FakeCollector;
let tag: Package;
let asked: string[]; // addresses of lazy modules

beforeEach(async () => {
  standStill();
  watchListeners();
  collector = fakeCollector();
  visit("https://shop.example/offer");
  setVisibility("visible");
  asked = [];
  vi.spyOn(document.head, "append").mockImplementation((element) => {
    asked.push((element as HTMLScriptElement).src);
  });
  vi.resetModules(); // the package is one for the page: each test gets a page of its own
  tag = await import("../src/package");
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
  for (const name of ["tagstitch", "shopTag"]) delete (window as unknown as Scope)[name];
});

const pass = (ms = 1000): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const names = (): string[] => collector.posted.flatMap(({ e }) => e.map(({ n }) => n));
const implied = { site: "shop", consent: "implied" } as const;

test("importing does nothing, starting sends the page view to the site's own origin", async () => {
  await pass();
  expect((window as unknown as Scope).tagstitch).toBeUndefined();
  expect(collector.posted).toEqual([]);
  const fetched = vi.spyOn(window, "fetch");
  tag.start(implied);
  await pass();
  expect(names()).toEqual(["page_view"]);
  expect(fetched.mock.calls[0]?.[0]).toBe("https://shop.example/x/b");
});

test("what is called before the start runs after it, in order, answers about consent first", async () => {
  tag.track("early");
  tag.tagstitch("track", "second");
  tag.consent("all");
  tag.start({ site: "shop" });
  tag.track("third");
  await pass();
  expect(names().slice(0, 4)).toEqual(["page_view", "early", "second", "third"]);
});

test("started twice is started once, with the first settings", async () => {
  const first = tag.start(implied);
  expect(tag.start({ site: "other" })).toBe(first);
  await pass();
  expect(collector.posted.map(({ s }) => s)).toEqual(["shop"]);
});

test("a second copy of the package finds the first and uses it", async () => {
  tag.start(implied);
  vi.resetModules();
  const copy: Package = await import("../src/package");
  copy.track("from_the_copy");
  copy.start(implied);
  copy.track("later");
  await pass();
  expect(names()).toEqual(["page_view", "from_the_copy", "later"]);
});

test("what the page's snippet has kept is run, too", async () => {
  const snippet: Stub = () => {};
  snippet.q = [["track", "from_the_snippet"]];
  (window as unknown as Scope).tagstitch = snippet;
  tag.track("from_the_app");
  tag.start(implied);
  (window as unknown as Scope).tagstitch?.("track", "from_a_consent_tool");
  await pass();
  expect(names()).toEqual(["page_view", "from_the_snippet", "from_the_app", "from_a_consent_tool"]);
});

test("the global function has the name that the site gives it", async () => {
  tag.start({ ...implied, global: "shopTag" });
  expect((window as unknown as Scope).tagstitch).toBeUndefined();
  expect((window as unknown as Scope).shopTag?.isTagstitch).toBe(true);
  tag.track("x");
  await pass();
  expect(names()).toEqual(["page_view", "x"]);
});

test("each function is its command", async () => {
  tag.start({ ...implied, page: false, consent: "off" });
  tag.page({ kind: "article" });
  tag.track("x", { n: 1 });
  tag.identify("4711", { signature: "1.2.3", traits: { plan: "gold" } });
  tag.alias("ada@shop.example", { kind: "email" });
  tag.group("acme", { kind: "company" });
  const heard: string[] = [];
  tag.on("event", (event) => heard.push(event.n));
  tag.use((commands) => commands.track("from_an_add_on"));
  tag.reset();
  const went: string[] = [];
  tag.link("https://shop.example/cart", (url) => went.push(url));
  await pass();
  expect(names().slice(0, 5)).toEqual(["page_view", "x", "identify", "alias", "group"]);
  // An add-on may begin a moment later: some have to be loaded first.
  expect(names().slice(5).sort()).toEqual(["from_an_add_on", "reset"]);
  expect(heard.sort()).toEqual(["from_an_add_on", "reset"]);
  expect(went).toEqual(["https://shop.example/cart"]);
  const [view, x, identify] = collector.posted[0]?.e ?? [];
  expect(view?.p).toMatchObject({ kind: "article" });
  expect(x?.p).toEqual({ n: 1 });
  expect(identify).toMatchObject({ k: [{ k: "customer", v: "4711", g: "1.2.3" }], p: { plan: "gold" } });
  tag.consent("none");
  tag.track("unheard");
  tag.optOut();
  tag.optIn();
  await pass();
  expect(names()).not.toContain("unheard");
});

test("a profile's listener can be taken off, and the promise is nobody's where no answer comes in five seconds", async () => {
  const nobody = { known: false, level: 0, traits: {}, audiences: [], offers: [] };
  const calls: [string, (profile: unknown) => void][] = [];
  (window as unknown as Scope).tagstitch = Object.assign((...call: unknown[]) => calls.push(call as never), {
    isTagstitch: true,
  });
  tag.start(implied);
  const told: unknown[] = [];
  const stop = tag.onProfile((profile) => told.push(profile));
  const early = tag.profile();
  const late = tag.profile();
  const ada = { ...nobody, known: true };
  calls[0]?.[1](ada);
  stop();
  calls[0]?.[1](nobody);
  expect([calls.map(([name]) => name), told]).toEqual([["onProfile", "onProfile", "onProfile"], [ada]]);
  calls[1]?.[1](ada);
  expect(await early).toEqual(ada);
  await pass(5000);
  expect(await late).toEqual(nobody);
  vi.stubGlobal("window", undefined);
  const onServer = await tag.profile(); // at once
  vi.unstubAllGlobals();
  expect(onServer).toEqual(nobody);
});

test.each([
  ["neither", {}, "/x/b", "/x/t.js"],
  ["a script", { script: "/data/tag.js" }, "/data/b", "/data/tag.js"],
  [
    "a script elsewhere",
    { script: "https://d.shop.example/t.js" },
    "https://d.shop.example/b",
    "https://d.shop.example/t.js",
  ],
  ["an endpoint: no lazy module", { endpoint: "/e" }, "/e", ""],
  ["both", { endpoint: "/e", script: "/t.js" }, "/e", "/t.js"],
])("addresses, where the site gives %s", async (_, given, endpoint, script) => {
  const fetched = vi.spyOn(window, "fetch");
  tag.start({ ...implied, ...given, consent: "off", debug: true });
  await pass(5000);
  const origin = "https://shop.example/";
  expect(fetched.mock.calls[0]?.[0]).toBe(new URL(endpoint, origin).href);
  const folder = script && new URL(".", new URL(script, origin)).href;
  expect(asked.filter((src) => !folder || !src.startsWith(folder))).toEqual([]);
  expect(asked.length > 0).toBe(script !== "");
});

test("nothing is thrown, whatever is called", () => {
  const run = tag.tagstitch as unknown as (...call: unknown[]) => void;
  run();
  run("nonsense", 1);
  expect(() => tag.start({ site: "shop", endpoint: "http://[" })).not.toThrow();
  expect(() => run("track", "x", { n: BigInt(1) })).not.toThrow();
  (window as unknown as Record<string, unknown>).tagstitch = 7;
  expect(() => tag.track("x")).not.toThrow();
});

test("where start is never called, what is kept is bounded", async () => {
  for (let i = 0; i < 600; i++) tag.track(`e${i}`);
  tag.start(implied);
  await pass(5000);
  const kept = names().filter((name) => name !== "page_view");
  expect(kept[0]).toBe("e0");
  expect(kept.at(-1)).toBe("e499");
});

// What the compiler checks: the types that a site sees are those of the tag.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

test("the declared types are what the tag takes", async () => {
  const declared: typeof api = tag;
  expect(Object.keys(declared).sort()).toEqual(Object.keys(tag).sort());
  const names: Same<keyof api.Settings, keyof Settings> = true;
  const presets: Same<api.ConsentPreset, Preset> = true;
  const answers: Same<keyof api.Purposes, Exclude<keyof Exclude<Answer, string>, never>> = true;
  const options: Same<keyof api.IdentifyOptions, keyof IdentifyOptions> = true;
  const events: Same<keyof api.TagEvent, keyof WireEvent> = true;
  const given = (settings: Required<Omit<api.Settings, "beforeSend">>): Settings => settings;
  const heard = (event: WireEvent): api.TagEvent => event;
  expect([names, presets, answers, options, events, !!given, !!heard]).not.toContain(false);
});
