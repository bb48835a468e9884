import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { watchRoutes } from "../src/routes";
import { stopListening, visit, watchListeners } from "./fakes";

const onChange = vi.fn();
const { pushState, replaceState } = history;

beforeEach(() => {
  watchListeners();
  visit("https://shop.example/");
  onChange.mockReset();
});
afterEach(() => {
  stopListening();
  Reflect.deleteProperty(window, "navigation");
  Object.assign(history, { pushState, replaceState });
});

test("with the Navigation API its event is enough, and history stays as it is", () => {
  const navigation = Object.assign(new EventTarget(), { currentEntry: {} });
  Object.defineProperty(window, "navigation", { value: navigation, configurable: true });
  watchRoutes(onChange);
  expect(history.pushState).toBe(pushState);
  navigation.dispatchEvent(new Event("currententrychange"));
  expect(onChange).toHaveBeenCalledTimes(1);
});

test("without it pushState, replaceState and popstate are seen, and do what they did", () => {
  Object.defineProperty(window, "navigation", { value: undefined, configurable: true });
  watchRoutes(onChange);
  history.pushState({ a: 1 }, "", "/a");
  expect(location.pathname).toBe("/a");
  history.replaceState(null, "", "/b");
  expect(location.pathname).toBe("/b");
  dispatchEvent(new Event("popstate"));
  expect(onChange).toHaveBeenCalledTimes(3);
});

test.each([{}, document.body, 5])("what a page has under the name navigation (%s) is not taken for the API", (own) => {
  Object.defineProperty(window, "navigation", { value: own, configurable: true });
  watchRoutes(onChange);
  history.pushState(null, "", "/d");
  expect(onChange).toHaveBeenCalledTimes(1);
});

test("what we do wrong never reaches the router", () => {
  Object.defineProperty(window, "navigation", { value: undefined, configurable: true });
  watchRoutes(() => {
    throw new Error("ours");
  });
  expect(() => history.pushState(null, "", "/c")).not.toThrow();
});
