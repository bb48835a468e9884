// Codecs: how sure the browser is to play each of a list of sound and picture formats. Tells build, system and some
// hardware; changes when a codec is installed or with a major version. Nobody blurs it.

import type { Source } from "../source";

const TYPES = [
  "video/mp4;codecs=avc1.64001f",
  "video/mp4;codecs=hvc1.1.6.L93.B0",
  "video/mp4;codecs=av01.0.05M.08",
  "video/webm;codecs=vp9",
  "video/ogg;codecs=theora",
  "audio/mp4;codecs=ac-3",
  "audio/mp4;codecs=alac",
  "audio/ogg;codecs=opus",
  "audio/flac",
];

export const codecs: Source = {
  name: "codecs",
  read() {
    const video = document.createElement("video");
    // One letter each: p(robably), m(aybe), or - for no.
    return video.canPlayType && TYPES.map((type) => video.canPlayType(type)[0] || "-").join("");
  },
};
