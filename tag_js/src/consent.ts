// What the person has consented to, and what follows from it.
//
// Letters as on the wire: a analytics, i identity, f fingerprint, p personalisation, m marketing. The page says it on
// every page: the tag may not look on the device for an answer given earlier, because looking is what the answer is about.

export type Purpose = "a" | "i" | "f" | "p" | "m";
export type Preset = "required" | "implied" | "cookieless" | "off";
type Name = "analytics" | "identity" | "fingerprint" | "personalisation" | "marketing";
export type Answer = "all" | "none" | Partial<Record<Name, boolean>>;

/** What counts as granted while the page has said nothing. A preset that is none of these counts as the strictest. */
const GRANTED: Record<string, string | undefined> = { off: "aifpm", implied: "aipm" };

export interface Consent {
  /** Take in what the page says. Purposes that an answer does not name stay as they were. Returns whether the page had
   * said something else, and that was not nothing. */
  answer(answer: Answer): boolean | "" | undefined;
  /** Letters as sent; undefined while the page has said nothing. */
  letters(): string | undefined;
  allows(purpose: Purpose): boolean;
  /** The preset from now on. */
  settle(preset: Preset): void;
  /** Whether the page has yet to say something before anything may happen. */
  isPending(): boolean;
}

export function createConsent(preset: Preset | undefined): Consent {
  let said: string | undefined;
  let granted = GRANTED[preset as string];

  // Global Privacy Control and Do Not Track speak for the person, whatever a banner was made to say.
  const { globalPrivacyControl, doNotTrack } = navigator as { globalPrivacyControl?: boolean; doNotTrack?: unknown };
  const withoutRefused = (letters = ""): string =>
    globalPrivacyControl || doNotTrack === "1" ? letters.replace(/[fm]/g, "") : letters;

  return {
    answer(answer) {
      const earlier = said;
      const before = earlier ?? granted ?? "";
      said = "";
      for (const name of "analytics identity fingerprint personalisation marketing".split(" ") as Name[]) {
        const letter = name[0] as Purpose;
        const given = typeof answer === "string" ? answer === "all" : (answer[name] ?? before.includes(letter));
        // true or "granted". As text: tag managers hand over "denied" and "false", which are no grants.
        if (/^[tg]/.test(given as unknown as string)) said += letter;
      }
      return earlier && earlier !== said;
    },
    letters: () => said && withoutRefused(said),
    allows: (purpose) => withoutRefused(said ?? granted).includes(purpose),
    settle(other) {
      granted = GRANTED[other];
    },
    isPending: () => (said ?? granted) == null,
  };
}
