import { beforeEach, expect, test, vi } from "vitest";
import { keep, recall, recallJson } from "../src/device";
import { visit } from "./fakes";

beforeEach(() => visit("https://shop.example/"));

test("what is kept is recalled, and removed where the text is empty", () => {
  expect(keep("a", "1")).toBe(true);
  expect(recall("a")).toBe("1");
  keep("a", "");
  expect(recall("a")).toBe("");
});

test("where local storage is full or forbidden the session's takes its place, then nothing does", () => {
  const full = vi.spyOn(localStorage, "setItem").mockImplementation(() => {
    throw new DOMException("full", "QuotaExceededError");
  });
  expect(keep("a", "1")).toBe(true);
  expect([localStorage.getItem("a"), sessionStorage.getItem("a")]).toEqual([null, "1"]);
  expect(recall("a")).toBe("1");
  full.mockRestore();
});

test("a sandboxed frame, where a storage throws when it is only named, keeps nothing and throws nothing", () => {
  const forbid = {
    configurable: true,
    get: () => {
      throw new DOMException("sandboxed", "SecurityError");
    },
  };
  const before = ["localStorage", "sessionStorage"].map(
    (name) => [name, Object.getOwnPropertyDescriptor(window, name)] as const,
  );
  for (const [name] of before) Object.defineProperty(window, name, forbid);
  try {
    expect(keep("a", "1")).toBe(false);
    expect(recall("a")).toBe("");
    expect(recallJson("a")).toBeUndefined();
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(window, name, descriptor);
      else Reflect.deleteProperty(window, name);
    }
  }
});

test("what is no JSON is nothing of ours", () => {
  localStorage.setItem("a", "{");
  expect(recallJson("a")).toBeUndefined();
});
