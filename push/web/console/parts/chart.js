/** A chart of values over time by uPlot, and the same values as a table. */
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { absolute, number, t } from "../lib/texts.js";

const HEIGHT = 168;
const COLOURS = ["--chart-1", "--chart-2", "--chart-3"];
const WHOLE_STEPS = Array.from({ length: 30 }, (_, n) => [1, 2, 5][n % 3] * 10 ** Math.floor(n / 3));
const STROKES = [[], [6, 3], [2, 3]]; // told apart without colours, too

const colour = (/** @type {string} */ name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * @param {{ title: string, times: number[], lines: { name: string, values: (number | null)[] }[], say?: (n: any) => string, spans?: boolean, whole?: boolean, theme: string }} props
 *   times in ms since 1970; `spans`: a time without a value is no gap; `whole`: of things that are counted
 */
export function Chart({ title, times, lines, say = (n) => number(n, 1), spans = false, whole = false, theme }) {
  const place = useRef(/** @type {any} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const [isOpen, setOpen] = useState(false);
  const data = [times.map((ms) => ms / 1000), ...lines.map(({ values }) => values)];
  const names = lines.map(({ name }) => name).join("|");
  useEffect(() => {
    let ended = false;
    let observer = /** @type {ResizeObserver | null} */ (null);
    const start = async () => {
      const { default: uPlot } = await import("../vendor/uplot.js");
      if (ended) return;
      const width = place.current.clientWidth;
      plot.current = new uPlot(optionsOf(lines, width, say, spans, whole), data, place.current);
      observer = new ResizeObserver(() => plot.current?.setSize({ width: place.current.clientWidth, height: HEIGHT }));
      observer.observe(place.current);
    };
    start();
    return () => {
      ended = true;
      observer?.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [names, theme]);
  useEffect(() => plot.current?.setData(data), [times, lines]);
  const last = (/** @type {(number | null)[]} */ values) => values.findLast((value) => value !== null) ?? null;
  return html`<figure class="chart">
    <figcaption class="chart-head"><h3>${title}</h3>
      <ul class="legend">${lines.map(({ name, values }, index) => html`<li class=${`legend-${index + 1}`}>${name} <b>${say(last(values))}</b></li>`)}</ul></figcaption>
    <div class="chart-place" ref=${place} aria-hidden="true"></div>
    <details class="twin" onToggle=${(event) => setOpen(event.target.open)}><summary>${t("chart.table")}</summary>
      ${isOpen && html`<div class="twin-table" tabindex="0" role="region" aria-label=${title}><table class="plain"><thead><tr><th scope="col">${t("chart.time")}</th>${lines.map(({ name }) => html`<th scope="col" class="num">${name}</th>`)}</tr></thead>
        <tbody>${times.map((ms, index) => html`<tr><td>${absolute(ms)}</td>${lines.map(({ values }) => html`<td class="num">${say(values[index])}</td>`)}</tr>`).reverse()}</tbody></table></div>`}
    </details>
  </figure>`;
}

function optionsOf(/** @type {any[]} */ lines, /** @type {number} */ width, /** @type {any} */ say, /** @type {boolean} */ spans, /** @type {boolean} */ whole) {
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  const clock = (/** @type {number} */ seconds, /** @type {boolean} */ fine) => {
    const at = new Date(seconds * 1000);
    return `${two(at.getHours())}:${two(at.getMinutes())}${fine ? `:${two(at.getSeconds())}` : ""}`;
  };
  return {
    width,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    scales: { y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ max) => [0, Math.max(max ?? 0, 1) * 1.1] } },
    series: [
      {},
      ...lines.map(({ name }, index) => ({
        label: name, stroke: colour(COLOURS[index]), width: 2, dash: STROKES[index], points: { show: false }, spanGaps: spans,
        fill: index === 0 ? `${colour(COLOURS[0])}1a` : undefined,
      })),
    ],
    axes: [
      { ...axis, size: 28, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((each) => clock(each, splits[1] - splits[0] < 60)), space: 72 },
      { ...axis, ...(whole && { incrs: WHOLE_STEPS }), size: 56, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((each, index) => (index && say(each) === say(splits[index - 1]) ? "" : say(each))), space: 36 },
    ],
  };
}
