// @vitest-environment node

import { expect, test } from "vitest";
import { makeId } from "../src/ids";
import { decodeMemory, encodeMemory, type Memory, makeMemory } from "../src/memory";

const FULL: Memory = {
  visitor: makeId(),
  session: makeId(),
  number: 12,
  startedMs: 1_795_168_800_123,
  lastMs: 1_795_168_900_456,
  campaign: "1a2b3c",
  signalsSent: 1,
  resetFrom: makeId(),
  offsetMs: -61_000,
};

test.each([
  ["full", FULL],
  ["new", makeMemory()],
])("a %s memory survives the cookie", (_, memory) => {
  expect(decodeMemory(encodeMemory(memory))).toEqual(memory);
});

test("the cookie needs no escaping and stays under 170 bytes", () => {
  expect(encodeMemory(FULL)).toMatch(/^[0-9a-z.-]{1,170}$/);
});

test.each(["", "x", "undefined.a.b", "<script>", `${makeId()}x.1`])("%s is no memory", (text) => {
  expect(decodeMemory(text)).toBeUndefined();
});

test("a visitor with a broken rest is a visitor; what the rest says is the collector's to judge", () => {
  const { visitor } = FULL;
  const broken = decodeMemory(`${visitor}.x.?.-.?.c.%.nobody.%`);
  expect(broken).toEqual({ ...makeMemory(), visitor, session: "x", campaign: "c" });
  expect(decodeMemory(visitor)).toEqual({ ...makeMemory(), visitor });
});
