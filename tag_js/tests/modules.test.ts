import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { loadModule, type ModuleElement, moduleAddress } from "../src/modules";
import { makeSettings } from "./fakes";

beforeEach(() => {
  vi.useFakeTimers();
  document.head.innerHTML = "";
});
afterEach(() => vi.useRealTimers());

test.each([
  ["https://shop.example/x/t.js", "https://shop.example/x/t-f-AbCdEfGh.js"],
  ["https://shop.example/x/t.js?v=1#a", "https://shop.example/x/t-f-AbCdEfGh.js"],
  ["https://shop.example/x/t-1.2.3-0a1b2c3d.js", "https://shop.example/x/t-f-AbCdEfGh.js"],
  ["https://shop.example/x/t-1.2.3rc1-0a1b2c3d.js", "https://shop.example/x/t-f-AbCdEfGh.js"],
  ["https://shop.example/my-own-tag.js", "https://shop.example/my-own-tag-f-AbCdEfGh.js"],
  ["https://shop.example/assets/main", "https://shop.example/assets/main-f-AbCdEfGh.js"],
])("the module of %s is %s", (script, module) => {
  expect(moduleAddress(script, "f", "Ab+Cd/EfGhIj=")).toBe(module);
});

/** Load the fingerprint module; returns what was asked for, in order, and a way to answer. */
function load(isWanted: () => boolean, changes = {}) {
  const got = vi.fn();
  const append = vi.spyOn(document.head, "append").mockImplementation(() => {});
  loadModule("f", makeSettings(changes), got, isWanted);
  vi.advanceTimersByTime(2000);
  const element = (): ModuleElement => append.mock.lastCall?.[0] as ModuleElement;
  const arrive = (run?: unknown): void => {
    element().run = run;
    element().onload?.(new Event("load"));
  };
  return { got, append, element, arrive };
}

test("the index is asked for first, then the module, each by integrity and with the page's nonce", () => {
  const { got, append, element, arrive } = load(() => true, { nonce: "n0nce" });
  expect(element()).toMatchObject({ nonce: "n0nce", integrity: "sha256-index+/", crossOrigin: "anonymous" });
  expect(element().src).toBe("https://shop.example/x/t-i-index.js");
  arrive({ f: "Ab+Cd/EfGhIj=" });
  expect(element()).toMatchObject({ nonce: "n0nce", integrity: "sha256-Ab+Cd/EfGhIj=" });
  expect(element().src).toBe("https://shop.example/x/t-f-AbCdEfGh.js");
  const run = (): void => {};
  arrive(run);
  expect(got).toHaveBeenCalledWith(run);
  expect(append).toHaveBeenCalledTimes(2);
});

test("consent that goes while a script is on its way keeps it from running", () => {
  let isWanted = true;
  const { got, append, arrive } = load(() => isWanted);
  arrive({ f: "Ab+Cd/EfGhIj=" });
  isWanted = false;
  arrive(() => {});
  expect(got).not.toHaveBeenCalled();
  const never = load(() => false);
  expect(never.append).toBe(append);
  expect(append).toHaveBeenCalledTimes(2);
});

test("a script that is blocked or altered is the end of it", () => {
  const { got, element } = load(() => true);
  element().onerror?.(new Event("error"));
  expect(got).not.toHaveBeenCalled();
});

test("under Trusted Types the address goes through a policy of ours, made once", () => {
  const createPolicy = vi.fn((_name: string, rules: { createScriptURL(url: string): string }) => rules);
  vi.stubGlobal("trustedTypes", { createPolicy });
  load(() => true);
  load(() => true);
  expect(createPolicy.mock.calls.map(([name]) => name)).toEqual(["tagstitch"]);
});
