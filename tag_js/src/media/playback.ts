// Video and audio: that it was played, and how much of it. What counts is what was really played, as the browser keeps
// the book: a part that was skipped does not count, one that was played twice counts once. So a loop goes round once,
// and is complete then. A live stream has no length: it is noted that it was played, and no more.

import { quiet } from "../quiet";
import type { Track } from "../wire";

const QUARTERS = [25, 50, 75];
/** The end is seldom reached to the last frame, and who skips the credits has seen the film. */
const COMPLETE_PERCENT = 95;

interface Progress {
  source: string;
  /** Percent marks that were noted; 0 is the start. */
  noted: number[];
}

/** Follow every video and audio on the page; `first` plays already. */
export function followMedia(track: Track, first: HTMLMediaElement): void {
  const known = new WeakMap<HTMLMediaElement, Progress>();

  const follow = (element: HTMLMediaElement): void => {
    // A picture that moves: nobody chose to play it.
    if ((element.loop && element.muted) || element.closest("[data-ts-ignore]")) return;
    const source = element.currentSrc;
    let progress = known.get(element);
    if (progress?.source !== source) {
      progress = { source, noted: [] };
      known.set(element, progress);
    }
    const { noted } = progress;
    const { duration } = element;
    const isMeasured = Number.isFinite(duration) && duration > 0;
    const seconds = playedSeconds(element);
    const percent = isMeasured ? (seconds / duration) * 100 : 0;
    const note = (action: string, mark: number): void => {
      if (noted.includes(mark)) return;
      noted.push(mark);
      track("media", {
        action,
        kind: element.localName,
        src: nameSource(element),
        percent: mark,
        seconds: round(seconds),
        duration_s: isMeasured ? round(duration) : undefined,
      });
    };
    note("play", 0);
    for (const mark of QUARTERS) if (percent >= mark) note("progress", mark);
    if (percent >= COMPLETE_PERCENT) note("complete", 100);
  };

  const onEvent = quiet((event: Event) => {
    if (event.target instanceof HTMLMediaElement) follow(event.target);
  });
  // Not "play": before the source is loaded nothing is known of it.
  for (const type of ["playing", "timeupdate"]) addEventListener(type, onEvent, true);
  if (first.readyState) follow(first);
}

function playedSeconds({ played }: HTMLMediaElement): number {
  let seconds = 0;
  for (let i = 0; i < played.length; i++) seconds += played.end(i) - played.start(i);
  return seconds;
}

/** The title that the site gave, or the address without its query; undefined for a source without one. */
function nameSource(element: HTMLMediaElement): string | undefined {
  const title = element.getAttribute("data-ts-title");
  if (title || !/^http/.test(element.currentSrc)) return title || undefined;
  const { origin, pathname } = new URL(element.currentSrc);
  return origin + pathname;
}

function round(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}
