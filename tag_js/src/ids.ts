// Ids: UUID version 7 (RFC 9562), so that ids made later sort later.

const HEX = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Make an id for this moment, milliseconds since 1970. */
export function makeId(nowMs: number = Date.now()): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  // A byte array keeps the low 8 bits of what is assigned to it; the division does the shift, which `>>` cannot
  // do above 32 bits.
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(nowMs / 2 ** (40 - 8 * i)) % 256;
  bytes[6] = ((bytes[6] as number) & 15) | 112;
  bytes[8] = ((bytes[8] as number) & 63) | 128;
  return Array.from(
    bytes,
    (byte, i) => (/^(4|6|8|10)$/.test(`${i}`) ? "-" : "") + (byte + 256).toString(16).slice(1),
  ).join("");
}

/** Whether the text is an id of ours: a lower-case UUID. */
export function isId(text: unknown): text is string {
  return HEX.test(text as string);
}
