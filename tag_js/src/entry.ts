// Starts the tag that a script element has brought: the one file that does something by being loaded.

import { boot } from "./boot";
import { quiet } from "./quiet";

quiet(() => {
  const script = document.currentScript as HTMLScriptElement | null;
  boot(script, script?.dataset.global || "tagstitch");
})();
