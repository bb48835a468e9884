// What the tag does for the profile's module: loads it once, tells it when something may have changed, and says whether
// the visitor may be known.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Item } from "../src/envelope";
import { loadModule, type Modules } from "../src/modules";
import { takeOver } from "../src/queue";
import type { Settings } from "../src/settings";
import { createTag } from "../src/tag";
import {
  type FakeCollector,
  fakeCollector,
  makeSettings,
  setVisibility,
  standStill,
  stopListening,
  visit,
  watchListeners,
} from "./fakes";

vi.mock("../src/modules", () => ({ loadModule: vi.fn() }));

let collector: FakeCollector;
const onNews = vi.fn();

beforeEach(() => {
  standStill();
  watchListeners();
  collector = fakeCollector();
  vi.mocked(loadModule).mockClear();
  onNews.mockReset();
  visit("https://shop.example/");
  setVisibility("visible");
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

const start = (changes: Partial<Settings> = {}) =>
  takeOver(
    [],
    createTag(makeSettings(changes), {}, () => {}),
    () => {},
  );
const pass = (ms = 1000): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const loaded = (): unknown[] => vi.mocked(loadModule).mock.calls.map(([key]) => key);

/** The module has come; returns what it was handed. */
function arrive(): Parameters<Modules["p"]> {
  const follow = vi.fn<Modules["p"]>(() => onNews);
  const [, , use] = vi.mocked(loadModule).mock.calls[0] as Parameters<typeof loadModule<"p">>;
  use(follow);
  return follow.mock.calls[0] as Parameters<Modules["p"]>;
}

/** Start a tag with the module; returns its function and whether the visitor may be known now. */
function begin(changes: Partial<Settings> = {}): [ReturnType<typeof start>, () => boolean] {
  const run = start(changes);
  run("onProfile");
  const [, , , mayKnow] = arrive();
  return [run, () => !!mayKnow()];
}

test("who wants no profile loads nothing; the first who does loads the module, once, before any consent", () => {
  const run = start({ consent: "required" });
  expect(loaded()).toEqual([]);
  const listeners = [vi.fn(), vi.fn()];
  for (const listener of listeners) run("onProfile", listener);
  expect(loaded()).toEqual(["p"]);
  const [handed, settings, commands] = arrive();
  expect([handed, settings.site]).toEqual([listeners, "shop"]);
  expect(commands).toHaveProperty("track");
  run("onProfile", vi.fn());
  expect([loaded(), handed.length]).toEqual([["p"], 3]);
});

test.each([
  ["400", 1],
  [400, 1],
  [undefined, 0],
  [false, 0],
  ["", 0],
])("data-profile %j loads it %d times", (profile, times) => {
  const run = start({ profile } as Partial<Settings>);
  expect(loaded()).toHaveLength(times);
  run("onProfile", vi.fn());
  expect(loaded()).toEqual(["p"]);
});

test.each([
  ["all", true],
  [{ analytics: true, identity: true, personalisation: true }, true],
  [{ analytics: true, identity: true }, false],
  [{ analytics: true, personalisation: true }, false],
  [{ identity: true, personalisation: true }, false],
  ["none", false],
])("consent %j: may be known %s", async (answer, isSo) => {
  const [run, mayKnow] = begin({ consent: "required" });
  expect(mayKnow()).toBe(false);
  onNews.mockClear();
  run("consent", answer);
  expect(onNews).toHaveBeenCalledWith();
  await pass();
  expect(mayKnow()).toBe(isSo);
});

test("nothing on the device is looked at before consent, and nothing is asked of the visitor under cookieless", () => {
  const get = vi.spyOn(document, "cookie", "get");
  for (const consent of ["required", "cookieless"] as const) {
    vi.mocked(loadModule).mockClear();
    const [, mayKnow] = begin({ consent });
    expect(mayKnow()).toBe(false);
  }
  expect(get).not.toHaveBeenCalled();
});

test("an objection ends it, and it is told when the objection is taken back", async () => {
  const [run, mayKnow] = begin();
  await pass();
  expect(mayKnow()).toBe(true);
  let isKnown: boolean | undefined;
  onNews.mockImplementation(() => {
    isKnown = mayKnow();
  });
  run("optOut");
  expect(isKnown).toBe(false);
  run("optIn");
  expect(isKnown).toBe(true);
});

test("the collector's wish for silence ends it", async () => {
  const [run, mayKnow] = begin();
  collector.answers = [new Response(null, { status: 204, headers: { "X-Tagstitch-Stop": "60" } })];
  run("track", "x");
  await pass();
  expect(mayKnow()).toBe(false);
});

test.each([0, 1000])(
  "from a reset on nobody may be known until the collector has heard of it, %d ms after the start",
  async (ms) => {
    const [run, mayKnow] = begin();
    await pass(ms);
    collector.answers = [new Error("offline")];
    const seen: boolean[] = [];
    run("on", "event", () => seen.push(mayKnow()));
    run("reset");
    expect([seen, mayKnow()]).toEqual([[false], false]);
    await pass(400);
    expect([collector.posted.length > 0, mayKnow()]).toEqual([true, false]);
    await pass(10_000);
    expect(mayKnow()).toBe(true);
  },
);

test("a reset of the page before counts, too, until the collector has heard of it", async () => {
  const run = start();
  await pass();
  const sent = vi.spyOn(navigator, "sendBeacon").mockReturnValue(true);
  run("reset");
  setVisibility("hidden");
  expect(sent).toHaveBeenCalled();
  stopListening();
  vi.mocked(loadModule).mockClear();
  const [, mayKnow] = begin();
  expect(mayKnow()).toBe(false);
  await pass();
  expect(mayKnow()).toBe(true);
});

test("it is told of each event, after the page's listeners, and of what the collector has taken", async () => {
  const [run] = begin();
  await pass();
  onNews.mockClear();
  const order: string[] = [];
  run("on", "event", () => order.push("listener"));
  onNews.mockImplementation((items?: Item[]) => order.push(items ? items.map(({ event }) => event.n).join() : "look"));
  run("identify", "4711");
  expect(order).toEqual(["listener", "look"]);
  await pass();
  expect(order).toEqual(["listener", "look", "identify"]);
});

test("what the collector refuses was not taken", async () => {
  const [run] = begin();
  await pass();
  collector.answers = [new Response("no", { status: 400 }), new Response(null, { status: 503 })];
  onNews.mockClear();
  run("track", "x");
  await pass(400);
  run("track", "y");
  await pass(400);
  expect(onNews.mock.calls.filter(([items]) => items)).toEqual([]);
});
