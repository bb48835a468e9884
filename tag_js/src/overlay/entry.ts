// The debug module as a script of its own. It hands its function over on its script element, to the tag that made the
// element; it leaves nothing in the page's global names.

import type { ModuleElement } from "../modules";
import { explain } from "./explain";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = explain;
