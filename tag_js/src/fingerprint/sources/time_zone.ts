// Time zone: IANA name of the device's zone. Fair information, changes on journeys. resistFingerprinting says
// Atlantic/Reykjavik, formerly UTC.

import type { Source } from "../source";
import { readTimeZone } from "../time_zone";

export const timeZone: Source = { name: "time_zone", blur: "r", read: () => readTimeZone() };
