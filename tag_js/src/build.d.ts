// What the build writes into the code. See scripts/build.mjs.

/** Version of the tag, as in package.json. */
declare const __VERSION__: string;
/** First 8 hex digits of the fingerprint module's SHA-256: part of its address. */
declare const __SIGNALS_HASH__: string;
/** Subresource integrity of the fingerprint module, `sha384-…`. */
declare const __SIGNALS_INTEGRITY__: string;
