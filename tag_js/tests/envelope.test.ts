// @vitest-environment node

import { beforeEach, expect, test } from "vitest";
import { buildEnvelope, type Item } from "../src/envelope";
import type { WireEvent } from "../src/wire";
import { NOW_MS, standStill } from "./fakes";

beforeEach(standStill);

function makeItem(event: Partial<WireEvent>, extra: Item["extra"] = {}): Item {
  return { event: { i: "id", n: "view", t: 1, q: 1, ...event }, context: { d: "v", c: "s" }, extra };
}

test("context and what the browser says stand once, on the envelope", () => {
  const envelope = buildEnvelope("shop", [makeItem({}), makeItem({})], { l: "de", w: "800x600" });
  expect(envelope).toMatchObject({ v: 1, s: "shop", st: NOW_MS, d: "v", c: "s", l: "de", w: "800x600" });
  expect(envelope.e).toHaveLength(2);
});

test("an address that all events share moves to the envelope", () => {
  const envelope = buildEnvelope("shop", [makeItem({ u: "/a", r: "/r" }), makeItem({ u: "/a", r: "/r" })], {});
  expect(envelope).toMatchObject({ u: "/a", r: "/r" });
  for (const event of envelope.e) expect(event).not.toHaveProperty("u");
});

test("addresses that differ stay with their events, and an empty referrer stays empty", () => {
  const envelope = buildEnvelope("shop", [makeItem({ u: "/a", r: "/r" }), makeItem({ u: "/b", r: "" })], {});
  expect(envelope).not.toHaveProperty("u");
  expect(envelope).not.toHaveProperty("r");
  expect(envelope.e.map((event) => [event.u, event.r])).toEqual([
    ["/a", "/r"],
    ["/b", ""],
  ]);
});

test("what was queued is not changed: a retry builds the same", () => {
  const items = [makeItem({ u: "/a" })];
  const first = JSON.stringify(buildEnvelope("shop", items, {}));
  expect(JSON.stringify(buildEnvelope("shop", items, {}))).toBe(first);
});

test("link token, human signal and device signals travel on the envelope", () => {
  const items = [makeItem({}, { lt: "token" }), makeItem({ n: "link_confirm" }, { lt: "token", hs: "key" })];
  expect(buildEnvelope("shop", items, {})).toMatchObject({ lt: "token", hs: "key" });
});
