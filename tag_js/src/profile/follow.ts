// Who is this? Asks the collector for the visitor's profile, tells the page's own code and fills the page's slots.
//
// Asked only while the visitor may be known (`mayKnow`: consent to identity and personalisation, no objection, no reset on its
// way): once a view of the page, and once more when the collector has heard who the visitor is. Nothing is kept on the
// device. Where there is no answer within three seconds, or one of another form, the visitor is nobody; so is everybody
// from the moment on at which they may not be known any more, and in the back-forward cache.

import type { Profile } from "../api";
import type { Item } from "../envelope";
import type { ProfileListener } from "../modules";
import type { Commands } from "../queue";
import { quiet } from "../quiet";
import type { Settings } from "../settings";
import type { Track, WireEvent } from "../wire";
import { NOBODY, readAnswer } from "./answer";
import { createSlots } from "./slots";

const ANSWER_MS = 3000;
const STITCH_MS = 2000; // until what the collector has heard is in the map of who is who
const WAIT_MS = 400; // slots that are hidden until they are filled are shown by then

/**
 * Begin. `listeners`: the page's, those to come included; each is called with the profile as soon as it is settled, and
 * whenever it has changed. Returns what is to be called when `mayKnow` may have changed, and with the items that the
 * collector has taken.
 */
export function followProfile(
  listeners: (ProfileListener | undefined)[],
  { endpoint, profile: waitMs, site }: Settings,
  commands: Commands,
  mayKnow: () => boolean,
): (items?: Item[]) => void {
  const fill = createSlots(commands.track as Track, waitMs);
  const { classList } = document.documentElement;
  let text = ""; // the profile; "" before it is settled
  let asking: AbortController | undefined; // the question of this view

  // A copy for each: what one does with it is none of the others' business.
  const tell = (listener: ProfileListener | undefined): void => quiet(listener as ProfileListener)(JSON.parse(text));
  const show = (): void => classList.add("ts-ready");
  const wait = (): unknown => setTimeout(show, +(waitMs as string) || WAIT_MS);

  const settle = (profile: Profile): void => {
    const next = JSON.stringify(profile);
    if (next !== text) {
      text = next;
      fill(profile);
      listeners.forEach(tell);
    }
    show();
  };
  /** Drop the question, and what it may bring: the next look asks again. */
  const drop = (): void => {
    asking = undefined;
  };
  const forget = (): void => {
    drop();
    settle(NOBODY);
  };
  const look = quiet(() => {
    if (!mayKnow()) return forget();
    if (asking) return;
    const mine = new AbortController();
    const { signal } = mine;
    asking = mine;
    setTimeout(() => mine.abort(), ANSWER_MS);
    // In an async function, because a page's own fetch may throw.
    (async () =>
      readAnswer(await (await fetch(new URL(`me?s=${site}`, endpoint), { credentials: "include", signal })).json()))()
      .catch(() => NOBODY)
      .then(
        quiet((profile) => {
          if (mine === asking) settle(mayKnow() ? profile : NOBODY);
        }),
      );
  });

  listeners.push = (listener) => {
    if (text) tell(listener);
    return listeners.unshift(listener);
  };
  // The tag has us look after each event.
  commands.on?.(
    "event" as never,
    (({ n }: WireEvent) => {
      if (n !== "page_view") return;
      drop();
      fill();
    }) as never,
  );
  addEventListener(
    "pagehide",
    quiet(({ persisted }: PageTransitionEvent) => {
      if (!persisted) return;
      forget();
      classList.remove("ts-ready");
      wait(); // stands still in the cache
    }),
  );
  addEventListener("pageshow", look);
  wait();
  look();
  return (items) => {
    look();
    if (items) {
      setTimeout(
        (isNews) => {
          if (isNews) drop();
          look();
        },
        STITCH_MS,
        items.some(({ event, extra }) => event.k || extra.hs),
      );
    }
  };
}
