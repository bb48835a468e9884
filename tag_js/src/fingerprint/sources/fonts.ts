// Fonts: which of a list of fonts are installed. Much information on desktops; changes when software that brings fonts
// is installed. Safari and Firefox's private windows show only the system's own fonts, resistFingerprinting and Brave a
// fixed list. Measured a few at a time: the whole list at once would block the page for more than 50 ms.

import { openCanvas } from "../drawing";
import { giveWay } from "../pace";
import type { Source } from "../source";

const FONTS = (
  "Arial Black,Arial Narrow,Arial Unicode MS,Bahnschrift,Bitstream Vera Sans,Bookman Old Style,Calibri,Cambria," +
  "Candara,Cantarell,Century Gothic,Comic Sans MS,Consolas,Constantia,DejaVu Sans,Droid Sans,Ebrima,Fira Code," +
  "Franklin Gothic,Futura,Gabriola,Garamond,Geneva,Georgia,Gill Sans,Helvetica Neue,Hoefler Text,Impact,Inter," +
  "Leelawadee,Liberation Sans,Lucida Grande,Meiryo UI,Menlo,Microsoft YaHei,Minion Pro,Monaco,MS Gothic,MT Extra," +
  "Myriad Pro,Noto Sans,Noto Sans CJK JP,Open Sans,Optima,Palatino,PingFang SC,Roboto,Segoe UI,Segoe UI Emoji," +
  "SimSun,Sitka,Source Sans Pro,Tahoma,Trebuchet MS,Ubuntu,Wingdings"
).split(",");

export const fonts: Source = {
  name: "fonts",
  blur: "r",
  async read() {
    const context = openCanvas();
    if (!context) return;
    const measure = (family: string): number => {
      context.font = `72px ${family}`;
      return context.measureText("mmMwWLliI0O&1").width;
    };
    const bases = ["monospace", "serif"].map((base) => [base, measure(base)] as const);
    const found: string[] = [];
    for (const font of FONTS) {
      await giveWay();
      if (bases.some(([base, width]) => measure(`"${font}",${base}`) !== width)) found.push(font);
    }
    return found;
  },
};
