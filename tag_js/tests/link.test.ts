import { beforeEach, expect, test, vi } from "vitest";
import { splitLink, takeLink } from "../src/link";
import { TOKEN, visit } from "./fakes";

beforeEach(() => visit("https://shop.example/"));

test.each([
  [`https://s.example/a?lt=${TOKEN}`, "https://s.example/a"],
  [`https://s.example/a?lt=${TOKEN}#top`, "https://s.example/a#top"],
  [`https://s.example/a?lt=${TOKEN}&b=1`, "https://s.example/a?b=1"],
  [`https://s.example/a?b=1&lt=${TOKEN}`, "https://s.example/a?b=1"],
  [`https://s.example/a?b=1&lt=${TOKEN}&c=2#x?lt=y`, "https://s.example/a?b=1&c=2#x?lt=y"],
])("%s leaves %s", (url, rest) => {
  expect(splitLink(url, "lt")).toEqual([rest, TOKEN]);
});

test.each(["https://s.example/a?alt=", "https://s.example/a?melt=", "https://s.example/lt="])(
  "%s + token is somebody else's parameter",
  (url) => {
    expect(splitLink(url + TOKEN, "lt")).toEqual([url + TOKEN, ""]);
  },
);

test("a short value is no token of ours and stays", () => {
  expect(splitLink("https://s.example/?lt=5", "lt")).toEqual(["https://s.example/?lt=5", ""]);
});

test("the parameter's name can be another", () => {
  expect(splitLink(`https://s.example/?from=${TOKEN}`, "from")).toEqual(["https://s.example/", TOKEN]);
});

test("the token leaves the address bar, the page's state stays, and no patched replaceState sees it", () => {
  visit(`https://shop.example/a?lt=${TOKEN}&b=1`);
  const original = vi.spyOn(History.prototype, "replaceState");
  const patched = vi.fn();
  Object.defineProperty(history, "replaceState", { value: patched, configurable: true });
  try {
    expect(takeLink("lt", undefined)).toBe(TOKEN);
  } finally {
    Reflect.deleteProperty(history, "replaceState");
  }
  expect(original).toHaveBeenCalledWith(history.state, "", "https://shop.example/a?b=1");
  expect(patched).not.toHaveBeenCalled();
});

test("a token that the snippet took before is found in the address that it kept", () => {
  expect(takeLink("lt", `https://shop.example/a?lt=${TOKEN}`)).toBe(TOKEN);
  expect(takeLink("lt", "https://shop.example/a")).toBe("");
});
