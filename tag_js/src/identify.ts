// What a page says about who the visitor is.

import type { Props, WireIdentifier } from "./wire";

export interface IdentifyOptions {
  /** Kind of the identifier as declared for the site; `customer` unless said. */
  kind?: string;
  /** Signature made by the site's server: see docs/sign-identify.md. */
  signature?: string;
  traits?: Props;
}

/** The identifier on the wire; undefined where the value names nobody. */
export function makeIdentifier(value: unknown, options: IdentifyOptions): WireIdentifier | undefined {
  if ((typeof value !== "string" && typeof value !== "number") || value === "") return undefined;
  return {
    // As text, whatever the page gave: one wrong type would cost the whole beacon.
    k: `${options.kind || "customer"}`,
    v: `${value}`,
    ...(options.signature && { g: `${options.signature}` }),
  };
}
