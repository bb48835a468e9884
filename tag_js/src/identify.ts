// What a page says about who the visitor is.

import type { Props, WireIdentifier } from "./wire";

export interface IdentifyOptions {
  /** Kind of the identifier as declared for the site; `customer` unless said. */
  kind?: string;
  /** Signature made by the site's server: see docs/sign-identify.md. */
  signature?: string;
  /** ID token of an OpenID Connect issuer, or a JSON web token of the site's own: names the customer by itself. */
  token?: string;
  /** What the page had asked the issuer to put into the token: one with another nonce is not for this page. */
  nonce?: string;
  traits?: Props;
}

/** A value as text, whatever the page gave; "" where it names nobody. */
export function readValue(value: unknown): string {
  return /^(string|number)$/.test(typeof value) ? `${value}` : "";
}

/** The identifier on the wire; undefined where neither value nor token names anybody. */
export function makeIdentifier(value: unknown, options: IdentifyOptions): WireIdentifier | undefined {
  const v = readValue(value);
  if (!v && !options.token) return undefined;
  return {
    // As text, whatever the page gave: one wrong type would cost the whole beacon.
    k: `${options.kind || "customer"}`,
    v,
    ...(options.signature && { g: `${options.signature}` }),
    ...(options.token && { j: `${options.token}` }),
    ...(options.nonce && { n: `${options.nonce}` }),
  };
}
