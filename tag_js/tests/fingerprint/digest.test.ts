// @vitest-environment node

import { expect, test } from "vitest";
import { digest } from "../../src/fingerprint/digest";

test("16 hex digits, the same for the same text, others for others", () => {
  const texts = ["", "a", "b", "ab", "ba", "data:image/png;base64,AAAA", "data:image/png;base64,AAAB"];
  const digests = texts.map(digest);
  for (const one of digests) expect(one).toMatch(/^[0-9a-f]{16}$/);
  expect(new Set(digests).size).toBe(texts.length);
  expect(texts.map(digest)).toEqual(digests);
});

test("ten thousand near texts have ten thousand digests", () => {
  expect(new Set(Array.from({ length: 10_000 }, (_, i) => digest(`text ${i}`))).size).toBe(10_000);
});

test("bytes are digested as the letters of the same codes are", () => {
  expect(digest(new Uint8ClampedArray([97, 98]))).toBe(digest("ab"));
});

test("pinned: a changed digest would make every device a new one", () => {
  expect(digest("tagstitch")).toBe("fbcf8fb485d58c54");
});
