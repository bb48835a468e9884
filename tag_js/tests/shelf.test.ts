import { beforeEach, expect, test } from "vitest";
import type { Item } from "../src/envelope";
import { putItems, takeItems } from "../src/shelf";
import { visit } from "./fakes";

beforeEach(() => visit("https://shop.example/"));

const makeItem = (i: string, padding = 0): Item => ({
  event: { i, n: "test", t: 1, q: 1, p: { padding: "x".repeat(padding) } },
  context: { d: "v" },
  extra: {},
});
const ids = (items: Item[]): string[] => items.map(({ event }) => event.i);

test("what is put there is found once, by whoever comes first", () => {
  expect(putItems("_ts_vq", [makeItem("a"), makeItem("b")])).toBe(true);
  expect(takeItems("_ts_vq")).toEqual([makeItem("a"), makeItem("b")]);
  expect(takeItems("_ts_vq")).toEqual([]);
});

test("another tab's items stay, in their order", () => {
  putItems("_ts_vq", [makeItem("a")]);
  putItems("_ts_vq", [makeItem("b")]);
  expect(ids(takeItems("_ts_vq"))).toEqual(["a", "b"]);
});

test("it is bounded in count and characters: the oldest go first", () => {
  for (let i = 0; i < 25; i++)
    putItems(
      "_ts_vq",
      Array.from({ length: 10 }, (_, n) => makeItem(`${i}.${n}`)),
    );
  const kept = ids(takeItems("_ts_vq"));
  expect(kept).toHaveLength(200);
  expect(kept.at(-1)).toBe("24.9");
  for (let i = 0; i < 10; i++) putItems("_ts_vq", [makeItem(`${i}`, 50_000)]);
  expect(localStorage.getItem("_ts_vq")?.length).toBeLessThanOrEqual(200_000);
  expect(ids(takeItems("_ts_vq")).at(-1)).toBe("9");
});

test("one item too large for the shelf is not kept, and does not hang", () => {
  putItems("_ts_vq", [makeItem("a", 300_000)]);
  expect(takeItems("_ts_vq")).toEqual([]);
});

test.each(["{", "5", '{"a":1}', "[null,5,{}]"])("what is not ours (%s) is thrown away", (text) => {
  localStorage.setItem("_ts_vq", text);
  expect(takeItems("_ts_vq")).toEqual([]);
  expect(takeItems("_ts_vq")).toEqual([]);
});

test("nothing to keep is nothing kept", () => {
  expect(putItems("_ts_vq", [])).toBe(false);
});

test("tokens are not kept: they live in memory only", () => {
  const signed = makeItem("a");
  signed.event.k = [{ k: "customer", v: "", j: "e30.e30.c2ln" }];
  const landing = { ...makeItem("b"), extra: { lt: "a-link-token", ho: "a-hand-over" } };
  const claimed = makeItem("c");
  claimed.event.k = [{ k: "customer", v: "4711" }];
  putItems("_ts_vq", [signed, landing, claimed]);
  expect(localStorage.getItem("_ts_vq")).not.toMatch(/c2ln|a-link|a-hand/);
  expect(ids(takeItems("_ts_vq"))).toEqual(["b", "c"]);
});
