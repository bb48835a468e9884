// The fingerprint module as a script of its own. It hands its function over on its script element, to the tag that
// made the element; it leaves nothing in the page's global names.
//
// Where the person has refused it on the collector's page, whatever a banner says, nothing is read, and no answer comes.

import { readCookie } from "../cookie";
import type { ModuleElement } from "../modules";
import { collectSignals } from "./collect";

const REFUSED = "_ts_no";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = () => (readCookie(REFUSED).includes("f") ? new Promise(() => {}) : collectSignals());
