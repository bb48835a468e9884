// Short digest of a long text or of a picture's bytes: two 32-bit multiplicative lanes with a final mix, 16 hex digits.
// Not cryptographic: it keeps what is long off the wire, nothing more.

export function digest(of: string | ArrayLike<number>): string {
  let a = 0xdeadbeef;
  let b = 0x41c6ce57;
  for (let i = 0; i < of.length; i++) {
    const code = typeof of === "string" ? of.charCodeAt(i) : (of[i] as number);
    a = Math.imul(a ^ code, 0x9e3779b1);
    b = Math.imul(b ^ code, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return [a, b].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
}
