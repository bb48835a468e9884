// Time zone: IANA name of the device's zone. Fair information, changes on journeys. resistFingerprinting: UTC.

import { orMissing, type Source } from "../source";

export const timeZone: Source = {
  name: "time_zone",
  read: () => orMissing(Intl.DateTimeFormat().resolvedOptions().timeZone),
};
