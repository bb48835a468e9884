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
  expect(createSilence(settings).holds()).toBe(true);
  vi.advanceTimersByTime(60_001);
  expect(createSilence(settings).holds()).toBe(false);
});

test("without consent to storage it holds for this page alone", () => {
  const silence = createSilence(settings);
  silence.fall(60, false);
  expect(silence.holds()).toBe(true);
  expect(document.cookie).toBe("");
  expect(createSilence(settings).holds()).toBe(false);
});

test("an objection holds until it is taken back", () => {
  createSilence(settings).object(true);
  expect(document.cookie).toBe("_ts_out=1");
  expect(createSilence(settings).holds()).toBe(true);
  createSilence(settings).object(false);
  expect(document.cookie).toBe("");
  expect(createSilence(settings).holds()).toBe(false);
});

test("an objection made in another tab holds here when somebody comes back; until then the cookie is read once", () => {
  const here = createSilence(settings);
  expect(here.holds()).toBe(false);
  createSilence(settings).object(true);
  expect(here.holds()).toBe(false);
  here.refresh();
  expect(here.holds()).toBe(true);
});
