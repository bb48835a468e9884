// How the panel looks: light or dark as the visitor's system, and the same on every page, whatever the page's own style.

/** Where the panel stands: pixels from the right and the bottom edge. */
export const place = (right: number, bottom: number): string =>
  `:host{inset:auto ${right}px ${bottom}px auto!important}`;

export const LOOKS = `
:host{all:initial!important;position:fixed!important;z-index:2147483647!important;color-scheme:light dark!important}
section{display:flex;flex-direction:column;width:min(420px,calc(100vw - 26px));
max-height:min(480px,calc(100vh - 26px));overflow:hidden;color:CanvasText;background:Canvas;
border:1px solid var(--line);border-radius:12px;box-shadow:0 8px 32px #0005;font:13px/20px system-ui,sans-serif;
--line:#8885;--soft:light-dark(#5b6675,#a3aebd);--raised:#8882}
header{display:flex;align-items:center;gap:4px;padding:6px;background:var(--raised);touch-action:none}
header span{flex:1}
button{font:inherit;color:inherit;background:none;border:0;border-radius:6px;padding:4px 8px;cursor:pointer}
header button{width:28px;padding:4px 0;font-size:16px}
header button:first-child{cursor:move}
button:hover,summary:hover,[aria-pressed=true],pre{background:var(--raised)}
:focus-visible{outline:2px solid #3b82f6;outline-offset:-2px}
ul,p{margin:0;padding:8px 12px 0;display:flex;flex-wrap:wrap;gap:6px;list-style:none}
ul li{padding:0 8px;border-radius:9px;border:1px dashed var(--line);font-size:12px}
ul li.sent{border:1px solid}
p{padding-bottom:8px;border-bottom:1px solid var(--line)}
p button{border:1px solid var(--line)}
ol{margin:0;padding:0;overflow:auto;list-style:none}
ol li+li{border-top:1px solid var(--line)}
ol.sent li:not(.sent),ol.held li:not(.held),ol.refused li:not(.refused),ol:not(:empty)+em,.small header~:not(p){display:none}
summary{display:grid;grid-template-columns:auto 60px 1fr;gap:8px;padding:5px 12px;cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}
span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
[open] span{white-space:normal}
time,em,header span,ul li{color:var(--soft)}
i{font:600 11px/20px system-ui,sans-serif;text-transform:uppercase;color:var(--soft)}
ul li.sent,.sent b,.sent i{color:light-dark(#0b6e47,#5fd3a2)}
.held b,.held i{color:light-dark(#8a5300,#f0b35a)}
.refused b,.refused i{color:light-dark(#b3261e,#ff8a80)}
pre{margin:0;padding:8px 12px;max-height:220px;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;font:12px/18px ui-monospace,monospace}
em{padding:20px;text-align:center;font-style:normal}
section.small{width:auto}
`;
