import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createHandover } from "../src/handover";
import { HANDOVER, makeSettings, standStill, stopListening, visit, watchListeners } from "./fakes";

const settings = makeSettings({ domains: "other.example shop.test" });
const ask = vi.fn();
let mayUse = true;

beforeEach(() => {
  standStill();
  watchListeners();
  visit("https://www.shop.example/");
  document.body.innerHTML = "";
  ask.mockReset();
  mayUse = true;
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

function addLink(href: string): HTMLAnchorElement {
  const link = document.createElement("a");
  link.setAttribute("href", href);
  link.append(document.createElement("b"));
  document.body.append(link);
  return link;
}
const fire = (target: Element, type: string): boolean =>
  target.dispatchEvent(new Event(type, { bubbles: true, composed: true }));

test.each([
  ["https://other.example/", `https://other.example/?_tsh=${HANDOVER}`],
  ["https://www.other.example/a?b=1#c?d", `https://www.other.example/a?b=1&_tsh=${HANDOVER}#c?d`],
  [`https://shop.test/a?_tsh=${HANDOVER.slice(1)}&b=1`, `https://shop.test/a?b=1&_tsh=${HANDOVER}`],
  ["https://shop.test/a?_tsh=old", `https://shop.test/a?_tsh=${HANDOVER}`],
  ["https://another.example/", "https://another.example/"],
  ["https://notother.example/", "https://notother.example/"],
  ["https://other.example.evil.example/", "https://other.example.evil.example/"],
  ["https://www.shop.example/", "https://www.shop.example/"],
  ["/relative", "/relative"],
])("%s becomes %s", (url, decorated) => {
  const handover = createHandover(settings, () => mayUse, ask);
  handover.keep(HANDOVER);
  expect(handover.decorate(url)).toBe(decorated);
});

test("a token that is old, or whose visitor may not be told on, decorates nothing", () => {
  const handover = createHandover(settings, () => mayUse, ask);
  handover.keep(HANDOVER);
  mayUse = false;
  expect(handover.decorate("https://other.example/")).toBe("https://other.example/");
  mayUse = true;
  vi.advanceTimersByTime(240_001);
  expect(handover.decorate("https://other.example/")).toBe("https://other.example/");
});

test("without a token nothing is decorated", () => {
  expect(createHandover(settings, () => mayUse, ask).decorate("https://other.example/")).toBe("https://other.example/");
});

test("a pointer or the focus near a listed link asks for a token, once while it is fresh, and no other link does", () => {
  createHandover(settings, () => mayUse, ask);
  fire(addLink("https://elsewhere.example/"), "pointerover");
  fire(document.body, "pointerover");
  expect(ask).not.toHaveBeenCalled();
  const link = addLink("https://other.example/");
  fire(link.firstElementChild as Element, "pointerover");
  fire(link, "focusin");
  expect(ask).toHaveBeenCalledTimes(1);
  vi.advanceTimersByTime(240_001);
  fire(link, "focusin");
  expect(ask).toHaveBeenCalledTimes(2);
});

test("the link carries the token while it is followed, and not after", () => {
  createHandover(settings, () => mayUse, ask).keep(HANDOVER);
  const link = addLink("//other.example/a");
  let followed = "";
  link.addEventListener("click", (event) => {
    followed = link.href;
    event.preventDefault();
  });
  fire(link.firstElementChild as Element, "click");
  expect(followed).toBe(`https://other.example/a?_tsh=${HANDOVER}`);
  vi.advanceTimersByTime(0);
  expect(link.getAttribute("href")).toBe("//other.example/a");
});

test("a site without listed domains has no listeners", () => {
  const add = vi.spyOn(window, "addEventListener");
  createHandover(makeSettings(), () => true, ask);
  expect(add).not.toHaveBeenCalled();
});
