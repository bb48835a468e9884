// That offers were seen and clicked. Seen is what the Media Rating Council calls viewable: half of it in view for one
// second without a break, on a page that is visible. An offer that is held out is noted by the same rule, so that both
// arms of the comparison are those who came by. Each once a view of the page.

import type { Offer } from "../api";
import { quiet } from "../quiet";
import type { Track } from "../wire";

const SEEN_MS = 1000;

/** Returns a function that is told which offer stands where from now on; nothing: that a new view of the page begins. */
export function watchOffers(track: Track): (placed?: Map<Element, Offer>) => void {
  const timers = new Map<Element, ReturnType<typeof setTimeout>>();
  let offers = new Map<Element, Offer>();
  let noted: string[] = [];

  const note = (action: string, { id, slot }: Offer): void => {
    if (noted.includes(action + id)) return;
    noted.push(action + id);
    track(`offer_${action}`, { offer: id, slot });
  };
  const watcher = new IntersectionObserver(
    quiet((entries: IntersectionObserverEntry[]) => {
      for (const { target, intersectionRatio } of entries) {
        const offer = offers.get(target) as Offer;
        clearTimeout(timers.get(target));
        if (intersectionRatio >= 0.5) {
          timers.set(target, setTimeout(quiet(note), SEEN_MS, offer.held_out ? "held_out" : "shown", offer));
        }
      }
    }),
    { threshold: 0.5 },
  );
  /** The second begins anew. */
  const restart = quiet(() => {
    watcher.disconnect();
    timers.forEach(clearTimeout);
    if (!document.hidden) for (const element of offers.keys()) watcher.observe(element);
  });
  addEventListener("visibilitychange", restart, true);
  for (const type of ["click", "auxclick"]) {
    addEventListener(
      type,
      quiet(({ target, isTrusted, button }: MouseEvent) => {
        const offer = offers.get((target as Element).closest("[data-ts-offer]") as Element);
        if (offer && !offer.held_out && isTrusted && button < 2 && !(target as Element).closest("[data-ts-ignore]"))
          note("clicked", offer);
      }) as EventListener,
      true,
    );
  }
  return (placed) => {
    if (placed) offers = placed;
    else noted = [];
    restart();
  };
}
