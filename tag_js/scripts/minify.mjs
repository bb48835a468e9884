// Makes the tag, and modules that have little room, as small as they get: esbuild bundles, terser takes another twelfth
// off, and in the tag names of properties that only the tag itself uses become letters.
//
// A name may stand in INTERNAL only where nothing but our own code has it: no property of the browser's that we use, no
// field of the wire, of the settings, of the commands or of what is kept on the device. tests/minify.test.ts holds the
// first against TypeScript's own list of what browsers have.

import { minify } from "terser";

export const INTERNAL = [
  ..."visitor resetFrom signalsSent startedMs lastMs offsetMs isPending decorate facts isTried onReply rename".split(
    " ",
  ),
  ..."forget silence campaign letters allows holds fall memory turn session settle".split(" "),
];
// These the browser has too, on what we do not use them of: as methods of our own parts they are ours.
export const SHARED = [
  ..."current refresh restore verify save resume leave offset answer touch object".split(" "),
  ..."memory number add clear drop keep note pass".split(" "),
];

/** Return the script in its smallest form. `isTag`: it is the tag, whose names of properties are known. */
export async function shrink(text, isTag = false) {
  const names = new RegExp(`^(${[...INTERNAL, ...SHARED].join("|")})$`);
  const { code } = await minify(text, {
    ecma: 2020,
    toplevel: true,
    compress: {
      passes: 4,
      ecma: 2020,
      collapse_vars: false,
      negate_iife: false,
      sequences: false,
      booleans_as_integers: isTag, // none of its booleans is written as a literal into what is sent, or compared strictly
      hoist_vars: true,
      inline: 1,
      keep_fargs: false,
      unsafe: true,
      unsafe_arrows: true,
      unsafe_comps: true,
      unsafe_math: true,
    },
    mangle: { toplevel: true, properties: isTag && { builtins: true, regex: names } },
    format: { ecma: 2020, comments: false },
  });
  return code;
}
