import { expect, test } from "vitest";
import { readSettings } from "../src/settings";

function makeScript(attributes: Record<string, string>): HTMLScriptElement {
  const script = document.createElement("script");
  for (const name in attributes) script.setAttribute(name, attributes[name] as string);
  return script;
}

test("the script element says all there is to say", () => {
  const script = makeScript({
    src: "https://shop.example/assets/main.js",
    "data-site": "shop",
    "data-endpoint": "/e",
    "data-consent": "implied",
    "data-cookie": "sid",
    "data-cookie-domain": "shop.example",
    "data-session-minutes": "60",
    "data-link": "from",
    "data-page": "off",
    "data-debug": "on",
    "data-profile": "400",
  });
  script.nonce = "abc";
  expect(readSettings(script, {})).toEqual({
    site: "shop",
    endpoint: "https://shop.example/e",
    script: "https://shop.example/assets/main.js",
    consent: "implied",
    cookie: "sid",
    cookieDomain: "shop.example",
    sessionMinutes: "60",
    link: "from",
    page: "off",
    debug: "on",
    profile: "400",
    nonce: "abc",
    auto: "",
    capture: "",
    consentFrom: "",
    domains: "",
    handover: "_tsh",
    dataLayer: "dataLayer",
    clicks: {},
  });
});

test("beacons go beside the tag, and consent is required, unless said otherwise", () => {
  expect(readSettings(makeScript({ src: "https://c.example/x/t-0.1.0-0a1b2c3d.js" }), { site: "shop" })).toMatchObject({
    site: "shop",
    endpoint: "https://c.example/x/b",
    consent: "required",
    page: "on",
    debug: "off",
  });
});

test("init is stronger than the element, and does without one", () => {
  const script = makeScript({ src: "https://c.example/x/t.js", "data-site": "shop", "data-consent": "off" });
  expect(readSettings(script, { site: "blog", consent: "required" })).toMatchObject({
    site: "blog",
    consent: "required",
  });
  expect(readSettings(null, { site: "blog", endpoint: "https://c.example/x/b" })).toMatchObject({
    site: "blog",
    endpoint: "https://c.example/x/b",
  });
});
