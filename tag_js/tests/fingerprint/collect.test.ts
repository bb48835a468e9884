// @vitest-environment node

import { expect, test, vi } from "vitest";
import { collectSignals } from "../../src/fingerprint/collect";
import { SOURCES } from "../../src/fingerprint/registry";

test("a source that throws, rejects or hangs is a value with its reason, and the others are read", async () => {
  vi.useFakeTimers();
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
  ]);
  await vi.runAllTimersAsync();
  expect(await reading).toEqual({
    v: 1,
    s: {
      good: 4,
      thrown: { error: "TypeError" },
      rejected: { error: "SecurityError" },
      hanging: { error: "timeout" },
      late: ["a"],
    },
  });
  vi.useRealTimers();
});

test("the signals have the names that the collector knows, each once", () => {
  expect(SOURCES.map(({ name }) => name).sort()).toEqual([
    "audio",
    "canvas",
    "color_depth",
    "device_memory",
    "fonts",
    "hardware_concurrency",
    "languages",
    "math",
    "platform",
    "screen",
    "time_zone",
    "touch_points",
    "webgl_renderer",
    "webgl_vendor",
  ]);
});

test("where a browser has none of the machinery, every signal is a value or a reason, none an exception", async () => {
  const reading = await collectSignals();
  expect(Object.keys(reading.s)).toHaveLength(SOURCES.length);
  for (const value of Object.values(reading.s)) expect(value).toBeDefined();
});
