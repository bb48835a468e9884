// Ids: UUID version 7 (RFC 9562), so that ids made later sort later.

/** Make an id for this moment, milliseconds since 1970. */
export function makeId(nowMs: number = Date.now()): string {
  const time = nowMs.toString(16).padStart(12, "0");
  // 8 stands for the variant: its two high bits stay. `crypto.randomUUID` is not there on pages without TLS.
  // One call for all digits: each costs more than the digits do.
  const random = crypto.getRandomValues(new Uint8Array(21));
  const rest = "000-8000-000000000000".replace(/\d/g, (digit, at) =>
    (+digit | ((random[at] as number) & (+digit ? 3 : 15))).toString(16),
  );
  return `${time.slice(0, 8)}-${time.slice(8)}-7${rest}`;
}

/** Whether the text is an id: a lower-case UUID. */
export function isId(text: unknown): text is string {
  return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(text as string);
}
