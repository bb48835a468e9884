// @vitest-environment node

import { afterEach, expect, test, vi } from "vitest";
import { collectSignals } from "../../src/fingerprint/collect";
import { SOURCES } from "../../src/fingerprint/registry";
import { onLaptop } from "./device";

afterEach(() => {
  vi.useRealTimers();
});

test("a source that throws, rejects or hangs is a value with its reason, and the others are read", async () => {
  vi.useFakeTimers();
  onLaptop();
  const reading = collectSignals([
    { name: "good", read: () => 4 },
    {
      name: "thrown",
      read: () => {
        throw new TypeError("x");
      },
    },
    { name: "rejected", read: () => Promise.reject(new DOMException("no", "SecurityError")) },
    { name: "hanging", read: () => new Promise(() => {}) },
    { name: "late", read: async () => ["a"] },
    { name: "nothing", read: () => undefined },
    { name: "empty", read: () => "" },
    { name: "yes", read: () => true },
    { name: "no", read: async () => false },
    { name: "zero", read: () => 0 },
    { name: "none of them", read: () => [] },
    { name: "odd", read: () => Promise.reject("thrown without an error") },
  ]);
  await vi.runAllTimersAsync();
  expect(await reading).toEqual({
    v: 2,
    s: {
      good: 4,
      thrown: { error: "TypeError" },
      rejected: { error: "SecurityError" },
      hanging: { error: "timeout" },
      late: ["a"],
      nothing: { error: "missing" },
      empty: { error: "missing" },
      yes: 1,
      no: 0,
      zero: 0,
      "none of them": [],
      odd: { error: "unknown" },
    },
  });
});

test("what answers later works beside the rest", async () => {
  vi.useFakeTimers();
  onLaptop();
  const after = (ms: number) => new Promise<string>((resolve) => setTimeout(resolve, ms, "done"));
  const reading = collectSignals([
    { name: "one", read: () => after(1000) },
    { name: "two", read: () => after(1000) },
  ]);
  await vi.advanceTimersByTimeAsync(1100);
  expect((await reading).s).toEqual({ one: "done", two: "done" });
});

test("no timer is left behind", async () => {
  vi.useFakeTimers();
  onLaptop();
  const reading = collectSignals([{ name: "good", read: () => 4 }]);
  await vi.runAllTimersAsync();
  await reading;
  expect(vi.getTimerCount()).toBe(0);
});

/** What each signal of the registry says where a protection is on. */
async function readMarks(changes: Record<string, unknown>): Promise<Record<string, unknown>> {
  onLaptop(changes);
  return (await collectSignals(SOURCES)).s;
}

const FIREFOX_RFP = {
  mozInnerScreenX: 0,
  innerHeight: 700,
  outerHeight: 700,
  performance: { now: () => 19 * 16.667 },
  Temporal: { Now: { timeZoneId: () => "Atlantic/Reykjavik" } },
};
const blurred = (letter: string): string[] =>
  SOURCES.filter(({ blur }) => blur?.includes(letter)).map(({ name }) => name);

test("with resistFingerprinting, what it replaces is marked and not read; the rest is read", async () => {
  const found = await readMarks(FIREFOX_RFP);
  const marked = Object.keys(found).filter((name) => (found[name] as { error?: string }).error === "rfp");
  expect(marked.sort()).toEqual(blurred("r").sort());
  expect(marked).toContain("time_zone");
  expect(found.platform).toBe("Win32");
});

test.each([
  ["a frame around the window", { outerHeight: 790 }],
  ["a clock that ticks otherwise", { performance: { now: () => 321 } }],
  ["a time zone of one's own", { Temporal: { Now: { timeZoneId: () => "Europe/Berlin" } } }],
])("%s is not resistFingerprinting", async (_, change) => {
  const found = await readMarks({ ...FIREFOX_RFP, ...change });
  expect(found.screen).toBe("1920x1080");
});

test("in Brave, what it lies about is marked and not read; the rest is read", async () => {
  const read = vi.fn();
  const navigator = {
    brave: {},
    platform: "Win32",
    get hardwareConcurrency() {
      return read();
    },
  };
  const found = await readMarks({ navigator });
  const marked = Object.keys(found).filter((name) => (found[name] as { error?: string }).error === "brave");
  expect(marked.sort()).toEqual(blurred("b").sort());
  expect(marked).toContain("hardware_concurrency");
  expect(read).not.toHaveBeenCalled();
  expect(found.platform).toBe("Win32");
});

test("where the page has replaced what the time zone is asked of, no protection is seen and nothing is thrown", async () => {
  const Temporal = { Now: null };
  const found = await readMarks({ ...FIREFOX_RFP, Temporal });
  expect(found.time_zone).toEqual({ error: "TypeError" });
  expect(found.screen).toBe("1920x1080");
});
