// What the tag keeps on the device besides its cookie, and in the cookie's place where cookies are switched off: local
// storage; session storage where that is forbidden or full; nothing where both are. Never called before storage was
// consented to, but to remove.

/** Read what is kept under a name; "" where there is nothing. */
export function recall(name: string): string {
  return visitStores((store) => store.getItem(name)) || "";
}

/** Keep a text under a name; "" removes it. Returns whether it is kept. */
export function keep(name: string, text: string): boolean {
  return !!visitStores((store) => {
    text ? store.setItem(name, text) : store.removeItem(name);
    return text;
  });
}

/** Read what was kept as JSON; undefined where there is nothing, or nothing of ours. */
export function recallJson(name: string): unknown {
  try {
    return JSON.parse(recall(name));
  } catch {
    return undefined;
  }
}

/** Ask the storages in turn until one has an answer. A sandboxed frame throws where a storage is only named. */
function visitStores<T>(use: (store: Storage) => T): T | undefined {
  for (const name of ["localStorage", "sessionStorage"] as const) {
    try {
      const answer = use(window[name]);
      if (answer) return answer;
    } catch {
      // The next one.
    }
  }
  return undefined;
}
