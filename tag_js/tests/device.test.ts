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

test("a full storage keeps nothing, and says so", () => {
  const full = vi.spyOn(localStorage, "setItem").mockImplementation(() => {
    throw new DOMException("full", "QuotaExceededError");
  });
  expect(keep("a", "1")).toBe(false);
  full.mockRestore();
});

test("where local storage is forbidden the session's takes its place", () => {
  const before = Object.getOwnPropertyDescriptor(window, "localStorage");
  Object.defineProperty(window, "localStorage", {
    configurable: true,
    get: () => {
      throw new DOMException("blocked", "SecurityError");
    },
  });
  try {
    expect(keep("a", "1")).toBe(true);
    expect([recall("a"), sessionStorage.getItem("a")]).toEqual(["1", "1"]);
  } finally {
    if (before) Object.defineProperty(window, "localStorage", before);
    else Reflect.deleteProperty(window, "localStorage");
  }
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
