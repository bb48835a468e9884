// What the person has consented to, and what follows from it.
//
// Letters as on the wire: s storage, i identity, f fingerprint, m marketing. The page says it on every page: the tag
// may not look on the device for an answer given earlier, because looking is what the answer is about.

export type Purpose = "s" | "i" | "f" | "m";
export type Preset = "required" | "implied" | "cookieless" | "off";
export type Answer = "all" | "none" | Partial<Record<"storage" | "identity" | "fingerprint" | "marketing", boolean>>;

const PURPOSES = { storage: "s", identity: "i", fingerprint: "f", marketing: "m" } as const;

export interface Consent {
  /** Take in what the page says. Purposes that an answer does not name stay as they were. */
  answer(answer: Answer): void;
  /** Letters as sent; undefined while the page has said nothing. */
  letters(): string | undefined;
  allows(purpose: Purpose): boolean;
  /** Whether the page has yet to say something before anything may happen. */
  isPending(): boolean;
}

export function createConsent(preset: Preset): Consent {
  let said: string | undefined;

  // Global Privacy Control and Do Not Track speak for the person, whatever a banner was made to say.
  const { globalPrivacyControl, doNotTrack } = navigator as { globalPrivacyControl?: boolean; doNotTrack?: unknown };
  const withoutRefused = (letters: string): string =>
    globalPrivacyControl || doNotTrack === "1" ? letters.replace(/[fm]/g, "") : letters;

  return {
    answer(answer) {
      const before = said || "";
      said = "";
      for (const name in PURPOSES) {
        const key = name as keyof typeof PURPOSES;
        const given = typeof answer === "string" ? answer === "all" : (answer[key] ?? before.includes(PURPOSES[key]));
        if (given) said += PURPOSES[key];
      }
    },
    letters: () => (said === undefined ? said : withoutRefused(said)),
    allows: (purpose) =>
      withoutRefused(said ?? (preset === "off" ? "sifm" : preset === "implied" ? "sim" : "")).includes(purpose),
    // A preset that is none of these counts as the strictest.
    isPending: () => said === undefined && preset !== "implied" && preset !== "off",
  };
}
