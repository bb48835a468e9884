import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Profile } from "../src/api";
import type { Item } from "../src/envelope";
import type { ProfileListener } from "../src/modules";
import { followProfile } from "../src/profile/follow";
import { makeSettings, stopListening, visit, watchListeners } from "./fakes";
import { put } from "./trusted";

const NOBODY = { known: false, level: 0, traits: {}, audiences: [], offers: [] };
const ADA = {
  v: 1,
  known: true,
  level: 3,
  traits: { first_name: "Ada", plan: "gold" },
  audiences: ["loyal"],
  offers: [],
};

let isAllowed: boolean;
let asked: {
  url: string;
  init: RequestInit;
  answer: (body: unknown) => Promise<unknown>;
  fail: () => Promise<unknown>;
}[];
let heard: ((event: { n: string }) => void)[];
let tracked: unknown[];
let heed: (items?: Item[]) => void;

beforeEach(() => {
  vi.useFakeTimers();
  visit("https://shop.example/");
  watchListeners();
  document.body.innerHTML = "";
  document.documentElement.className = "";
  isAllowed = true;
  asked = [];
  heard = [];
  tracked = [];
  vi.stubGlobal("fetch", (url: URL, init: RequestInit) => {
    return new Promise((resolve, reject) => {
      asked.push({
        url: `${url}`,
        init,
        answer: (body) => {
          resolve(new Response(typeof body === "string" ? body : JSON.stringify(body)));
          return vi.advanceTimersByTimeAsync(0);
        },
        fail: () => {
          reject(new TypeError("offline"));
          return vi.advanceTimersByTimeAsync(0);
        },
      });
      init.signal?.addEventListener("abort", () => reject(init.signal?.reason));
    });
  });
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** Begin with a listener; returns what it was told. */
function follow(changes = {}, more: ProfileListener[] = []): { told: Profile[]; listeners: ProfileListener[] } {
  const told: Profile[] = [];
  const listeners: ProfileListener[] = [(profile) => told.push(profile), ...more];
  const commands = {
    on: (_: string, listener: (event: { n: string }) => void) => heard.push(listener),
    track: (...event: unknown[]) => tracked.push(event),
  };
  heed = followProfile(listeners, makeSettings(changes), commands as never, () => isAllowed);
  return { told, listeners };
}

/** The tag says an event to its listeners, and has the module look. */
function note(name: string): void {
  for (const listener of heard) listener({ n: name });
  heed();
}

function leave(type: "pagehide" | "pageshow"): void {
  window.dispatchEvent(Object.assign(new Event(type), { persisted: true }));
}

async function settle(answer: unknown = ADA, changes = {}): Promise<Profile[]> {
  const { told } = follow(changes);
  await asked[0]?.answer(answer);
  return told;
}

test("one question, beside the beacons, with cookies, and the listener is told the answer", async () => {
  const told = await settle();
  const { v, ...ada } = ADA;
  expect(v).toBe(1);
  expect(told).toEqual([ada]);
  expect(asked).toHaveLength(1);
  expect(asked[0]).toMatchObject({ url: "https://shop.example/x/me?s=shop", init: { credentials: "include" } });
});

test("without consent nothing is asked, and nobody is known at once; with it, once", async () => {
  isAllowed = false;
  const { told } = follow();
  note("page_view");
  expect([asked, told]).toEqual([[], [NOBODY]]);
  isAllowed = true;
  heed();
  heed();
  expect(asked).toHaveLength(1);
  await asked[0]?.answer(ADA);
  expect(told.map(({ known }) => known)).toEqual([false, true]);
});

test("consent that goes takes the profile along at once, and an answer on its way is nobody's", async () => {
  const told = await settle();
  isAllowed = false;
  heed();
  expect(told.at(-1)).toEqual(NOBODY);
  isAllowed = true;
  heed();
  isAllowed = false;
  heed();
  await asked[1]?.answer(ADA);
  expect(told).toHaveLength(2);
  // The collector has fallen silent meanwhile, of which nobody tells.
  isAllowed = true;
  heed();
  isAllowed = false;
  await asked[2]?.answer(ADA);
  expect(told).toHaveLength(2);
});

test("each page view is one question, whatever else is noted", async () => {
  await settle();
  note("add_to_cart");
  heed();
  expect(asked).toHaveLength(1);
  note("page_view");
  note("add_to_cart");
  expect(asked).toHaveLength(2);
});

test("an answer to the view before counts no more", async () => {
  const { told } = follow();
  note("page_view");
  await asked[0]?.answer(ADA);
  expect(told).toEqual([]);
  await asked[1]?.answer({ ...ADA, traits: {} });
  expect(told.map(({ traits }) => traits)).toEqual([{}]);
});

test("what says who it is leads to one more question, once it can be known; what does not leads to none", async () => {
  const told = await settle({ ...ADA, known: false });
  const item = (event: object, extra = {}): Item => ({ event, extra, context: {} }) as Item;
  heed([item({ n: "page_view" })]);
  await pass(5000);
  expect(asked).toHaveLength(1);
  heed([item({ n: "page_view" }), item({ n: "identify", k: [{ k: "customer", v: "4711" }] })]);
  await pass(1999);
  expect(asked).toHaveLength(1);
  await pass(1);
  expect(asked).toHaveLength(2);
  await asked[1]?.answer(ADA);
  expect(told.map(({ known }) => known)).toEqual([false, true]);
  heed([item({ n: "link_confirm" }, { lt: "token", hs: "key" })]);
  await pass(2000);
  expect(asked).toHaveLength(3);
});

test("after a reset the question waits until the collector has heard of it", async () => {
  const told = await settle();
  isAllowed = false; // as the tag says from the reset on
  note("reset");
  expect(told.at(-1)).toEqual(NOBODY);
  note("page_view");
  heed([{ event: { n: "reset" }, extra: {}, context: {} } as Item]);
  isAllowed = true;
  await pass(2000);
  expect(asked).toHaveLength(2);
});

test("a listener is told of changes only, one that comes later is told at once, and each has a copy of its own", async () => {
  const spoil: ProfileListener = (profile) => {
    profile.traits = {};
    throw new Error("the page's own");
  };
  const { told, listeners } = follow({}, [spoil]);
  listeners.push(spoil); // before anything is settled
  await asked[0]?.answer(ADA);
  note("page_view");
  await asked[1]?.answer(ADA);
  expect(told.map(({ traits }) => traits)).toEqual([ADA.traits]);
  const late = vi.fn();
  expect(listeners.push(late)).toBeGreaterThan(1);
  expect(late.mock.calls.map(([{ traits }]) => traits)).toEqual([ADA.traits]);
  note("page_view");
  await asked[2]?.answer({ ...ADA, level: 4 });
  expect([told.length, late.mock.calls.length]).toEqual([2, 2]);
});

test.each([
  ["no JSON", "<h1>Sign in</h1>"],
  ["null", null],
  ["a list", []],
  ["another version", { ...ADA, v: 2 }],
  ["no version", { ...ADA, v: undefined }],
  ["no audiences", { ...ADA, audiences: undefined }],
  ["offers that are no list", { ...ADA, offers: "hero" }],
  ["an offer that is none", { ...ADA, offers: [null] }],
  ["an error", { error: "not found" }],
])("an answer of another form (%s) is nobody", async (_, answer) => {
  expect(await settle(answer)).toEqual([NOBODY]);
});

test.each([1, "true", {}, [], null])(
  "only true is known, not %j, and who is not known has no traits",
  async (known) => {
    expect(await settle({ ...ADA, known })).toEqual([{ ...NOBODY, level: 3, audiences: ["loyal"] }]);
  },
);

test("no network, a page's own fetch that throws, and three seconds without an answer are nobody", async () => {
  const { told } = follow();
  await asked[0]?.fail();
  expect(told).toEqual([NOBODY]);
  const slow = follow();
  await pass(2999);
  expect(slow.told).toEqual([]);
  await pass(1);
  expect(slow.told).toEqual([NOBODY]);
  await asked[1]?.answer(ADA);
  expect(slow.told).toHaveLength(1);
  vi.stubGlobal("fetch", () => {
    throw new Error("the page's own");
  });
  const thrown = follow();
  await pass(0);
  expect(thrown.told).toEqual([NOBODY]);
});

test("nothing is kept on the device", async () => {
  await settle();
  expect([document.cookie, localStorage.length, sessionStorage.length]).toEqual(["", 0, 0]);
});

test("a page in the back-forward cache holds nothing, and asks anew when it is seen again", async () => {
  put("<b id=it data-ts-text=first_name>friend</b>");
  const told = await settle();
  expect(document.body.textContent).toBe("Ada");
  leave("pagehide");
  expect(document.body.textContent).toBe("friend");
  expect(document.documentElement.className).toBe("");
  expect(told.at(-1)).toEqual(NOBODY);
  expect(asked).toHaveLength(1);
  note("page_view"); // the tag's own listener comes first
  leave("pageshow");
  expect(asked).toHaveLength(2);
  await asked[1]?.answer(ADA);
  expect(document.body.textContent).toBe("Ada");
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  expect(told).toHaveLength(3);
});

test.each([
  [undefined, 400],
  ["400", 400],
  ["on", 400],
  [900, 900],
])("slots that are hidden wait no longer than data-profile says: %s", async (profile, ms) => {
  follow({ profile });
  await pass(ms - 1);
  expect(document.documentElement.className).toBe("");
  await pass(1);
  expect(document.documentElement.className).toBe("ts-ready");
});

test("slots are shown as soon as they are filled, be it with nothing", async () => {
  await settle();
  expect(document.documentElement.className).toBe("ts-ready");
  document.documentElement.className = "";
  isAllowed = false;
  follow();
  expect(document.documentElement.className).toBe("ts-ready");
});
