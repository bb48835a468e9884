import { afterEach, beforeEach, expect, test } from "vitest";
import { capture } from "../src/capture";
import { makeSettings, visit } from "./fakes";

const scope = window as unknown as Record<string, unknown>;

beforeEach(() => visit("https://shop.example/"));
afterEach(() => {
  document.head.innerHTML = "";
  Reflect.deleteProperty(scope, "dataLayer");
  Reflect.deleteProperty(scope, "shop");
});

const read = (spec: string, parameters = {}) => capture(makeSettings({ capture: spec }), parameters);

test("each source gives its identifier, with where it was found", () => {
  const meta = document.createElement("meta");
  meta.name = "customer-mail";
  meta.content = "kim@example.org";
  document.head.append(meta);
  scope.shop = { customer: { number: 4711 } };
  scope.dataLayer = [{ customer: { id: "old" } }, { event: "x" }, { customer: { id: "new" } }];
  // biome-ignore lint/suspicious/noDocumentCookie: the site's own cookie.
  document.cookie = "crm=A%2B1;path=/";
  const spec =
    "customer=param:cid email=meta:customer-mail customer=js:shop.customer.number customer=data:customer.id customer=cookie:crm";
  expect(read(spec, { cid: "A%201+2" })).toEqual([
    { k: "customer", v: "A 1 2", o: "param" },
    { k: "email", v: "kim@example.org", o: "meta" },
    { k: "customer", v: "4711", o: "js" },
    { k: "customer", v: "new", o: "data" },
    { k: "customer", v: "A+1", o: "cookie" },
  ]);
});

test("what is missing, empty, too long, no text or number, or throws is nothing, and costs the others nothing", () => {
  scope.shop = {
    empty: "",
    list: [1],
    long: "x".repeat(257),
    nothing: null,
    get trap(): never {
      throw new Error("not yours");
    },
  };
  const spec =
    "customer=js:shop.empty customer=js:shop.list customer=js:shop.long customer=js:shop.nothing.id customer=js:shop.trap " +
    "customer=js:nowhere.at.all customer=data:x customer=meta:none customer=cookie:none customer=param:none " +
    "customer=thin_air:x broken customer=param:bad";
  expect(read(spec, { bad: "%E0%A4%A" })).toEqual([]);
  scope.shop = { id: "7" };
  expect(read(`${spec} customer=js:shop.id`)).toEqual([{ k: "customer", v: "7", o: "js" }]);
});

test("the name of a meta element cannot break out of the selector", () => {
  expect(read('customer=meta:x"],[name="y')).toEqual([]);
});
