import { beforeEach, expect, test, vi } from "vitest";
import { splitAddress, takeParameters } from "../src/address";
import { HANDOVER, makeSettings, TOKEN, visit } from "./fakes";

beforeEach(() => visit("https://shop.example/"));

const split = (url: string): ReturnType<typeof splitAddress> => splitAddress(url, (name) => name === "lt");

test.each([
  ["https://s.example/a?lt=T", "https://s.example/a"],
  ["https://s.example/a?lt=T#top", "https://s.example/a#top"],
  ["https://s.example/a?lt=T&b=1", "https://s.example/a?b=1"],
  ["https://s.example/a?b=1&lt=T", "https://s.example/a?b=1"],
  ["https://s.example/a?b&lt=T&c=", "https://s.example/a?b&c="],
  ["https://s.example/a?b=1&lt=T&c=2#x?lt=y", "https://s.example/a?b=1&c=2#x?lt=y"],
])("%s leaves %s", (url, rest) => {
  expect(split(url)).toEqual([rest, { lt: "T" }]);
});

test.each([
  "https://s.example/a?alt=T",
  "https://s.example/a?melt=T",
  "https://s.example/lt=T",
  "https://s.example/#lt=T",
])("%s is somebody else's parameter", (url) => {
  expect(split(url)).toEqual([url, {}]);
});

test("several leave at once", () => {
  const all = splitAddress("https://s.example/?lt=T&a=1&cid=5&_tsh=H", (name) => name !== "a");
  expect(all).toEqual(["https://s.example/?a=1", { lt: "T", cid: "5", _tsh: "H" }]);
});

test("a short value is no token of ours and stays; what the site captures leaves whatever it is", () => {
  visit("https://shop.example/?lt=5&_tsh=6&cid=7");
  const settings = makeSettings({ capture: "customer=param:cid email=meta:mail" });
  expect(takeParameters(settings, undefined)).toEqual({ cid: "7" });
  expect(location.href).toBe("https://shop.example/?lt=5&_tsh=6");
});

test("the names can be others", () => {
  visit(`https://shop.example/?from=${TOKEN}&over=${HANDOVER}`);
  const settings = makeSettings({ link: "from", handover: "over" });
  expect(takeParameters(settings, undefined)).toEqual({ from: TOKEN, over: HANDOVER });
});

test("the token leaves the address bar, the page's state stays, and no patched replaceState sees it", () => {
  visit(`https://shop.example/a?lt=${TOKEN}&b=1`);
  const original = vi.spyOn(History.prototype, "replaceState");
  const patched = vi.fn();
  Object.defineProperty(history, "replaceState", { value: patched, configurable: true });
  try {
    expect(takeParameters(makeSettings(), undefined)).toEqual({ lt: TOKEN });
  } finally {
    Reflect.deleteProperty(history, "replaceState");
  }
  expect(original).toHaveBeenCalledWith(history.state, "", "https://shop.example/a?b=1");
  expect(patched).not.toHaveBeenCalled();
});

test("an address without them is left alone", () => {
  visit("https://shop.example/a?b=%20&&c#d");
  const replace = vi.spyOn(History.prototype, "replaceState");
  expect(takeParameters(makeSettings(), undefined)).toEqual({});
  expect(replace).not.toHaveBeenCalled();
});

test("what the snippet took before is found in the address that it kept", () => {
  expect(takeParameters(makeSettings(), `https://shop.example/a?lt=${TOKEN}`)).toEqual({ lt: TOKEN });
  expect(takeParameters(makeSettings(), "https://shop.example/a")).toEqual({});
});
