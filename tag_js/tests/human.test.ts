import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { awaitHuman } from "../src/human";
import { setVisibility } from "./fakes";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(document, "hasFocus").mockReturnValue(true);
  setVisibility("visible");
});
afterEach(() => vi.useRealTimers());

function dispatch(type: string, isTrusted: boolean): void {
  const event = new Event(type);
  Object.defineProperty(event, "isTrusted", { value: isTrusted });
  dispatchEvent(event);
}

test.each([
  ["pointerdown", "pointer"],
  ["keydown", "key"],
  ["touchstart", "touch"],
])("a trusted %s is the signal %s, once", (type, signal) => {
  const seen = vi.fn();
  awaitHuman(seen);
  dispatch(type, true);
  dispatch(type, true);
  vi.advanceTimersByTime(20_000);
  expect(seen.mock.calls).toEqual([[signal]]);
});

test("what a script dispatches is no human", () => {
  const seen = vi.fn();
  awaitHuman(seen);
  dispatch("pointerdown", false);
  vi.advanceTimersByTime(4000);
  expect(seen).not.toHaveBeenCalled();
});

test("five seconds count only while the page is visible and focused", () => {
  const seen = vi.fn();
  awaitHuman(seen);
  vi.advanceTimersByTime(4000);
  vi.mocked(document.hasFocus).mockReturnValue(false);
  vi.advanceTimersByTime(60_000);
  expect(seen).not.toHaveBeenCalled();
  vi.mocked(document.hasFocus).mockReturnValue(true);
  vi.advanceTimersByTime(1000);
  expect(seen.mock.calls).toEqual([["dwell"]]);
});
