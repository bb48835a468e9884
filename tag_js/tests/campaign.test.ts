import { beforeEach, expect, test } from "vitest";
import { digest, keepTouch, readLanding } from "../src/campaign";
import { recallJson } from "../src/device";
import { visit } from "./fakes";

beforeEach(() => visit("https://shop.example/"));

const land = (search: string, referrer = "", token = ""): ReturnType<typeof readLanding> => {
  visit(`https://shop.example/offer${search}`, referrer);
  return readLanding(token);
};

test("an address without campaign has no digest and brings nothing", () => {
  expect(land("?color=red&page=2")).toEqual({ campaign: "", touch: {} });
});

test("other parameters do not matter, campaign parameters do", () => {
  const { campaign, touch } = land("?utm_source=news&utm_campaign=spring");
  expect(campaign).not.toBe("");
  expect(touch).toEqual({ utm_source: "news", utm_campaign: "spring" });
  expect(land("?color=red&utm_source=news&utm_campaign=spring#top").campaign).toBe(campaign);
  expect(land("?utm_source=news&utm_campaign=summer").campaign).not.toBe(campaign);
});

test("a click id and a tagged link are campaigns; a click id is kept by its name only", () => {
  const landings = [land("?gclid=1"), land("?gclid=2"), land("", "", "token-of-a-link")];
  expect(new Set(landings.map(({ campaign }) => campaign)).size).toBe(3);
  expect(landings[0]?.touch).toEqual({ click_id: "gclid" });
});

test("the referring host is part of the touch, the site itself is not", () => {
  expect(land("", "https://search.example/find?q=secret").touch).toEqual({ referrer: "search.example" });
  expect(land("", "https://shop.example/home").touch).toEqual({});
});

test("the first touch stays, the last one changes with what brings the visitor back", () => {
  const first = { utm_source: "news" };
  expect(keepTouch("_ts_vt", first, 1)).toEqual({ first_touch: { ...first, time: 1 } });
  keepTouch("_ts_vt", { referrer: "search.example" }, 2);
  // Straight back: what brought them last still counts.
  expect(keepTouch("_ts_vt", {}, 3)).toEqual({
    first_touch: { ...first, time: 1 },
    last_touch: { referrer: "search.example", time: 2 },
  });
  expect(recallJson("_ts_vt")).toHaveProperty("f.utm_source", "news");
});

test("what stands in storage and is not ours is overwritten", () => {
  localStorage.setItem("_ts_vt", "{broken");
  expect(keepTouch("_ts_vt", {}, 5)).toEqual({ first_touch: { time: 5 } });
});

test("a digest is short and of the whole text", () => {
  expect(digest("a")).toMatch(/^[0-9a-z]{1,7}$/);
  expect(digest("ab")).not.toBe(digest("ba"));
});
