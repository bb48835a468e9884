import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Offer, Profile } from "../src/api";
import { createSlots } from "../src/profile/slots";
import { stopListening, visit, watchListeners } from "./fakes";
import { act, put } from "./trusted";

type Entry = [target: Element, ratio: number];

let tracked: unknown[];
let look: (...entries: Entry[]) => void;
let watched: Set<Element>;
let profile: Profile;

beforeEach(() => {
  vi.useFakeTimers();
  visit("https://shop.example/");
  watchListeners();
  document.body.innerHTML = "";
  tracked = [];
  watched = new Set();
  profile = {
    known: true,
    level: 3,
    traits: { first_name: "Ada", plan: "gold", orders: 3, is_vip: false, motto: "a=b c" },
    audiences: ["loyal", "new_in_town"],
    offers: [],
  };
  vi.stubGlobal(
    "IntersectionObserver",
    class {
      constructor(run: (entries: unknown[]) => void, { threshold }: { threshold: number }) {
        expect(threshold).toBe(0.5);
        look = (...entries) => run(entries.map(([target, intersectionRatio]) => ({ target, intersectionRatio })));
      }
      observe(target: Element): void {
        watched.add(target);
      }
      disconnect(): void {
        watched.clear();
      }
    },
  );
});
afterEach(() => {
  stopListening();
  vi.useRealTimers();
});

const fill = (isAwaited: unknown = true): ((profile?: Profile) => void) => {
  const slots = createSlots((...event) => tracked.push(event), isAwaited);
  slots(profile);
  return slots;
};
const NOBODY: Profile = { known: false, level: 0, traits: {}, audiences: [], offers: [] };

test.each([
  ["first_name", "Ada"],
  ["orders", "3"],
  ["is_vip", "false"],
  ["last_name", "friend"],
  ["constructor", "friend"],
  ["__proto__", "friend"],
  ["", "friend"],
])("the trait %s as text: %s", (name, text) => {
  const slot = put(`<b id=it data-ts-text="${name}">friend</b>`);
  fill();
  expect(slot.textContent).toBe(text);
});

test.each([null, undefined, "", { toString: () => "x" }, ["x"]])(
  "a trait that is no text, %j, leaves the page's own",
  (value) => {
    profile.traits = { first_name: value as never };
    const slot = put("<b id=it data-ts-text=first_name>friend</b>");
    fill();
    expect(slot.textContent).toBe("friend");
  },
);

test("what looks like HTML is text", () => {
  profile.traits = { first_name: "<img src=x onerror=alert(1)><script>alert(1)</script>" };
  const slot = put("<b id=it data-ts-text=first_name>friend</b>");
  fill();
  expect(slot.children).toHaveLength(0);
  expect(slot.textContent).toBe(profile.traits.first_name);
});

test.each(["script", "style", "SCRIPT"])("an element whose text is a program is left alone: %s", (name) => {
  const slot = document.createElement(name);
  slot.setAttribute("data-ts-text", "first_name");
  document.body.append(slot);
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "script");
  drawn.setAttribute("data-ts-text", "first_name");
  document.body.append(drawn);
  fill();
  expect(slot.textContent + drawn.textContent).toBe("");
});

test("the page's own content comes back, the very same nodes", () => {
  const slot = put("<p id=it data-ts-text=first_name>dear <b>friend</b></p>");
  const before = [...slot.childNodes];
  const slots = fill();
  expect(slot.innerHTML).toBe("Ada");
  slots({ ...profile, traits: { first_name: "Grace" } });
  expect(slot.innerHTML).toBe("Grace");
  slots(NOBODY);
  expect([...slot.childNodes]).toEqual(before);
  expect(slot.lastChild).toBe(before[1]);
  slots(NOBODY);
  expect(slot.innerHTML).toBe("dear <b>friend</b>");
});

test.each([
  ["known", true],
  ["!known", false],
  ["audience:loyal", true],
  ["audience:lost", false],
  ["!audience:lost", true],
  ["trait:plan", true],
  ["trait:plan=gold", true],
  ["trait:plan=silver", false],
  ["!trait:plan=silver", true],
  ["trait:orders=3", true],
  ["trait:is_vip=false", true],
  ["trait:motto=a=b c", true],
  ["trait:constructor", false],
  ["audience", false],
  ["", false],
  ["likes:cats", false],
])("shown where %s: %s", (condition, isShown) => {
  const slot = put(`<p id=it data-ts-show="${condition}" ${isShown ? "hidden" : ""}></p>`);
  fill();
  expect(slot.hidden).toBe(!isShown);
});

test("where nobody is known, what is for those who are is hidden again", () => {
  const slot = put("<p id=it data-ts-show=known hidden></p>");
  const slots = fill();
  expect(slot.hidden).toBe(false);
  slots(NOBODY);
  expect(slot.hidden).toBe(true);
});

test("slots that come later are filled, where there were some or some are awaited", async () => {
  const add = async (): Promise<string | null> => {
    const element = document.createElement("div");
    element.innerHTML = "<p><b data-ts-text=first_name>friend</b></p>";
    document.body.append("text", element);
    await vi.advanceTimersByTimeAsync(0);
    return element.textContent;
  };
  fill(false);
  expect(await add()).toBe("friend");
  fill(false);
  expect(await add()).toBe("Ada");
  document.body.innerHTML = "";
  fill(400);
  expect(await add()).toBe("Ada");
});

// -- offers -------------------------------------------------------------------------------------------------------------

const OFFER: Offer = {
  id: "o1",
  slot: "hero banner",
  content: { title: "For you", text: "20 % off", href: "/deal?a=1" },
};
const HERO =
  '<div id=it data-ts-offer="hero banner"><h2 data-ts-field=title>Spring</h2>' +
  '<a data-ts-field=text data-ts-link=href href="/all">All</a></div>';

/** Put the hero on the page and fill it; returns the place. */
function placeOffer(changes: object = {}): [HTMLElement, (profile?: Profile) => void] {
  profile.offers = [
    { ...OFFER, ...changes },
    { ...OFFER, id: "o2" },
  ];
  const place = put(HERO);
  return [place, fill()];
}

test("an offer's texts and address stand in its place, the first for that slot; without one the page's own do", () => {
  const [place, slots] = placeOffer();
  const link = place.querySelector("a") as HTMLAnchorElement;
  expect([place.textContent, link.getAttribute("href")]).toEqual(["For you20 % off", "https://shop.example/deal?a=1"]);
  slots(NOBODY);
  expect([place.textContent, link.getAttribute("href")]).toEqual(["SpringAll", "/all"]);
  expect(place.outerHTML).toBe(put(HERO).outerHTML);
});

test.each([
  ["https://shop.example/x", "https://shop.example/x"],
  ["http://other.example/x", "http://other.example/x"],
  ["//other.example/x", "https://other.example/x"],
  ["deal#top", "https://shop.example/deal#top"],
  ["#top", "https://shop.example/#top"],
  ["javascript:alert(1)", "/all"],
  [" JaVa\nScript:alert(1)", "/all"],
  ["\u0001javascript:alert(1)", "/all"],
  ["data:text/html,<script>alert(1)</script>", "/all"],
  ["vbscript:x", "/all"],
  ["blob:https://shop.example/1", "/all"],
  ["mailto:ada@shop.example", "/all"],
  ["https://", "/all"],
  ["", "/all"],
])("the address %j leads to %s", (href, found) => {
  const [place] = placeOffer({ content: { href } });
  expect(place.querySelector("a")?.getAttribute("href")).toBe(found);
});

test.each(["javascript:alert(1)", "https://"])(
  "where %s is refused, the page's own replaces the one before",
  (href) => {
    const [place, slots] = placeOffer();
    slots({ ...profile, offers: [{ ...OFFER, content: { href } }] });
    expect(place.querySelector("a")?.getAttribute("href")).toBe("/all");
  },
);

test.each(["a", "link", "base", "area", "form"])("only a link that has an address gets one, not %s", (name) => {
  profile.offers = [OFFER];
  const place = put("<div id=it data-ts-offer='hero banner'></div>");
  const element = document.createElement(name);
  element.setAttribute("data-ts-link", "href");
  place.append(element);
  fill();
  expect(element.hasAttribute("href")).toBe(false);
});

test("half in view for a second without a break is seen, once a view of the page", async () => {
  const [place, slots] = placeOffer();
  expect([...watched]).toEqual([place]);
  look([place, 0.49]);
  await vi.advanceTimersByTimeAsync(2000);
  look([place, 0.5]);
  await vi.advanceTimersByTimeAsync(999);
  look([place, 0.1]);
  await vi.advanceTimersByTimeAsync(2000);
  expect(tracked).toEqual([]);
  look([place, 1]);
  await vi.advanceTimersByTimeAsync(1000);
  look([place, 0], [place, 1]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(tracked).toEqual([["offer_shown", { offer: "o1", slot: "hero banner" }]]);
  slots(); // another view
  look([place, 1]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(tracked).toHaveLength(2);
});

test("a page that is hidden shows nothing: the second begins anew", async () => {
  const [place] = placeOffer();
  const turn = (hidden: boolean): void => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  };
  look([place, 1]);
  await vi.advanceTimersByTimeAsync(900);
  turn(true);
  expect(watched.size).toBe(0);
  await vi.advanceTimersByTimeAsync(5000);
  turn(false);
  expect([...watched]).toEqual([place]);
  look([place, 1]);
  await vi.advanceTimersByTimeAsync(999);
  expect(tracked).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(tracked).toHaveLength(1);
});

test("an offer that is gone within its second was not seen", async () => {
  const [place, slots] = placeOffer();
  look([place, 1]);
  slots(NOBODY);
  await vi.advanceTimersByTimeAsync(2000);
  expect([tracked, watched.size]).toEqual([[], 0]);
});

test("held out: the page's own stands there, and is noted by the same rule; a click on it is none on an offer", async () => {
  const [place] = placeOffer({ held_out: true, content: {} });
  expect(place.textContent).toBe("SpringAll");
  look([place, 0.5]);
  await vi.advanceTimersByTimeAsync(1000);
  act(place.querySelector("a") as Element, "click");
  expect(tracked).toEqual([["offer_held_out", { offer: "o1", slot: "hero banner" }]]);
});

test("a click within the place, of a person, once; not where the site lets nobody look", () => {
  const [place] = placeOffer();
  const link = place.querySelector("a") as Element;
  link.dispatchEvent(new Event("click", { bubbles: true }));
  act(link, "auxclick", { button: 2 });
  act(document.body, "click");
  act(document, "click");
  expect(tracked).toEqual([]);
  act(link, "auxclick", { button: 1 });
  act(link, "click");
  expect(tracked).toEqual([["offer_clicked", { offer: "o1", slot: "hero banner" }]]);
  tracked = [];
  document.body.innerHTML = `<div data-ts-ignore>${HERO}</div>`;
  fill();
  act(document.querySelector("a") as Element, "click");
  expect(tracked).toEqual([]);
});

test("an offer of which the page has no place is noted nowhere", () => {
  profile.offers = [OFFER];
  put("<div id=it data-ts-offer=footer></div>");
  fill();
  expect(watched.size).toBe(0);
});
