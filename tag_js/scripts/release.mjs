// Freezes the present build as the release of its version: copies it to collector/static/tag/releases/<version>/, from
// where it is served byte for byte for ever. Refuses to change a release. Part of cutting a release, after `npm run build`.

import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const built = path.join(path.dirname(fileURLToPath(import.meta.url)), "../../collector/static/tag");
const { version, files } = JSON.parse(readFileSync(path.join(built, "build.json"), "utf8"));
const target = path.join(built, "releases", version);
const manifest = path.join(target, "build.json");

if (existsSync(manifest)) {
  const isSame = readFileSync(manifest).equals(readFileSync(path.join(built, "build.json")));
  console.error(isSame ? `${version} is frozen already` : `${version} is frozen with other files: raise the version`);
  process.exitCode = isSame ? 0 : 1;
} else {
  mkdirSync(target, { recursive: true });
  for (const { name } of files) {
    for (const suffix of ["", ".br", ".gz"])
      copyFileSync(path.join(built, name + suffix), path.join(target, name + suffix));
  }
  copyFileSync(path.join(built, "build.json"), manifest);
  console.log(`${version} is frozen in ${path.relative(process.cwd(), target)}`);
}
