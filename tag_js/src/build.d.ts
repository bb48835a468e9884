// What the build writes into the code. See scripts/build.mjs.

/** Version of the tag, as in package.json. */
declare const __VERSION__: string;
/** Each lazy module: first 8 hex digits of its SHA-256 (part of its address), and its subresource integrity. */
declare const __MODULES__: Record<string, [hash: string, integrity: string]>;
