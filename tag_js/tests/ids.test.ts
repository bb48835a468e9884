// @vitest-environment node

import { expect, test } from "vitest";
import { isId, makeId } from "../src/ids";

test("an id is a version 7 UUID", () => {
  expect(makeId()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("its first 48 bits are the time", () => {
  const nowMs = Date.UTC(2026, 10, 20);
  expect(Number.parseInt(makeId(nowMs).replaceAll("-", "").slice(0, 12), 16)).toBe(nowMs);
});

test("ids made later sort later", () => {
  const ids = [1, 2, 300, 2 ** 40, 2 ** 40 + 1].map((ms) => makeId(ms));
  expect([...ids].sort()).toEqual(ids);
});

test("two ids of one moment differ", () => {
  expect(makeId(5)).not.toBe(makeId(5));
});

test.each([
  ["0192f0c4-9f8a-7c3e-8a1b-0123456789ab", true],
  ["5f3a0f3e-8d63-4f3b-9f0e-0123456789ab", true],
  ["0192F0C4-9F8A-7C3E-8A1B-0123456789AB", false],
  ["0192f0c4-9f8a-7c3e-8a1b-0123456789ab0", false],
  ["", false],
  [undefined, false],
])("isId(%s) is %s", (text, expected) => {
  expect(isId(text)).toBe(expected);
});
