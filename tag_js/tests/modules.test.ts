import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { loadModule, type ModuleElement, moduleAddress } from "../src/modules";
import { makeSettings } from "./fakes";

beforeEach(() => {
  vi.useFakeTimers();
  document.head.innerHTML = "";
});
afterEach(() => vi.useRealTimers());

test.each([
  ["https://shop.example/x/t.js", "https://shop.example/x/t-f-0.0.0-AbCdEfGh.js"],
  ["https://shop.example/x/t.js?v=1#a", "https://shop.example/x/t-f-0.0.0-AbCdEfGh.js"],
  ["https://shop.example/x/t-1.2.3-0a1b2c3d.js", "https://shop.example/x/t-f-0.0.0-AbCdEfGh.js"],
  ["https://shop.example/x/t-1.2.3rc1-0a1b2c3d.js", "https://shop.example/x/t-f-0.0.0-AbCdEfGh.js"],
  ["https://shop.example/my-own-tag.js", "https://shop.example/my-own-tag-f-0.0.0-AbCdEfGh.js"],
  ["https://shop.example/assets/main", "https://shop.example/assets/main-f-0.0.0-AbCdEfGh.js"],
])("the module of %s is %s", (script, module) => {
  expect(moduleAddress(script, "f")).toBe(module);
});

test("the module is asked for by integrity and with the page's nonce, and hands itself over on its element", async () => {
  const got = vi.fn();
  const append = vi.spyOn(document.head, "append").mockImplementation(() => {});
  loadModule("f", makeSettings({ nonce: "n0nce" }), () => true, got);
  vi.advanceTimersByTime(2000);
  const element = append.mock.calls[0]?.[0] as ModuleElement;
  expect(element).toMatchObject({ nonce: "n0nce", integrity: "sha256-Ab+Cd/EfGhIj=", crossOrigin: "anonymous" });
  const run = async () => ({ v: 1, s: {} });
  element.run = run;
  element.onload?.(new Event("load"));
  await vi.advanceTimersByTimeAsync(0);
  expect(got).toHaveBeenCalledWith(run);
});

test("consent that goes while the module is on its way keeps it from reading", () => {
  let isWanted = true;
  const append = vi.spyOn(document.head, "append").mockImplementation(() => {});
  const got = vi.fn();
  loadModule("f", makeSettings(), () => isWanted, got);
  vi.advanceTimersByTime(2000);
  const element = append.mock.calls[0]?.[0] as ModuleElement;
  element.run = async () => ({ v: 1, s: {} });
  isWanted = false;
  element.onload?.(new Event("load"));
  expect(got).not.toHaveBeenCalled();
});
