import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { measureVitals } from "../src/vitals/measure";
import { setVisibility, stopListening, watchListeners } from "./fakes";

beforeEach(() => {
  watchListeners();
  setVisibility("visible");
});
afterEach(stopListening);

/** What the browser says of how the page was loaded. */
function loaded(entry: Record<string, number> | undefined): void {
  vi.spyOn(performance, "getEntriesByType").mockImplementation((type) =>
    type === "navigation" && entry ? [entry as unknown as PerformanceNavigationTiming] : [],
  );
}

test("one report, when the page is hidden first, by either sign", () => {
  loaded({ responseStart: 120.6 });
  const report = vi.fn();
  measureVitals(report);
  expect(report).not.toHaveBeenCalled();
  dispatchEvent(new Event("pagehide"));
  setVisibility("hidden");
  setVisibility("visible");
  setVisibility("hidden");
  expect(report.mock.calls).toEqual([[{ ttfb_ms: 121 }]]);
});

test("the tag, which listens to the same sign, hears of it before it sends its last beacon", () => {
  loaded({ responseStart: 1 });
  const order: string[] = [];
  document.addEventListener("visibilitychange", () => order.push("tag"));
  measureVitals(() => order.push("vitals"));
  setVisibility("hidden");
  expect(order).toEqual(["vitals", "tag"]);
});

test("where nothing is known there is no report", () => {
  loaded(undefined);
  const report = vi.fn();
  measureVitals(report);
  setVisibility("hidden");
  loaded({ responseStart: 0 });
  measureVitals(report);
  setVisibility("hidden");
  expect(report).not.toHaveBeenCalled();
});

test("a page that was there before it was wanted had no wait", () => {
  loaded({ responseStart: 50, activationStart: 400 });
  const report = vi.fn();
  measureVitals(report);
  setVisibility("hidden");
  expect(report.mock.calls).toEqual([[{ ttfb_ms: 0 }]]);
});

test("a page out of the back-forward cache has no first byte: there is no report of nothing", () => {
  loaded({ responseStart: 120 });
  const report = vi.fn();
  measureVitals(report);
  setVisibility("hidden");
  setVisibility("visible");
  dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  setVisibility("hidden");
  expect(report.mock.calls).toEqual([[{ ttfb_ms: 120 }]]);
});
