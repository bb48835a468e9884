/**
 * What a page can say to the tag, for the compiler and for the editor. The package's `index.d.ts` is this file as it
 * stands: so it holds declarations only, and imports nothing. `docs/tag.md` explains the same in prose.
 *
 * Two ways in: the function `tagstitch(command, …)`, as pages with the script call it, and a function for each command.
 */

// ---- start ----------------------------------------------------------------------------------------------------------

/** How much may happen before the visitor has answered. Say the same in the collector. */
export type ConsentPreset =
  /** Nothing is sent, read or written; events wait in the page's memory. */
  | "required"
  /** Storage, identity and marketing count as granted; the device fingerprint does not. */
  | "implied"
  /** Events are sent without visitor and session, and nothing on the device is touched. */
  | "cookieless"
  /** Everything counts as granted: for intranets and tests. */
  | "off";

export interface Settings {
  /** The site's id, as in `tagstitch site list`. */
  site: string;
  /**
   * Address of the tag's script. The lazy modules (fingerprint, web vitals, media, profile, debug overlay) are loaded
   * from beside it, and beacons go to `b` beside it. Default: `/x/t.js`, on the site's own origin; none where only
   * `endpoint` is given, and then no lazy module is ever loaded.
   */
  script?: string;
  /** Address that takes the beacons. Default: `b` beside `script`. */
  endpoint?: string;
  /** What counts before the visitor has answered. Default: `required`. */
  consent?: ConsentPreset;
  /** Whether the first page view is sent by itself. Default: true. */
  page?: boolean;
  /**
   * What the tag notes by itself: words with a space between, out of `spa`, `hash` (a change of the fragment is a
   * route), `outbound`, `downloads`, `forms`, `clicks`, `engagement`, `media` and `vitals`. Default: all but `hash` and
   * `vitals`. `none`: nothing.
   */
  auto?: string;
  /** Event names for clicks, by CSS selector: `{ ".buy": "buy_click" }`. */
  clicks?: Record<string, string>;
  /**
   * Customer identifiers to pick up: `kind=source:name`, with a space between. Sources: `param`, `cookie`, `meta`,
   * `data` (data layer), `js`. Example: `customer=param:cid email=data:visitor.email`.
   */
  capture?: string;
  /** Consent tools to listen to: `tcf`, `gpp`, `google`, with a space between. */
  consentFrom?: string;
  /** Hosts to which visitors are handed over when they follow a link, with a space between. */
  domains?: string;
  /** Name of the cookie. Default: `_ts_v`. */
  cookie?: string;
  /** Domain whose subdomains share the visitor: `shop.example`. Default: this host alone. */
  cookieDomain?: string;
  /** Minutes without an event that end a session. Default: 30. */
  sessionMinutes?: number;
  /** URL parameter of tagged links. Default: `lt`. */
  link?: string;
  /** URL parameter that hands a visitor over. Default: `_tsh`. */
  handover?: string;
  /** Name of the page's data layer. Default: `dataLayer`. */
  dataLayer?: string;
  /**
   * Fill the page's slots (`data-ts-text`, `data-ts-show`, `data-ts-offer`) from the profile. The number is how many
   * milliseconds slots that wait for it are hidden at most: 400. See "Who is this?" in docs/tag.md.
   */
  profile?: number;
  /** Nonce of the page's content security policy, for the lazy modules. */
  nonce?: string;
  /** Explain in the console what is sent, held or refused and why; `overlay`: on the page as well. */
  debug?: boolean | "overlay";
  /** Look at each event before it is queued. What comes back goes instead; nothing goes where `null` comes back. */
  beforeSend?: (event: TagEvent) => TagEvent | null | undefined;
}

/** Settings of the package: those of the tag, and the name of the global function. */
export interface StartSettings extends Settings {
  /**
   * Name of the global function, through which consent tools and other scripts of the page reach the same tag.
   * Default: `tagstitch`. A tag that stands under this name already is used, never doubled.
   */
  global?: string;
}

// ---- who ------------------------------------------------------------------------------------------------------------

/** What a customer or a group is like: `{ plan: "gold" }`. */
export type Traits = Props;

export interface IdentifyOptions {
  /** Kind of the identifier, as declared for the site. Default: `customer`, your own customer number. */
  kind?: string;
  /** Made by your server, proves that the site said so. Without one it is a claim only. See docs/sign-identify.md. */
  signature?: string;
  /** ID token of an OpenID Connect issuer, or a JSON web token of your own; the value may be empty then. */
  token?: string;
  /** What your page had asked the issuer to put into the ID token: one with another nonce is refused. */
  nonce?: string;
  traits?: Traits;
}

export interface AliasOptions {
  /** Kind of the other identifier. Default: `customer`. */
  kind?: string;
  signature?: string;
}

export interface GroupOptions {
  /** Kind of the group: `household`, `team`. Default: `company`. */
  kind?: string;
  traits?: Traits;
}

/** Something that names somebody. What names nobody (`undefined`, `null`, "") is ignored, so no `if` is needed. */
export type Identifier = string | number | null | undefined;

// ---- consent --------------------------------------------------------------------------------------------------------

export interface Purposes {
  /** A visitor id in a first-party cookie. Without it nothing is sent. */
  analytics?: boolean;
  /** `identify` and tagged links: tying the visitor to a customer. */
  identity?: boolean;
  /** Reading signals of the device. */
  fingerprint?: boolean;
  /** Showing the page's own code who is there: traits, audiences, offers. */
  personalisation?: boolean;
  /** Using the events for marketing. */
  marketing?: boolean;
}

/** What is worth keeping about an answer, so that it can be proved years later. Give it when somebody has answered. */
export interface ConsentProof {
  /** Where they answered: the name of your banner. Default: `tag`. */
  source?: string;
  /** What your banner keeps of it: its own record's id, or the answer as a string. At most 4,000 characters. */
  proof?: string;
  /** Version of what they answered to, from 1 to 65,535. Default: the site's `policy_version`. */
  policy?: number;
}

/** The visitor's answer. Purposes that it does not name stay as they were. */
export type ConsentAnswer = "all" | "none" | Purposes;

// ---- the profile ----------------------------------------------------------------------------------------------------

/** Who this is, as far as the collector knows and this page may. See "Who is this?" in docs/tag.md. */
export interface Profile {
  /** Whether the visitor is known. Where nothing may be asked, or nothing was answered, nobody is. */
  known: boolean;
  /** How surely, 0 to 4. */
  level: number;
  /** What the customer is like, by name: only what the site lets pages see, and what this level reaches. */
  traits: Record<string, string | number | boolean>;
  /** Names of the audiences that the visitor is in. */
  audiences: string[];
  offers: Offer[];
}

export interface Offer {
  id: string;
  /** Name of the place on the page. */
  slot: string;
  /** Texts and addresses, by name. Text, not HTML: check an address before you use it. */
  content: Record<string, string | number | boolean>;
  /** The visitor is in the share that does not get it, for comparison; there is no content then. */
  held_out?: boolean;
}

// ---- events ---------------------------------------------------------------------------------------------------------

/** What can be sent: whatever JSON can say. An `interface` of yours is taken spread: `{ ...basket }`. */
export type Sendable =
  | string
  | number
  | boolean
  | null
  | undefined
  | Date
  | readonly Sendable[]
  | { readonly [name: string]: Sendable };

/** Properties of an event. They are copied when you call: later changes do not matter. */
export type Props = { readonly [name: string]: Sendable };

/**
 * Events of your own, typed. Declare them once and `track` knows their names and properties:
 *
 * ```ts
 * declare module "tagstitch-tag" {
 *   interface Events {
 *     trial_started: { plan: "basic" | "pro"; days?: number };
 *   }
 * }
 * ```
 *
 * Names that are declared nowhere may be tracked as well, with any properties.
 */
// biome-ignore lint/suspicious/noEmptyInterface: it is there to be filled by the site.
export interface Events {}

/** One product in an event. Needs `item_id` or `item_name`; add fields of your own by declaring this interface. */
export interface ItemFields {
  /** Affiliate or partner shop. */
  affiliation?: string;
  coupon?: string;
  /** Discount on one piece, in the event's currency. */
  discount?: number;
  /** Place in the list, from 0. */
  index?: number;
  item_brand?: string;
  item_category?: string;
  item_category2?: string;
  item_category3?: string;
  item_category4?: string;
  item_category5?: string;
  item_list_id?: string;
  item_list_name?: string;
  item_variant?: string;
  location_id?: string;
  /** Price of one piece after discount, in the event's currency. */
  price?: number;
  /** Default: 1. */
  quantity?: number;
}

export type Item = ItemFields & ({ item_id: string; item_name?: string } | { item_id?: string; item_name: string });

/** What most e-commerce events have. */
export interface Basket {
  items: readonly Item[];
  /** Sum of price times quantity of the items, without tax and shipping. With it goes `currency`. */
  value?: number;
  /** Three letters, ISO 4217: `EUR`. */
  currency?: string;
}

export interface ItemList {
  items: readonly Item[];
  item_list_id?: string;
  item_list_name?: string;
}

export interface Promotion {
  creative_name?: string;
  creative_slot?: string;
  promotion_id?: string;
  promotion_name?: string;
  items?: readonly Item[];
}

export interface Checkout extends Basket {
  coupon?: string;
}

export interface Shipping extends Checkout {
  /** `Ground`, `Next day`. */
  shipping_tier?: string;
}

export interface Payment extends Checkout {
  /** `Credit card`, `Invoice`. */
  payment_type?: string;
}

export interface Purchase extends Checkout {
  /** Number of the order. One order is one purchase, however often its page is opened. */
  transaction_id: string;
  value: number;
  currency: string;
  tax?: number;
  shipping?: number;
  customer_type?: "new" | "returning";
}

export interface Refund {
  /** Number of the order that was paid back. */
  transaction_id: string;
  value?: number;
  currency?: string;
  tax?: number;
  shipping?: number;
  coupon?: string;
  /** Only where a part is paid back: which. */
  items?: readonly Item[];
}

export interface Search {
  search_term: string;
}

export interface Method {
  /** `Google`, `e-mail`. */
  method?: string;
}

export interface Share extends Method {
  content_type?: string;
  item_id?: string;
}

/** The field's usual names for what happens in a shop, as Google Analytics 4 and its data layer use them. */
export interface CommerceEvents {
  search: Search;
  view_item_list: ItemList;
  select_item: ItemList;
  view_promotion: Promotion;
  select_promotion: Promotion;
  view_item: Basket;
  add_to_wishlist: Basket;
  add_to_cart: Basket;
  remove_from_cart: Basket;
  view_cart: Basket;
  begin_checkout: Checkout;
  add_shipping_info: Shipping;
  add_payment_info: Payment;
  purchase: Purchase;
  refund: Refund;
  sign_up: Method;
  login: Method;
  share: Share;
}

/** All events whose properties are known. What you declare in `Events` wins. */
export type KnownEvents = Omit<CommerceEvents, keyof Events> & Events;

/** Names that the editor offers; any other text is allowed, too. */
export type EventName = keyof KnownEvents | (string & Record<never, never>);

/** Properties of an event by its name. */
export type PropsOf<Name> = Name extends keyof KnownEvents ? KnownEvents[Name] : Props;

/** Properties may be left out where none is needed. */
export type PropsArgument<P> = Partial<P> extends P ? [props?: P] : [props: P];

/** An event as it travels. See docs/wire-format.md. */
export interface TagEvent {
  /** Event id. */
  i: string;
  /** Name. */
  n: string;
  /** Milliseconds since 1970 by this device's clock. */
  t: number;
  /** Address of the page. */
  u?: string;
  /** Its referrer. */
  r?: string;
  /** Its title. */
  h?: string;
  /** Properties. */
  p?: Record<string, unknown>;
  /** Identifiers: kind, value, signature, token, its nonce, origin. */
  k?: { k: string; v: string; g?: string; j?: string; n?: string; o?: string }[];
  /** Running number within the page load, from 1. */
  q: number;
}

// ---- the function and its commands ----------------------------------------------------------------------------------

/** The commands as functions, for add-ons: `commands.track("signed_up")`. */
export interface Commands {
  page: typeof page;
  track: typeof track;
  identify: typeof identify;
  alias: typeof alias;
  group: typeof group;
  reset: typeof reset;
  consent: typeof consent;
  optOut: typeof optOut;
  optIn: typeof optIn;
  link: typeof link;
  on: typeof on;
  onProfile: typeof onProfile;
  use: typeof use;
}

/** An add-on is called once, with the commands, as soon as the tag runs and the purpose's consent is there. */
export type AddOn = (commands: Commands) => void | Promise<void>;

export interface UseOptions {
  /** Start the add-on only once this is granted. */
  purpose?: keyof Purposes;
}

/**
 * The tag. It may be called at any time: before it has started, calls are kept and run later, in order; answers about
 * consent run first. It never throws into the page. On a server it does nothing.
 */
export interface Tagstitch {
  /** Say the settings to a tag whose script element cannot: see "Tag managers" in docs/tag.md. */
  (command: "init", settings: Partial<Settings> & { site: string }): void;
  /** See {@link page}. */
  (command: "page", props?: Props): void;
  /** See {@link identify}. */
  (command: "identify", value: Identifier, options?: IdentifyOptions): void;
  /** See {@link alias}. */
  (command: "alias", value: Identifier, options?: AliasOptions): void;
  /** See {@link group}. */
  (command: "group", id: string | number, options?: GroupOptions): void;
  /** See {@link reset}, {@link optOut} and {@link optIn}. */
  (command: "reset" | "optOut" | "optIn"): void;
  /** See {@link consent}. */
  (command: "consent", answer: ConsentAnswer, about?: ConsentProof): void;
  /** See {@link link}. */
  (command: "link", url: string, use: (decorated: string) => void): void;
  /** See {@link on}. */
  (command: "on", what: "event", listener: (event: TagEvent) => void): void;
  /** See {@link onProfile}. Without a listener: load what fills the slots, as `profile` in the settings does. */
  (command: "onProfile", listener?: (profile: Profile) => void): void;
  /** See {@link use}. */
  (command: "use", addOn: AddOn | string, options?: UseOptions): void;
  /** See {@link track}. */
  <Name extends EventName>(command: "track", name: Name, ...props: PropsArgument<PropsOf<Name>>): void;
}

/**
 * Start the tag on this page. Call it once, in the browser; a second call changes nothing (React's strict mode calls
 * effects twice), and on a server it does nothing.
 *
 * ```ts
 * start({ site: "shop", consent: "required" });
 * ```
 */
export declare function start(settings: StartSettings): Tagstitch;

/** The function as pages with the script know it: `tagstitch("track", "purchase", { … })`. */
export declare const tagstitch: Tagstitch;

/**
 * A page view. The first one and those of route changes are sent by themselves (`auto` has the word `spa`); call it
 * where you have switched that off, once the new address and title are in place.
 */
export declare function page(props?: Props): void;

/**
 * Note an event.
 *
 * ```ts
 * track("add_to_cart", { currency: "EUR", value: 25, items: [{ item_id: "A-1", price: 12.5, quantity: 2 }] });
 * track("newsletter_opened", { edition: 7 });
 * ```
 */
export declare function track<Name extends EventName>(name: Name, ...props: PropsArgument<PropsOf<Name>>): void;

/**
 * Say who the visitor is, on the page after the sign-in and as often as you like.
 *
 * ```ts
 * identify(customer.id, { signature: customer.signature, traits: { plan: "gold" } });
 * ```
 */
export declare function identify(value: Identifier, options?: IdentifyOptions): void;

/** Say that the visitor has another identifier as well: `alias("ada@shop.example", { kind: "email" })`. */
export declare function alias(value: Identifier, options?: AliasOptions): void;

/** Say which company, household or team the visitor belongs to: `group("acme", { kind: "company" })`. */
export declare function group(id: string | number, options?: GroupOptions): void;

/** The customer has signed out: from now on it is another visitor. Not for every page without a customer. */
export declare function reset(): void;

/**
 * Pass on the visitor's answer about consent, on every page, as soon as it is known; with `about` when it was given just
 * now.
 */
export declare function consent(answer: ConsentAnswer, about?: ConsentProof): void;

/** The visitor objects to being counted: the tag falls silent, on later pages too. */
export declare function optOut(): void;

/** Take the objection back. */
export declare function optIn(): void;

/**
 * Hand the visitor over to another domain of yours where no link is clicked: `use` gets the address to go to, with a
 * short-lived token in it where consent and `domains` allow one.
 *
 * ```ts
 * link("https://pay.example/cart", (url) => location.assign(url));
 * ```
 */
export declare function link(url: string, use: (decorated: string) => void): void;

/**
 * Call back for each event once it is queued, or held until consent. To change events, see `beforeSend`.
 *
 * ```ts
 * on("event", (event) => console.log(event.n, event.p));
 * ```
 */
export declare function on(what: "event", listener: (event: TagEvent) => void): void;

/**
 * Call back with the profile: once it is settled who this is, and whenever that changes. Returns a function that ends it.
 *
 * ```ts
 * const stop = onProfile(({ known, traits }) => greet(known ? traits.first_name : undefined));
 * ```
 */
export declare function onProfile(listener: (profile: Profile) => void): () => void;

/**
 * The profile as soon as it is settled. Nobody's on a server, and where it has not come within five seconds; never
 * rejects. Do not let a page wait for it.
 *
 * ```ts
 * const { audiences } = await profile();
 * ```
 */
export declare function profile(): Promise<Profile>;

/**
 * Add an add-on: a function, or the address of a module whose default export is one.
 *
 * ```ts
 * use("/add-ons/scroll-map.js", { purpose: "marketing" });
 * ```
 */
export declare function use(addOn: AddOn | string, options?: UseOptions): void;
