import { beforeEach, expect, test, vi } from "vitest";
import { readCookie, writeCookie } from "../src/cookie";
import { decodeMemory, encodeMemory, makeMemory } from "../src/memory";
import { createVisitor } from "../src/visitor";
import { makeSettings, visit } from "./fakes";

const settings = makeSettings();
const read = () => decodeMemory(readCookie("_ts_v"));

beforeEach(() => visit("https://shop.example/"));

test("nothing touches the device before somebody asks", () => {
  const visitor = createVisitor(settings);
  visitor.save();
  visitor.refresh();
  expect(document.cookie).toBe("");
});

test("a new visitor is written with its first event, so that a second tab finds it", () => {
  const { visitor } = createVisitor(settings).touch(0, "");
  expect(createVisitor(settings).memory().visitor).toBe(visitor);
});

test("the second tab's events keep the first tab's session alive", () => {
  const one = createVisitor(settings);
  const two = createVisitor(settings);
  one.touch(0, "");
  two.touch(0, "");
  two.touch(25 * 60_000, "");
  two.save();
  one.touch(50 * 60_000, "");
  expect(one.memory().session).toBe(two.memory().session);
});

test("a sign-out in one tab is not undone by another that writes later", () => {
  const one = createVisitor(settings);
  one.touch(0, "");
  const two = createVisitor(settings);
  two.touch(1, "");
  one.reset();
  const after = one.memory().visitor;
  two.touch(2, "");
  two.save();
  expect(read()?.visitor).toBe(after);
  expect(two.memory().visitor).toBe(after);
});

test("two resets before the collector heard of one still name the first id", () => {
  const visitor = createVisitor(settings);
  const first = visitor.memory().visitor;
  visitor.reset();
  visitor.reset();
  expect(read()).toMatchObject({ resetFrom: first });
});

test("an id taken over is written", () => {
  const visitor = createVisitor(settings);
  const other = makeMemory().visitor;
  visitor.touch(0, "");
  visitor.memory().visitor = other;
  visitor.save();
  expect(read()?.visitor).toBe(other);
});

test("what another tab has removed is not written back", () => {
  const one = createVisitor(settings);
  one.touch(0, "");
  one.verify();
  createVisitor(settings).forget();
  one.touch(1000, "");
  one.save();
  expect(document.cookie).toBe("");
});

test("where nothing can be kept the visitor stays in memory, and coming back is no withdrawal", () => {
  vi.spyOn(document, "cookie", "set").mockImplementation(() => {});
  const full = vi.spyOn(localStorage, "setItem").mockImplementation(() => {
    throw new DOMException("full", "QuotaExceededError");
  });
  const visitor = createVisitor(settings);
  const { visitor: id } = visitor.touch(0, "");
  visitor.verify();
  full.mockRestore();
  expect(visitor.refresh()).toBe(false);
  expect(visitor.memory().visitor).toBe(id);
});

test("a look after a withdrawal reads nothing and decides nothing", () => {
  const visitor = createVisitor(settings);
  visitor.touch(0, "");
  visitor.forget();
  visitor.verify();
  visitor.touch(1, "");
  expect(read()?.visitor).toBe(visitor.memory().visitor);
  expect(localStorage.getItem("_ts_v")).toBeNull();
});

test("forgetting removes the cookie, also one that this page never read", () => {
  expect(createVisitor(settings).forget()).toBe(false);
  writeCookie("_ts_v", encodeMemory(makeMemory()), "");
  expect(createVisitor(settings).forget()).toBe(true);
  expect(document.cookie).toBe("");
  const visitor = createVisitor(settings);
  const before = visitor.memory().visitor;
  expect(visitor.forget()).toBe(true);
  expect(visitor.memory().visitor).not.toBe(before);
});
