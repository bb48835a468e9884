import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Item } from "../src/envelope";
import { createTransport, type Reply, type Transport } from "../src/transport";
import { type FakeCollector, fakeCollector, NOW_MS, standStill } from "./fakes";

let collector: FakeCollector;
let transport: Transport;
let replies: [Item[], Reply][];
let count: number;
let shelf: Item[];
let isShelf: boolean;

beforeEach(() => {
  standStill();
  collector = fakeCollector();
  replies = [];
  count = 0;
  shelf = [];
  isShelf = true;
  transport = createTransport({
    site: "shop",
    endpoint: "https://shop.example/x/b",
    facts: () => ({}),
    onReply: (...reply) => replies.push(reply),
    save: (items) => isShelf && !!shelf.push(...items),
    restore: () => shelf.splice(0),
    note: () => {},
  });
});

afterEach(() => {
  vi.useRealTimers();
  setOnline(true);
});

function setOnline(value: boolean): void {
  Object.defineProperty(navigator, "onLine", { value, configurable: true });
}

function makeItem(visitor = "v", padding = 0): Item {
  const event = { i: `e${++count}`, n: "test", t: NOW_MS, q: count, p: { padding: "x".repeat(padding) } };
  return { event, context: { d: visitor }, extra: {} };
}

const add = (times: number, visitor = "v"): void => {
  for (let i = 0; i < times; i++) transport.add(makeItem(visitor));
};
const ids = (envelopes: FakeCollector["posted"]): string[][] => envelopes.map(({ e }) => e.map(({ i }) => i));
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

test("events of a moment travel together, as a simple POST with credentials that outlives the page", async () => {
  add(2);
  await pass(200);
  add(1);
  await pass(99);
  expect(collector.posted).toEqual([]);
  await pass(1);
  expect(ids(collector.posted)).toEqual([["e1", "e2", "e3"]]);
  expect(collector.requests[0]).toMatchObject({ method: "POST", credentials: "include", keepalive: true });
  expect(collector.requests[0]).not.toHaveProperty("headers");
});

test("twenty events go at once, the next ones after the answer", async () => {
  add(25);
  await pass(0);
  expect(collector.posted[0]?.e).toHaveLength(20);
  await pass(300);
  expect(ids(collector.posted).map((batch) => batch.length)).toEqual([20, 5]);
});

test("a batch stays under 60 kB", async () => {
  for (let i = 0; i < 8; i++) transport.add(makeItem("v", 20_000));
  await pass(1000);
  expect(collector.posted.flatMap(({ e }) => e)).toHaveLength(8);
  for (const request of collector.requests) expect((request.body as string).length).toBeLessThan(60_000);
});

test("an event above the browsers' bound goes without keepalive", async () => {
  transport.add(makeItem("v", 80_000));
  await pass(300);
  expect(collector.requests[0]).toMatchObject({ keepalive: false });
});

test("events of two visitors never share a beacon", async () => {
  add(1, "a");
  add(2, "b");
  add(1, "a");
  await pass(1000);
  expect(collector.posted.map(({ d, e }) => [d, e.length])).toEqual([
    ["a", 1],
    ["b", 2],
    ["a", 1],
  ]);
});

test.each([429, 500, 503, new Error("offline")])("after %s the same events come again, frozen", async (answer) => {
  collector.answers = [answer instanceof Error ? answer : new Response("", { status: answer })];
  add(1);
  await pass(300);
  transport.rename("v", "w");
  await pass(2000);
  expect(ids(collector.posted)).toEqual([["e1"], ["e1"]]);
  expect(collector.posted[1]).toMatchObject({ d: "v" });
});

test("Retry-After is honoured, by later events and by a return to the page as well", async () => {
  collector.answers = [new Response("", { status: 503, headers: { "Retry-After": "30" } })];
  add(1);
  await pass(300);
  add(30);
  transport.resume();
  await pass(29_000);
  expect(collector.posted).toHaveLength(1);
  await pass(2000);
  expect(ids(collector.posted)[1]?.[0]).toBe("e1");
});

test("pauses grow, and in the end only hide or a return tries again", async () => {
  collector.answers = Array.from({ length: 20 }, () => new Error("blocked"));
  add(1);
  await pass(3_600_000);
  expect(collector.posted).toHaveLength(8);
  transport.resume();
  await pass(300);
  expect(collector.posted).toHaveLength(9);
});

test.each([400, 403, 404, 413])("%s drops the events", async (status) => {
  collector.answers = [new Response("", { status })];
  add(1);
  await pass(60_000);
  expect(collector.posted).toHaveLength(1);
  transport.leave();
  expect(collector.beaconed).toEqual([]);
});

test("an answer that is not our collector's is no acknowledgement", async () => {
  collector.answers = [new Response("<html>", { status: 200 })];
  add(1);
  await pass(5000);
  expect(ids(collector.posted)).toEqual([["e1"], ["e1"]]);
});

test("the reply tells the visitor id and, where the browser shows it, the clock", async () => {
  const date = new Date(NOW_MS + 90_300).toUTCString();
  collector.answers = [new Response('{"d":"other"}', { status: 200, headers: { Date: date } })];
  add(1);
  await pass(300);
  expect(replies).toMatchObject([
    [[{ event: { i: "e1" }, context: { d: "v" } }], { visitor: "other", offset: 89_700 }],
  ]);
});

test("a visitor id taken over renames what was never tried", async () => {
  add(1);
  transport.rename("v", "w");
  await pass(300);
  expect(collector.posted[0]).toMatchObject({ d: "w" });
});

test("on leaving everything goes by sendBeacon in the same task", () => {
  add(30);
  transport.leave();
  expect(collector.posted.flatMap(({ e }) => e).length + collector.beaconed.flatMap(({ e }) => e).length).toBe(30);
  expect(collector.beaconed.length).toBeGreaterThan(0);
});

test("after leaving each event goes at once; back on the page they gather again", async () => {
  transport.leave();
  add(2);
  expect(ids(collector.beaconed)).toEqual([["e1"], ["e2"]]);
  transport.resume();
  add(2);
  expect(collector.beaconed).toHaveLength(2);
  await pass(300);
  expect(ids(collector.posted)).toEqual([["e3", "e4"]]);
});

test("a refused sendBeacon is halved, and what remains goes by fetch; nothing is lost or doubled", async () => {
  collector.beaconBytes = 2500;
  for (let i = 0; i < 7; i++) transport.add(makeItem("v", i === 4 ? 5000 : 800));
  transport.leave();
  expect(ids(collector.beaconed).flat()).toEqual(["e1", "e2", "e3", "e4"]);
  expect(ids(collector.posted)).toEqual([["e5", "e6", "e7"]]);
});

test("without sendBeacon a page that only hides sends everything, batch after batch", async () => {
  collector.beaconBytes = 0;
  for (let i = 0; i < 45; i++) transport.add(makeItem());
  transport.leave();
  await pass(10);
  expect(ids(collector.posted).flat()).toHaveLength(45);
  expect(new Set(ids(collector.posted).flat()).size).toBe(45);
});

test("a browser without sendBeacon loses nothing", async () => {
  const { sendBeacon } = navigator;
  Object.defineProperty(navigator, "sendBeacon", { value: undefined, configurable: true, writable: true });
  add(1);
  transport.leave();
  await pass(10);
  expect(ids(collector.posted)).toEqual([["e1"]]);
  Object.defineProperty(navigator, "sendBeacon", { value: sendBeacon, configurable: true, writable: true });
});

test("leaving twice keeps what is in flight once", async () => {
  collector.answers = [new Error("away")];
  add(1);
  await pass(300);
  transport.leave();
  transport.leave();
  expect(shelf.map(({ event }) => event.i)).toEqual(["e1"]);
});

test("offline nothing is entrusted to sendBeacon, which would say yes and lose it", async () => {
  setOnline(false);
  add(1);
  transport.leave();
  expect(collector.beaconed).toEqual([]);
  setOnline(true);
  transport.resume();
  await pass(300);
  expect(ids(collector.posted)).toEqual([["e1"]]);
});

test("what is in flight when the page is left is not sent a second time", async () => {
  add(20);
  transport.leave();
  await pass(1000);
  expect(collector.posted).toHaveLength(1);
  expect(collector.beaconed).toEqual([]);
});

test("what was in flight when everything was cleared does not come back", async () => {
  collector.answers = [new Error("offline")];
  add(20);
  transport.clear();
  await pass(60_000);
  expect(collector.posted).toHaveLength(1);
});

test("the queue is bounded: the oldest events go first", async () => {
  isShelf = false;
  setOnline(false);
  collector.answers = Array.from({ length: 8 }, () => new Error("offline"));
  add(700);
  await pass(600_000);
  setOnline(true);
  collector.posted.length = 0;
  transport.leave();
  const sent = ids(collector.beaconed).flat();
  expect(sent.length).toBeLessThanOrEqual(520);
  expect(sent).toContain("e700");
});
