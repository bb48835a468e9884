import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createSilence } from "../src/silence";
import { makeSettings, standStill, visit } from "./fakes";

const settings = makeSettings();

beforeEach(() => {
  standStill();
  visit("https://shop.example/");
});
afterEach(() => vi.useRealTimers());

test("what the collector asks for holds for its time, on the next page too where it may be kept", () => {
  createSilence(settings).fall(60, true);
  const next = createSilence(settings);
  expect(next.holds(true)).toBe(true);
  vi.advanceTimersByTime(60_001);
  expect(next.holds(true)).toBe(false);
});

test("without consent to storage it holds for this page alone, and no storage is touched", () => {
  const get = vi.spyOn(localStorage, "getItem");
  const set = vi.spyOn(localStorage, "setItem");
  const silence = createSilence(settings);
  silence.fall(60, false);
  expect(silence.holds(false)).toBe(true);
  expect(createSilence(settings).holds(false)).toBe(false);
  expect([get.mock.calls, set.mock.calls]).toEqual([[], []]);
});

test("an objection holds until it is taken back, whatever may be read", () => {
  createSilence(settings).object(true);
  expect(document.cookie).toContain("_ts_out=1");
  expect(createSilence(settings).holds(false)).toBe(true);
  createSilence(settings).object(false);
  expect(document.cookie).not.toContain("_ts_out");
  expect(createSilence(settings).holds(true)).toBe(false);
});

test("an objection made in another tab holds here at once", () => {
  const here = createSilence(settings);
  expect(here.holds(true)).toBe(false);
  createSilence(settings).object(true);
  expect(here.holds(true)).toBe(true);
});
