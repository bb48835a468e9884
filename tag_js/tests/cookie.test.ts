import { beforeEach, expect, test, vi } from "vitest";
import { GONE_S, readCookie, writeCookie } from "../src/cookie";
import { visit } from "./fakes";

beforeEach(() => visit("https://shop.example/a/b"));

test("what was written is read, among other cookies", () => {
  // biome-ignore lint/suspicious/noDocumentCookie: another script's cookie.
  document.cookie = "x_ts_v=other;path=/";
  writeCookie("_ts_v", "abc.def", "");
  expect(readCookie("_ts_v")).toBe("abc.def");
  expect(readCookie("ts_v")).toBe("");
});

test("a cookie that is written as gone is gone", () => {
  writeCookie("_ts_v", "abc", "");
  writeCookie("_ts_v", "", "", GONE_S);
  expect(document.cookie).not.toContain("=abc");
  expect(readCookie("_ts_v")).toBe("");
});

test.each([
  ["https://shop.example/", "", "n=v;path=/;max-age=34560000;samesite=lax;secure"],
  ["http://localhost/", "", "n=v;path=/;max-age=34560000;samesite=lax"],
  ["https://www.shop.example/", "shop.example", "n=v;path=/;max-age=34560000;samesite=lax;domain=shop.example;secure"],
])("on %s with domain %s the attributes are right", (url, domain, expected) => {
  visit(url);
  const write = vi.spyOn(document, "cookie", "set");
  writeCookie("n", "v", domain);
  expect(write).toHaveBeenCalledWith(expected);
});
