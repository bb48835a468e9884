// The index of the lazy modules: which there are in this build, and the digest of each. See modules.ts.

import type { ModuleElement } from "../modules";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = __MODULES__;
