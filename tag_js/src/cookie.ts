// One first-party cookie, by name. Never called before analytics was consented to, but to remove it.

export const MAX_AGE_S = 400 * 86_400; // the longest that browsers grant
export const GONE_S = -1; // removes it

/** Return the cookie's value, "" where there is none. */
export function readCookie(name: string): string {
  const found = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}

/** Write the cookie for the whole site; `domain` "" keeps it to this host. The value must need no escaping. */
export function writeCookie(name: string, value: string, domain: string, maxAgeS: number = MAX_AGE_S): void {
  // biome-ignore lint/suspicious/noDocumentCookie: cookieStore is asynchronous; on page hide nothing would be written.
  document.cookie =
    `${name}=${value};path=/;max-age=${maxAgeS};samesite=lax` +
    (domain && `;domain=${domain}`) +
    (location.protocol === "https:" ? ";secure" : "");
}
