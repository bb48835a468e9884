// Builds the tag and its lazy modules.
//
//   node scripts/build.mjs [--out FOLDER]     default: ../collector/static/tag
//
// Writes t.js (the tag) and a file for each module, a brotli and a gzip form of each, and build.json: version, digests and
// integrity of all. The same source gives the same bytes on every machine with the same lock file: no time, no path and
// no name of a machine enters a file. The modules are built first, then their index, then the tag, which carries the
// digest of that.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { shrink } from "./minify.mjs";
import { buildPackage } from "./package.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const place = process.argv.indexOf("--out");
const out = path.resolve(place > 0 ? process.argv[place + 1] : path.join(root, "../collector/static/tag"));
// By the letter in the module's address: the folder under src/ with its entry.ts.
const MODULES = { f: "fingerprint", v: "vitals", m: "media", o: "overlay", c: "consent_tools", p: "profile" };
// Those that have little room go the tag's way, and without a banner, which would cost as much as a feature.
const TIGHT = ["p"];
const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

async function bundle(entry, define, options = {}) {
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2021", // browsers from 2021 on: optional chaining, `??=` and dynamic import as they are
    charset: "utf8",
    legalComments: "none",
    define,
    banner: { js: `/*! tagstitch ${version} | Apache-2.0 */` },
    write: false,
    ...options,
  });
  return Buffer.from(result.outputFiles[0].contents);
}

async function bundleSmall(entry, define, isTag) {
  const plain = await bundle(entry, define, {
    banner: {},
    minify: false,
    minifySyntax: true,
    tsconfigRaw: { compilerOptions: { strict: false, alwaysStrict: false } },
  });
  return Buffer.from(await shrink(plain.toString(), isTag));
}

const digest = (bytes) => createHash("sha256").update(bytes).digest("base64");

function describe(name, bytes) {
  return {
    name,
    hash: digest(bytes).replace(/\W/g, "").slice(0, 8),
    integrity: `sha384-${createHash("sha384").update(bytes).digest("base64")}`,
    bytes: bytes.length,
  };
}

/** Brotli at its best: quality 11, and the coding of distances that suits the file. */
function compress(bytes) {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  const tries = [0, 1, 2, 3].map((bits) =>
    brotliCompressSync(bytes, { params: { ...params, [constants.BROTLI_PARAM_NPOSTFIX]: bits } }),
  );
  return tries.reduce((best, next) => (next.length < best.length ? next : best));
}

function write(name, bytes) {
  writeFileSync(path.join(out, name), bytes);
  writeFileSync(path.join(out, `${name}.br`), compress(bytes));
  const gzip = gzipSync(bytes, { level: 9 });
  gzip[9] = 255; // the operating system, which would make the file differ from machine to machine
  writeFileSync(path.join(out, `${name}.gz`), gzip);
}

mkdirSync(out, { recursive: true });
const files = [];
const digests = {};
for (const [key, folder] of Object.entries(MODULES)) {
  if (!existsSync(path.join(root, "src", folder, "entry.ts"))) continue;
  const make = TIGHT.includes(key) ? bundleSmall : bundle;
  const bytes = await make(`src/${folder}/entry.ts`, {});
  const file = describe(`${key}.js`, bytes);
  write(file.name, bytes);
  files.push(file);
  // SHA-256 in the tag: shorter than the SHA-384 that pages get, and as good against what nobody can make collide.
  digests[key] = digest(bytes);
}
const index = await bundle("src/index/entry.ts", { __MODULES__: JSON.stringify(digests) });
write("i.js", index);
files.push(describe("i.js", index));
const define = { __INDEX__: JSON.stringify(digest(index)) };
const core = await bundleSmall("src/entry.ts", define, true);
write("t.js", core);
await buildPackage(out, define);
const manifest = { version, files: [describe("t.js", core), ...files] };
writeFileSync(path.join(out, "build.json"), `${JSON.stringify(manifest, null, 2)}\n`);
