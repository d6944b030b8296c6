// What the dashboard uses of other projects. `scripts/dashboard bundle` makes
// assets/vendor/vendor.js from this file; the programme imports that.
export { h, render, Fragment } from "preact";
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
export { html } from "htm/preact";
export { max, quantileSorted } from "d3-array";
export { scaleBand, scaleLinear, scaleLog, scaleSqrt, scaleUtc } from "d3-scale";
export { area, curveLinear, curveMonotoneX, line, stack } from "d3-shape";
export { sankey, sankeyJustify, sankeyLinkHorizontal } from "d3-sankey";
