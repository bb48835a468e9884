// What a site's compiler says to calls that are right, and to calls that are wrong. Never run: type-checked against the
// built index.d.ts, strictly. A `@ts-expect-error` is itself an error where the line below it would compile.
import {
  alias,
  type ConsentAnswer,
  consent,
  group,
  type Item,
  identify,
  link,
  on,
  optIn,
  optOut,
  page,
  reset,
  type StartSettings,
  start,
  type Tagstitch,
  tagstitch,
  track,
  use,
} from "tagstitch-tag";

declare module "tagstitch-tag" {
  interface Events {
    trial_started: { plan: "basic" | "pro"; days?: number };
    newsletter_closed: { edition?: number };
  }
  interface ItemFields {
    warehouse?: string;
  }
}

// ---- settings
const settings: StartSettings = { site: "shop", script: "/data/t.js", consent: "implied", debug: "overlay", page: false };
const tag: Tagstitch = start({ ...settings, global: "shopTag", clicks: { ".buy": "buy_click" } });
start({ site: "shop", beforeSend: (event) => (event.n === "secret" ? null : { ...event, h: "" }) });
// @ts-expect-error: a site needs its id
start({ consent: "required" });
// @ts-expect-error: no such preset
start({ site: "shop", consent: "none" });
// @ts-expect-error: no such setting
start({ site: "shop", consnet: "required" });

// ---- who
const customer: { id: string | undefined; number: number | null } = { id: undefined, number: null };
identify("4711", { kind: "customer", signature: "1.2.ab", traits: { plan: "gold", orders: 3, since: new Date(0) } });
identify(customer.id);
identify(customer.number);
identify("", { token: "eyJ…" });
alias("ada@shop.example", { kind: "email" });
group("acme", { kind: "company", traits: { seats: 5 } });
// @ts-expect-error: a boolean names nobody
identify(true);
// @ts-expect-error: a trait must be sendable
identify("4711", { traits: { call: () => 1 } });
// @ts-expect-error: a group has an id
group(undefined);
// @ts-expect-error: reset takes nothing
reset("4711");

// ---- consent
const answer: ConsentAnswer = { analytics: true, marketing: false };
consent(answer);
consent("none");
optOut();
optIn();
// @ts-expect-error: no such answer
consent("yes");
consent("all", { source: "our banner", proof: "record 17", policy: 3 });
// @ts-expect-error: no such purpose
consent({ storage: true });

// ---- events
const items: Item[] = [
  { item_id: "A-1", price: 12.5, quantity: 2, warehouse: "north" },
  { item_name: "Gift card", item_category: "cards" },
];
track("purchase", { transaction_id: "o-1", value: 25, currency: "EUR", tax: 4, shipping: 0, coupon: "MAY", items });
track("add_to_cart", { items });
track("search", { search_term: "lamp" });
track("login");
track("refund", { transaction_id: "o-1" });
track("trial_started", { plan: "pro" });
track("newsletter_closed");
track("whatever_else");
track("whatever_else", { deep: { list: [1, "two", null, { three: true }] } });
const any: string = JSON.parse('"purchase"');
track(any, { free: 1 });
// @ts-expect-error: a purchase has a transaction_id
track("purchase", { value: 25, currency: "EUR", items });
// @ts-expect-error: and must be described
track("purchase");
// @ts-expect-error: a number is a number
track("purchase", { transaction_id: "o-1", value: "25", currency: "EUR", items });
// @ts-expect-error: typing errors in known events are found
track("add_to_cart", { items, curency: "EUR" });
// @ts-expect-error: an item has an id or a name
track("view_item", { items: [{ price: 1 }] });
// @ts-expect-error: the site's own events are known as well
track("trial_started", { plan: "platinum" });
// @ts-expect-error: and what they must have
track("trial_started");
// @ts-expect-error: a function cannot be sent
track("whatever_else", { call: () => 1 });
// @ts-expect-error: nor can a BigInt
track("whatever_else", { big: BigInt(1) });
// @ts-expect-error: properties have names
track("whatever_else", 5);

// ---- the rest
page();
page({ kind: "article" });
link("https://pay.example/cart", (url) => location.assign(url));
on("event", (event) => [event.n.length, event.p?.price, event.k?.[0]?.v]);
use((commands) => commands.track("login"), { purpose: "marketing" });
use("/add-on.js");
// @ts-expect-error: an event has no such field
on("event", (event) => event.name);
// @ts-expect-error: nothing of that name is to be heard
on("beacon", () => {});
// @ts-expect-error: no such purpose
use("/add-on.js", { purpose: "storage" });

// ---- the function, as pages with the script call it
tagstitch("init", { site: "shop" });
tagstitch("page");
tagstitch("track", "purchase", { transaction_id: "o-1", value: 25, currency: "EUR", items });
tagstitch("track", "login");
tagstitch("track", "whatever_else", { n: 1 });
tagstitch("identify", "4711", { signature: "1.2.ab" });
tagstitch("alias", 4711);
tagstitch("group", "acme");
tagstitch("consent", { identity: true });
tagstitch("link", "https://pay.example/", (url: string) => url.length);
tagstitch("on", "event", (event) => event.n.length);
tagstitch("use", "/add-on.js");
tag("reset");
tag("optOut");
// @ts-expect-error: no such command
tagstitch("trak", "login");
// @ts-expect-error: a purchase has a transaction_id here, too
tagstitch("track", "purchase", { value: 25, currency: "EUR", items });
// @ts-expect-error: an event has a name
tagstitch("track");
// @ts-expect-error: consent needs an answer
tagstitch("consent");
