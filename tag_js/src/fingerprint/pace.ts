// Gives way to the page: work goes on for a few milliseconds at a time, and between two slices whatever the page has
// to do comes first.
//
// Not requestIdleCallback: on a page at rest Chromium makes each wait some 40 ms long, in a hidden one a second.
// A background task runs as soon as nothing else wants to, in a hidden page too.

const SLICE_MS = 12;
/** A page that never rests gets us all the same, in small pieces. */
const PATIENCE_MS = 100;

type Scheduler = { postTask(run: () => void, options: { priority: "background" }): unknown };

let until = 0;

/** Resolve at once while the present slice lasts, else when the page has had its turn. Never rejects. */
export async function giveWay(): Promise<void> {
  if (performance.now() < until) return;
  await new Promise<void>((resolve) => {
    const { scheduler } = window as { scheduler?: Scheduler };
    setTimeout(resolve, scheduler ? PATIENCE_MS : 0);
    try {
      scheduler?.postTask(resolve, { priority: "background" });
    } catch {
      // The page has something of its own under this name.
    }
  });
  until = performance.now() + SLICE_MS;
}
