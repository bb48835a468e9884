// PDF viewer: whether the browser shows documents itself. Little information; a setting. Nobody blurs it.

import type { Source } from "../source";

export const pdfViewer: Source = {
  name: "pdf_viewer",
  read: () => (navigator as { pdfViewerEnabled?: boolean }).pdfViewerEnabled,
};
