// The device's time zone, without the first call of Intl.DateTimeFormat (15 to 30 ms) where there is Temporal. Both
// give the same name.

type Clock = { Now: { timeZoneId(): string } };

export function readTimeZone(): string {
  const { Temporal } = window as { Temporal?: Clock };
  return Temporal ? Temporal.Now.timeZoneId() : Intl.DateTimeFormat().resolvedOptions().timeZone;
}
