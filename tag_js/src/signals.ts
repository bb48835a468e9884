// Loads the fingerprint module, only when it is wanted, and runs it while the browser is idle.

import { whenIdle } from "./browser";
import type { Settings } from "./settings";
import type { Signals } from "./wire";

/** How the module hands itself over: on its own script element, so that it needs no global name. */
export interface SignalsElement extends HTMLScriptElement {
  collectSignals?: () => Promise<Signals>;
}

/** Address of the module: beside the tag, under the tag's name. `/x/t.js` → `/x/t-f-<version>-<hash>.js`. */
export function signalsAddress(script: string): string {
  return script.replace(
    /(-\d+\.\d+\.\d+[^/]*-[0-9a-f]{8})?(\.js)?([?#].*)?$/,
    `-f-${__VERSION__}-${__SIGNALS_HASH__}.js`,
  );
}

/**
 * Call back with the device signals. Where the module is blocked or fails: never. `isWanted` is asked again before
 * anything is read, because consent may have gone while the module was on its way.
 */
export function loadSignals(settings: Settings, isWanted: () => boolean, onSignals: (signals: Signals) => void): void {
  if (!settings.script) return;
  whenIdle(() => {
    if (!isWanted()) return;
    const element: SignalsElement = document.createElement("script");
    element.src = signalsAddress(settings.script);
    element.crossOrigin = "anonymous";
    element.integrity = __SIGNALS_INTEGRITY__;
    element.nonce = settings.nonce;
    element.onload = () => {
      element.remove();
      if (isWanted()) element.collectSignals?.().then(onSignals, () => {});
    };
    element.onerror = () => element.remove();
    document.head.append(element);
  }, 2000);
}
