// Fonts: which of a list of fonts are installed. Much information on desktops; changes when software that brings fonts
// is installed. Firefox and Safari show only the system's own fonts. Measured in chunks: the whole list at once would
// block the page for more than 50 ms.

import { nextIdle } from "../idle";
import type { Failure, Source } from "../source";

const FONTS = (
  "Arial Black,Arial Narrow,Arial Unicode MS,Bahnschrift,Bitstream Vera Sans,Bookman Old Style,Calibri,Cambria," +
  "Candara,Cantarell,Century Gothic,Comic Sans MS,Consolas,Constantia,DejaVu Sans,Droid Sans,Ebrima,Fira Code," +
  "Franklin Gothic,Futura,Gabriola,Garamond,Geneva,Georgia,Gill Sans,Helvetica Neue,Hoefler Text,Impact,Inter," +
  "Leelawadee,Liberation Sans,Lucida Grande,Meiryo UI,Menlo,Microsoft YaHei,Minion Pro,Monaco,MS Gothic,MT Extra," +
  "Myriad Pro,Noto Sans,Noto Sans CJK JP,Open Sans,Optima,Palatino,PingFang SC,Roboto,Segoe UI,Segoe UI Emoji," +
  "SimSun,Sitka,Source Sans Pro,Tahoma,Trebuchet MS,Ubuntu,Wingdings"
).split(",");
const CHUNK = 8;

export const fonts: Source = {
  name: "fonts",
  async read(): Promise<string[] | Failure> {
    const context = document.createElement("canvas").getContext("2d");
    if (!context) return { error: "missing" };
    const measure = (family: string): number => {
      context.font = `72px ${family}`;
      return context.measureText("mmMwWLliI0O&1").width;
    };
    const bases = ["monospace", "serif"].map((base) => [base, measure(base)] as const);
    const found: string[] = [];
    for (let i = 0; i < FONTS.length; i++) {
      if (i % CHUNK === 0) await nextIdle();
      const font = FONTS[i] as string;
      if (bases.some(([base, width]) => measure(`"${font}",${base}`) !== width)) found.push(font);
    }
    return found;
  },
};
