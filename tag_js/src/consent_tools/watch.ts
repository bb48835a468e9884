// Consent tools: takes the person's answer from where the page's tool publishes it, so that nobody has to wire it up.
//
// Three public interfaces: IAB TCF (`tcf`), IAB GPP (`gpp`) and Google's consent mode (`google`). What an answer means
// for our purposes, and why, is decision 0018. A tool that the person has not answered says nothing here, and the
// site's preset stands; an answer names all purposes, and what it does not clearly grant is not granted. Once TCF has
// an answer GPP is not heard, and once either has, Google is not. A tool may come later than the tag: it is looked for
// with growing pauses, for about 100 seconds.

import { digest } from "../campaign";
import type { Answer } from "../consent";
import { keep, recall } from "../device";
import { quiet } from "../quiet";
import type { Settings } from "../settings";
import type { Props } from "../wire";

const NAMES = ["analytics", "identity", "personalisation", "marketing", "fingerprint"];
const SOURCES = ["google", "gpp", "tcf"];
const PROVED = "g"; // under which name, behind the cookie's, it is kept which answer the collector was told of

/** What a TCF listener gets. Where GDPR does not apply, all else may be missing. */
interface TcData {
  gdprApplies?: boolean;
  eventStatus: string;
  /** Consent by purpose. */
  purpose: { consents: Record<number, boolean> };
  /** Consent by special feature. */
  specialFeatureOptins: Record<number, boolean>;
  /** The whole answer, as tools keep it. */
  tcString?: string;
}

type Tcf = (command: string, version: number, listener: (data: TcData) => void) => void;
type Gpp = (command: string, listener: (event: { pingData: { gppString?: string } }) => void) => void;

/** What stands in a data layer: `arguments` of gtag, lists, and whatever else a page puts there. */
type Entry = Record<number, unknown>;

/** Hand the page's global of this name to `use`, now or as soon as it is there. */
const awaitGlobal = quiet((name: string, use: (found: never) => void, pauseMs: number = 100): void => {
  const found = (window as unknown as Record<string, never>)[name];
  if (found) use(found);
  else if (pauseMs < 60_000) setTimeout(awaitGlobal, pauseMs, name, use, pauseMs * 2);
});

/** Call `answer` with what the tools named in `from` say, whenever that changes. */
export function watchConsent(
  { consentFrom: from, cookie, dataLayer }: Settings,
  answer: (answer: Answer, about?: Props) => void,
): void {
  let strongest = 0;
  let last: string;

  /** `proof`: the answer as the tool keeps it. `given`: as `NAMES`. */
  const say = (rank: number, proof: unknown, ...given: unknown[]): void => {
    // Whoever refuses analytics refuses everything.
    const said = Object.fromEntries(NAMES.map((name, i) => [name, !!(given[0] && given[i])]));
    const text = JSON.stringify(said);
    if (rank < strongest || text === last) return;
    strongest = rank;
    last = text;
    // Its proof is sent once, not with every page. What is on the device is looked at only where that was granted.
    const mark = digest(text + proof);
    const isNews = !given[0] || recall(cookie + PROVED) !== mark;
    if (given[0]) keep(cookie + PROVED, mark);
    answer(said, isNews ? { source: SOURCES[rank], proof } : undefined);
  };

  if (from.includes("tcf")) {
    awaitGlobal("__tcfapi", (api: Tcf) => {
      const listen = quiet((data: TcData) => {
        // The third status, `cmpuishown`, is no answer: the question is on the screen.
        if (data.gdprApplies && /^(tcl|user)/.test(data.eventStatus)) {
          const given = data.purpose.consents;
          say(
            2,
            data.tcString,
            given[1] && given[8],
            given[5],
            given[5] && given[6],
            given[3] && given[4] && given[7],
            data.specialFeatureOptins[2],
          );
        }
      });
      api("addEventListener", 2, listen);
    });
  }

  if (from.includes("gpp")) {
    awaitGlobal("__gpp", (api: Gpp) => {
      const listen = quiet(({ pingData }) => {
        // As text, because some tools give a section as one group of fields and others as a list of segments. All
        // sections in force must be the United States', from 6 on.
        const text = JSON.stringify(pingData);
        if (/"ready"/.test(text) && /eSections":\[(([6-9]|\d\d),?)+]/.test(text) && /OptOut"/.test(text)) {
          say(1, pingData.gppString, true, true, true, !/(OptOut|Gpc)":(1|true)/.test(text));
        }
      });
      api("addEventListener", listen);
    });
  }

  if (from.includes("google")) {
    awaitGlobal(dataLayer, (layer: Entry[]) => {
      const types: Record<string, unknown> = {};
      const read = quiet((entry: Entry) => {
        // `default` is the site's word, `update` the person's.
        if (entry[0] === "consent" && entry[1] === "update") {
          Object.assign(types, entry[2]);
          const given = (type: string): boolean => types[type] === "granted";
          if (types.analytics_storage) {
            say(
              0,
              JSON.stringify(types),
              given("analytics_storage"),
              given("personalization_storage"),
              given("personalization_storage"),
              given("ad_storage") && given("ad_user_data") && given("ad_personalization"),
            );
          }
        }
      });
      // Tag managers wrap `push` as well, before us or after: each calls the one it found.
      const { push } = layer;
      layer.push = (...entries) => {
        entries.forEach(read);
        return push.apply(layer, entries);
      };
      layer.forEach(read);
    });
  }
}
