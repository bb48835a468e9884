// @vitest-environment node

import { expect, test } from "vitest";
import { digestCampaign } from "../src/campaign";

test("an address without campaign has no digest", () => {
  expect(digestCampaign("", "")).toBe("");
  expect(digestCampaign("?color=red&page=2", "")).toBe("");
});

test("other parameters do not matter, campaign parameters do", () => {
  const digest = digestCampaign("?utm_source=news&utm_campaign=spring", "");
  expect(digest).not.toBe("");
  expect(digestCampaign("?color=red&utm_source=news&utm_campaign=spring#top", "")).not.toBe("");
  expect(digestCampaign("?color=red&utm_source=news&utm_campaign=spring", "")).toBe(digest);
  expect(digestCampaign("?utm_source=news&utm_campaign=summer", "")).not.toBe(digest);
});

test("a click id and a tagged link are campaigns", () => {
  const digests = [
    digestCampaign("?gclid=1", ""),
    digestCampaign("?gclid=2", ""),
    digestCampaign("", "token-of-a-link"),
  ];
  expect(new Set(digests).size).toBe(3);
  expect(digests).not.toContain("");
});
