// @vitest-environment node

import { afterEach, beforeEach, expect, test, vi } from "vitest";

let now = 0;
let giveWay: () => Promise<void>;

beforeEach(async () => {
  now = 1000;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  vi.stubGlobal("performance", { now: () => now });
  vi.resetModules();
  ({ giveWay } = await import("../../src/fingerprint/pace"));
});
afterEach(() => {
  vi.useRealTimers();
});

/** Whether the promise is kept without any timer or task of the page. */
async function isImmediate(promise: Promise<void>): Promise<boolean> {
  let is = false;
  promise.then(() => {
    is = true;
  });
  for (let i = 0; i < 10; i++) await Promise.resolve();
  return is;
}

test("the first piece waits for the page, the next go on until the slice is used up", async () => {
  vi.stubGlobal("window", {});
  const first = giveWay();
  expect(await isImmediate(first)).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  await first;
  now += 11;
  expect(await isImmediate(giveWay())).toBe(true);
  now += 2;
  expect(await isImmediate(giveWay())).toBe(false);
});

test("with a scheduler it is a background task of the page", async () => {
  const tasks: (() => void)[] = [];
  const postTask = vi.fn((run: () => void) => tasks.push(run));
  vi.stubGlobal("window", { scheduler: { postTask } });
  const waiting = giveWay();
  expect(postTask).toHaveBeenCalledWith(expect.any(Function), { priority: "background" });
  expect(await isImmediate(waiting)).toBe(false);
  tasks[0]?.();
  expect(await isImmediate(waiting)).toBe(true);
});

test.each([
  ["a page that never rests", { postTask: () => {} }],
  [
    "a scheduler of the page's own",
    {
      postTask: () => {
        throw new TypeError("other arguments");
      },
    },
  ],
  ["something else under that name", {}],
])("%s delays, but does not stop", async (_, scheduler) => {
  vi.stubGlobal("window", { scheduler });
  const waiting = giveWay();
  await vi.advanceTimersByTimeAsync(99);
  expect(await isImmediate(waiting)).toBe(false);
  await vi.advanceTimersByTimeAsync(1);
  expect(await isImmediate(waiting)).toBe(true);
});
