import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, type Mock, test, vi } from "vitest";
import { watchConsent } from "../src/consent_tools/watch";
import type { Settings } from "../src/settings";

interface Case<Given> {
  claim: string;
  given: Given;
  says: Record<string, boolean> | null;
}

type Listener = (data: unknown, isDone?: boolean) => void;

const page = window as unknown as Record<string, unknown>;
const NOTHING = { analytics: false, identity: false, fingerprint: false, personalisation: false, marketing: false };
const TCF = read<Record<string, unknown>>("tcf");
const GPP = read<Record<string, unknown>>("gpp");
const GOOGLE = read<unknown[]>("google");

function settings(consentFrom: string, dataLayer = "dataLayer"): Settings {
  return { consentFrom, dataLayer, cookie: "_ts_v" } as Settings;
}

/** What was answered, call by call, without what proves it. */
function answers(answer: Mock): unknown[] {
  return answer.mock.calls.map(([said]) => said);
}

function read<Given>(name: string): Case<Given>[] {
  return JSON.parse(readFileSync(`../tests/data/consent/${name}.json`, "utf8"));
}

/** A tool under this global: answers a listener at once with `given`, and later through `tell`. */
function tool(name: string, given?: unknown): { tell: Listener } {
  const listeners: Listener[] = [];
  page[name] = (...call: unknown[]): void => {
    const listener = call.find((part) => typeof part === "function") as Listener;
    expect(call).toEqual(name === "__gpp" ? ["addEventListener", listener] : ["addEventListener", 2, listener]);
    listeners.push(listener);
    if (given) listener(given, true);
  };
  return { tell: (data) => listeners.forEach((listener) => void listener(data, true)) };
}

/** What gtag's own function puts into the data layer. */
function asArguments(list: unknown): unknown {
  return Array.isArray(list)
    ? (function (..._call: unknown[]) {
        // biome-ignore lint/complexity/noArguments: that is what it is about.
        return arguments;
      })(...list)
    : list;
}

/** A case of TCF by its claim. */
function tcf(claim: string): unknown {
  return TCF.find((one) => one.claim === claim)?.given ?? expect.fail(claim);
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  localStorage.clear();
  for (const name of ["__tcfapi", "__gpp", "dataLayer", "ourLayer"]) Reflect.deleteProperty(page, name);
});

test.each(TCF)("TCF: $claim", ({ given, says }) => {
  tool("__tcfapi", given);
  const answer = vi.fn();
  watchConsent(settings("tcf"), answer);
  expect(answers(answer)).toEqual(says ? [says] : []);
});

test.each(GPP)("GPP: $claim", ({ given, says }) => {
  tool("__gpp", given);
  const answer = vi.fn();
  watchConsent(settings("gpp"), answer);
  expect(answers(answer)).toEqual(says ? [says] : []);
});

test.each(GOOGLE)("Google: $claim", ({ given, says }) => {
  for (const form of [(entry: unknown) => entry, asArguments]) {
    const past = vi.fn();
    page.dataLayer = given.map(form);
    watchConsent(settings("google"), past);
    expect(answers(past).at(-1)).toEqual(says ?? undefined);

    const future = vi.fn();
    page.dataLayer = [];
    watchConsent(settings("google"), future);
    for (const entry of given) (page.dataLayer as unknown[]).push(form(entry));
    expect(answers(future)).toEqual(answers(past));
    expect(page.dataLayer).toHaveLength(given.length);
  }
});

test("only the tools that are named are listened to", () => {
  tool("__tcfapi", tcf("everything accepted just now"));
  const answer = vi.fn();
  for (const from of ["", "gpp google", "other"]) watchConsent(settings(from), answer);
  expect(answer).not.toHaveBeenCalled();
});

test("an answer is told once, and again only when it has changed", () => {
  const { tell } = tool("__tcfapi", tcf("everything accepted by somebody who came before"));
  const answer = vi.fn();
  watchConsent(settings("tcf"), answer);
  tell(tcf("everything accepted just now"));
  tell(tcf("the question is on the screen, with the old answer"));
  expect(answer).toHaveBeenCalledTimes(1);
  tell(tcf("everything refused, legitimate interests stay"));
  tell(tcf("the device without measurement is none"));
  expect(answer).toHaveBeenCalledTimes(2);
  expect(answers(answer).at(-1)).toEqual(NOTHING);
  tell(tcf("device and measurement alone"));
  expect(answers(answer).at(-1)).toEqual({ ...NOTHING, analytics: true });
});

test("what proves an answer is told once, and again when it is another", () => {
  const europe = tool("__tcfapi", TCF[0]?.given);
  const answer = vi.fn();
  watchConsent(settings("tcf"), answer);
  expect(answer.mock.lastCall?.[1]).toEqual({ source: "tcf", proof: TCF[0]?.given.tcString });
  const next = vi.fn(); // on the next page
  watchConsent(settings("tcf"), next);
  expect(next.mock.calls).toEqual([[TCF[0]?.says, undefined]]);
  europe.tell(tcf("device and measurement alone"));
  expect(answer.mock.lastCall?.[1]).toMatchObject({ source: "tcf" });
  europe.tell(tcf("everything refused, legitimate interests stay"));
  expect(answer.mock.lastCall?.[1]).toMatchObject({ source: "tcf" });
});

test("a refusal reads nothing on the device and keeps nothing there", () => {
  const device = vi.spyOn(Storage.prototype, "getItem");
  tool("__tcfapi", tcf("everything refused, legitimate interests stay"));
  watchConsent(settings("tcf"), vi.fn());
  expect([device.mock.calls, localStorage.length]).toEqual([[], 0]);
});

test("TCF outranks GPP and GPP outranks Google, in whatever order they answer", () => {
  const google = { analytics_storage: "denied" };
  page.dataLayer = [["consent", "update", google]];
  const gpp = tool("__gpp");
  const europe = tool("__tcfapi");
  const answer = vi.fn();
  watchConsent(settings("google gpp tcf"), answer);
  expect(answers(answer).at(-1)).toEqual(NOTHING);
  gpp.tell(GPP[0]?.given);
  expect(answers(answer).at(-1)).toEqual(GPP[0]?.says);
  (page.dataLayer as unknown[]).push(["consent", "update", { personalization_storage: "granted" }]);
  expect(answer).toHaveBeenCalledTimes(2);
  europe.tell(tcf("device and measurement alone"));
  expect(answers(answer).at(-1)).toEqual({ ...NOTHING, analytics: true });
  gpp.tell(GPP[2]?.given);
  (page.dataLayer as unknown[]).push(["consent", "update", google]);
  expect(answer).toHaveBeenCalledTimes(3);
});

test.each([
  ["tcf", "__tcfapi", TCF[0]],
  ["gpp", "__gpp", GPP[0]],
])("%s that comes after the tag is found, without a busy timer", (word, name, one) => {
  const wake = vi.spyOn(globalThis, "setTimeout");
  const answer = vi.fn();
  watchConsent(settings(word), answer);
  vi.advanceTimersByTime(5000);
  expect(answer).not.toHaveBeenCalled();
  tool(name, one?.given);
  vi.advanceTimersByTime(5000);
  expect(answers(answer)).toEqual([one?.says]);
  vi.advanceTimersByTime(3_600_000);
  expect(answer).toHaveBeenCalledTimes(1);
  expect(wake.mock.calls.length).toBeLessThan(10);
});

test("a data layer that comes late is read from its beginning, under the name the site gives it", () => {
  const answer = vi.fn();
  watchConsent(settings("google", "ourLayer"), answer);
  expect(page).not.toHaveProperty("ourLayer"); // made by the page, or by nobody
  page.ourLayer = GOOGLE.find((one) => one.claim === "everything granted")?.given;
  vi.advanceTimersByTime(1000);
  expect(answers(answer)).toEqual([
    { analytics: true, identity: true, fingerprint: false, personalisation: true, marketing: true },
  ]);
});

test("a tool that never comes is given up after two minutes", () => {
  watchConsent(settings("tcf gpp google"), () => expect.fail());
  vi.advanceTimersByTime(120_000);
  expect(vi.getTimerCount()).toBe(0);
});

test("the page's push gets what it got before, this and return value included, also where it throws", () => {
  class Layer extends Array<unknown> {
    override push(...entries: unknown[]): number {
      if (entries[0] === "broken") throw new RangeError("the page's own");
      return super.push(...entries) + 100;
    }
  }
  const layer = new Layer();
  page.dataLayer = layer;
  watchConsent(settings("google"), () => {});
  expect(layer.push({ event: "a" }, { event: "b" })).toBe(102);
  expect(Array.from(layer)).toEqual([{ event: "a" }, { event: "b" }]);
  expect(() => layer.push("broken")).toThrow("the page's own");
});

test.each([
  ["__tcfapi", () => JSON.parse("broken")],
  ["__tcfapi", "no function"],
  ["__gpp", { queue: [] }],
  ["dataLayer", {}],
  ["dataLayer", "text"],
  ["dataLayer", Object.freeze([])],
])("%s that is not what it should be does no harm", (name, what) => {
  page[name] = what;
  const answer = vi.fn();
  watchConsent(settings("tcf gpp google"), answer);
  vi.advanceTimersByTime(120_000);
  expect(answer).not.toHaveBeenCalled();
});

test.each([null, undefined, 5, "x", {}, { purpose: {} }, { pingData: null }])(
  "nor does an answer that is %o",
  (given) => {
    const europe = tool("__tcfapi");
    const gpp = tool("__gpp");
    page.dataLayer = [given, ["consent", "update", given], ["consent"]];
    const answer = vi.fn();
    watchConsent(settings("tcf gpp google"), answer);
    europe.tell(given);
    gpp.tell(given);
    expect(answer).not.toHaveBeenCalled();
  },
);

test("what goes wrong behind the answer never reaches the tool", () => {
  const { tell } = tool("__tcfapi");
  watchConsent(settings("tcf"), () => {
    throw new Error("ours");
  });
  expect(() => tell(tcf("everything accepted just now"))).not.toThrow();
});
