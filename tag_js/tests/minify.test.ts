// @vitest-environment node

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { INTERNAL, SHARED } from "../scripts/minify.mjs";

const HERE = import.meta.dirname;

test("no name that becomes a letter is one that browsers have", () => {
  const folder = path.join(HERE, "../node_modules/@typescript");
  const libraries = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    /lib\.(dom|es)[^/]*\.d\.ts$/.test(name),
  );
  const known = new Set(
    libraries.flatMap((name) =>
      Array.from(
        readFileSync(path.join(folder, name), "utf8").matchAll(/^ {4}(?:readonly )?(\w+)\??[:(]/gm),
        ([, n]) => n,
      ),
    ),
  );
  expect(known).toContain("visibilityState");
  expect(INTERNAL.filter((name: string) => known.has(name) && !OURS.has(name))).toEqual([]);
});

// Names that some interface in the lists has, on things that the tag never touches.
const OURS = new Set<string>([]);

test("no such name is a setting, a field of the wire or a command", () => {
  const read = (name: string): string => readFileSync(path.join(HERE, "../src", name), "utf8");
  const fields = ["settings.ts", "wire.ts", "api.ts"].flatMap((name) =>
    Array.from(read(name).matchAll(/^ {2}(\w+)\??[:(]/gm), ([, found]) => found),
  );
  expect(fields).toContain("cookieDomain");
  expect([...INTERNAL, ...SHARED].filter((name: string) => fields.includes(name))).toEqual([]);
});
