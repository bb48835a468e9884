// @vitest-environment node

import { expect, test } from "vitest";
import { makeIdentifier } from "../src/identify";

test.each([
  ["4711", {}, { k: "customer", v: "4711" }],
  [4711, {}, { k: "customer", v: "4711" }],
  ["a@b.example", { kind: "email" }, { k: "email", v: "a@b.example" }],
  ["4711", { kind: 5 as unknown as string, signature: 7 as unknown as string }, { k: "5", v: "4711", g: "7" }],
  ["4711", { signature: "1.2.3" }, { k: "customer", v: "4711", g: "1.2.3" }],
])("identify(%j, %j) sends %j", (value, options, expected) => {
  expect(makeIdentifier(value, options)).toEqual(expected);
});

test.each(["", null, undefined, {}, [], true])("%j names nobody", (value) => {
  expect(makeIdentifier(value, {})).toBeUndefined();
});
