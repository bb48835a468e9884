import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchEngagement } from "../src/engagement";
import { setVisibility, stopListening, visit, watchListeners } from "./fakes";
import { act } from "./trusted";

let resized: () => void;
let pageHeight = 4000;

beforeEach(() => {
  vi.useFakeTimers();
  visit("https://shop.example/");
  setVisibility("visible");
  watchListeners();
  vi.spyOn(document, "hasFocus").mockReturnValue(true);
  vi.stubGlobal("innerHeight", 1000);
  vi.stubGlobal("scrollY", 0);
  pageHeight = 4000;
  Object.defineProperty(document.documentElement, "scrollHeight", { get: () => pageHeight, configurable: true });
  vi.stubGlobal(
    "ResizeObserver",
    class {
      constructor(run: () => void) {
        resized = run;
      }
      observe(): void {
        resized();
      }
    },
  );
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

function scroll(y: number): void {
  vi.stubGlobal("scrollY", y);
  act(window, "scroll");
}

test("time counts until 15 s after the last sign of a person, from the start", () => {
  const take = watchEngagement();
  vi.advanceTimersByTime(4200);
  expect(take()).toMatchObject({ engaged_s: 4.2 });
  vi.advanceTimersByTime(60_000);
  expect(take()).toMatchObject({ engaged_s: 10.8 });
  act(document.body, "pointermove");
  vi.advanceTimersByTime(5000);
  act(document.body, "keydown");
  vi.advanceTimersByTime(60_000);
  expect(take()).toMatchObject({ engaged_s: 20 });
});

test("to ask is no sign of a person", () => {
  const take = watchEngagement();
  for (let i = 0; i < 30; i++) {
    vi.advanceTimersByTime(1000);
    take();
  }
  act(document.body, "pointerdown");
  expect(take()).toBeUndefined();
});

test("time without focus, or hidden, does not count", () => {
  const take = watchEngagement();
  vi.advanceTimersByTime(1000);
  vi.mocked(document.hasFocus).mockReturnValue(false);
  act(window, "blur");
  vi.advanceTimersByTime(3000);
  act(document.body, "pointermove");
  vi.advanceTimersByTime(3000);
  vi.mocked(document.hasFocus).mockReturnValue(true);
  act(window, "focus");
  vi.advanceTimersByTime(500);
  setVisibility("hidden");
  vi.advanceTimersByTime(5000);
  setVisibility("visible");
  vi.advanceTimersByTime(250);
  expect(take()).toMatchObject({ engaged_s: 1.8 });
});

test("depth is the lowest edge that was seen, of the page's present length", () => {
  const take = watchEngagement();
  vi.advanceTimersByTime(100);
  expect(take()).toMatchObject({ scroll_percent: 25 });
  scroll(1000);
  scroll(500);
  expect(take()).toMatchObject({ scroll_percent: 50 });
  pageHeight = 8000;
  resized();
  expect(take()).toMatchObject({ scroll_percent: 25 });
  scroll(7000.4);
  expect(take()).toMatchObject({ scroll_percent: 100 });
});

test("a page that fits the window was seen whole, even where it fills up later", () => {
  pageHeight = 1000;
  const take = watchEngagement();
  vi.advanceTimersByTime(100);
  expect(take()).toMatchObject({ scroll_percent: 100 });
  pageHeight = 3000;
  resized();
  expect(take()).toMatchObject({ scroll_percent: 33 });
});

test("nothing new is nothing to say", () => {
  const take = watchEngagement();
  vi.advanceTimersByTime(1000);
  expect(take()).toEqual({ scroll_percent: 25, engaged_s: 1 });
  expect(take()).toBeUndefined();
  vi.advanceTimersByTime(600);
  expect(take()).toBeUndefined();
  vi.advanceTimersByTime(600);
  expect(take()).toEqual({ scroll_percent: 25, engaged_s: 1.2 });
});

test("a page that was never shown has nothing to say", () => {
  setVisibility("hidden");
  vi.stubGlobal("ResizeObserver", undefined);
  const take = watchEngagement();
  vi.advanceTimersByTime(5000);
  expect(take(true)).toBeUndefined();
  expect(take()).toBeUndefined();
});

test("the next page of an app begins at its top", () => {
  const take = watchEngagement();
  vi.advanceTimersByTime(100);
  scroll(3000);
  expect(take(true)).toMatchObject({ scroll_percent: 100 });
  scroll(0);
  vi.advanceTimersByTime(1000);
  expect(take()).toEqual({ scroll_percent: 25, engaged_s: 1 });
});

test("no timer runs", () => {
  watchEngagement();
  vi.advanceTimersByTime(100);
  act(document.body, "pointermove");
  expect(vi.getTimerCount()).toBe(0);
});
