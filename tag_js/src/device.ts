// What the tag keeps on the device besides its cookie, and in its place where cookies are refused: local storage, else
// session storage, else nothing. Never called before storage was consented to, but to remove.

/** Read what is kept under a name; "" where there is nothing. */
export function recall(name: string): string {
  return visitStores((store) => store.getItem(name)) || "";
}

/** Keep a text under a name in the first storage that takes it; "" removes it from all. Returns whether it is kept. */
export function keep(name: string, text: string): boolean {
  return !!visitStores((store) => {
    if (text) store.setItem(name, text);
    else store.removeItem(name);
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
function visitStores(ask: (store: Storage) => string | null): string | null | undefined {
  for (const name of ["localStorage", "sessionStorage"] as const) {
    try {
      const answer = ask(window[name]);
      if (answer) return answer;
    } catch {
      // Full, or forbidden: the next one.
    }
  }
  return undefined;
}
