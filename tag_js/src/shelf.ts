// Events that could not be sent before the page was left, kept on the device for the next page. Bounded in count and
// characters; the oldest go first. What stands there was frozen when it was queued, so that whoever sends it, and
// however often, sends the same.

import { keep, recallJson } from "./device";
import type { Item } from "./envelope";

const MAX_ITEMS = 200;
const MAX_CHARS = 200_000; // of about five million that a site has

/** Take everything off the shelf: no other tab will find it again. */
export function takeItems(name: string): Item[] {
  const items = recallJson(name);
  if (items) keep(name, "");
  return Array.isArray(items) ? items.filter((item) => item?.event?.i && item.context) : [];
}

/** Put items behind those that are there, without tokens: those live in memory only. Returns whether they are kept. */
export function putItems(name: string, items: Item[]): boolean {
  const plain = items.filter(({ event }) => !event.k?.some(({ j }) => j)).map((item) => ({ ...item, extra: {} }));
  let all = takeItems(name).concat(plain).slice(-MAX_ITEMS);
  while (JSON.stringify(all).length > MAX_CHARS) all = all.slice((all.length >> 1) + 1);
  return !!all[0] && keep(name, JSON.stringify(all));
}
