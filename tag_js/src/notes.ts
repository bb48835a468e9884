// What debug mode explains. The tag says it by number; the words are in the debug module (overlay/words.ts), because
// nobody but a site's developer reads them.

export enum Said {
  Queued,
  Held,
  DroppedNoConsent,
  DroppedByHook,
  Consent,
  Silent,
  DoubleView,
  NoValue,
  NoCommand,
  Failed,
  AddOnFailed,
  Sending,
  SentOnLeaving,
  Refused,
  PartlyRefused,
  WillRetry,
}

/** Say what was done or not done. `detail`: the event, the answer, the reason. */
export type Noting = (said: Said, detail?: unknown) => void;
