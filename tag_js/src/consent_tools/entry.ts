// The module of the consent tools as a script of its own; see fingerprint/entry.ts.

import type { ModuleElement } from "../modules";
import { watchConsent } from "./watch";

const script = document.currentScript as ModuleElement | null;
if (script) script.run = watchConsent;
