// The beacon on the wire, version 1. The collector's `collector/event.py` reads it; docs/wire-format.md says every
// field in words. Names are short because the context travels with each beacon.

export const WIRE_VERSION = 1;

export type Props = Record<string, unknown>;

/** Note an event. */
export type Track = (name: string, props?: Props) => void;

export interface WireIdentifier {
  /** Kind, as declared for the identity space: `customer`, `email`. */
  k: string;
  /** Value, as the page gave it. */
  v: string;
  /** Signature by the site's server. */
  g?: string;
  /** ID token (OpenID Connect) or JSON web token of the site's own; the value may be empty then. */
  j?: string;
  /** The nonce that the token must have. */
  n?: string;
  /** Where the tag found it: param, cookie, meta, data, js. */
  o?: string;
}

export interface WireEvent {
  i: string;
  n: string;
  /** Milliseconds since 1970 by this device's clock. */
  t: number;
  u?: string;
  r?: string;
  h?: string;
  p?: Props;
  k?: WireIdentifier[];
  /** Running number within the page load, from 1: a gap is a lost event. */
  q: number;
}

export interface WireSession {
  i: string;
  n: number;
  t: number;
}

export interface Signals {
  v: number;
  s: Record<string, unknown>;
}

/** What is frozen when an event is queued, so that a retry says the same. Undefined fields are not sent. */
export interface Context {
  /** Visitor id. */
  d?: string | undefined;
  /** Visitor id before a reset. */
  rf?: string | undefined;
  /** Clock offset in milliseconds: what must be added to this device's clock. */
  o?: number | undefined;
  /** Letters of the granted purposes; absent while the page has said nothing. */
  c?: string | undefined;
  x?: WireSession | undefined;
}

export type HumanSignal = "pointer" | "key" | "touch" | "dwell";

/** What only some events bring along; it travels on the envelope. */
export interface Extra {
  lt?: string | undefined;
  /** Hand-over token that the visitor came with from another domain. */
  ho?: string | undefined;
  /** 1: the answer shall bring a hand-over token. */
  xl?: number | undefined;
  hs?: HumanSignal | undefined;
  f?: Signals | undefined;
}

/** What the tag knows of the browser; see browser.ts. */
export interface BrowserFacts {
  l?: string | undefined;
  z?: string | undefined;
  w?: string | undefined;
  b?: number | undefined;
}

export interface Envelope extends Context, Extra, BrowserFacts {
  v: number;
  s: string;
  st: number;
  u?: string;
  r?: string;
  h?: string;
  e: WireEvent[];
}

/**
 * A copy that says now what will be sent later. Throws where it cannot be sent (a circle, a BigInt): better here, where
 * the page has named the event, than later with a whole batch.
 */
export function copy<T>(event: unknown): T {
  return JSON.parse(JSON.stringify(event));
}

/** Whether it says who somebody is, and so waits for that purpose. */
export function needsIdentity(draft: { event: WireEvent; extra: Extra }): boolean {
  return !!draft.event.k || !!draft.extra.hs;
}
