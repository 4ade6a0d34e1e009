/** Owns line charts as SVG text that needs nothing outside itself. Knows no metric and no run. */

import { formatCount, formatNumber } from '../util/format.ts';
import {
  type ChartPoint,
  niceRange,
  niceTicks,
  type Range,
  rangeOf,
  smoothed,
  thinned,
} from './chart-math.ts';
import { escapeHtml } from './escape.ts';

/** One line of a chart. */
export interface ChartSeries {
  readonly label: string;
  readonly points: readonly ChartPoint[];
  /** Draws the points faintly and a smoothed line over them, where there are enough. */
  readonly smooth?: boolean;
  /** Draws a dot and the interval at each point: for few, separate measurements. */
  readonly markers?: boolean;
  /** Intervals as bars alone, without the band between them: for many lines. */
  readonly bars?: boolean;
}

/** What a chart shows. Values that are not finite are gaps in the line. */
export interface ChartSpec {
  readonly title: string;
  /** Shown after the title. */
  readonly unit?: string;
  readonly xLabel: string;
  readonly series: readonly ChartSeries[];
  /** Upright dashed lines with a label: where a stage begins. */
  readonly boundaries?: readonly { readonly x: number; readonly label: string }[];
  /** Writes y as a percentage of 1, with 0 as the axis' lower end. */
  readonly percent?: boolean;
  readonly yRange?: Range;
  readonly width?: number;
  readonly height?: number;
}

/** Room around the plot, in pixels; the top grows with the legend's lines and with a line for boundary labels. */
export const MARGIN: Readonly<Record<'left' | 'right' | 'top' | 'bottom', number>> = {
  left: 50,
  right: 16,
  top: 36,
  bottom: 38,
};
const LEGEND_LINE = 17;
const COLOURS = 7;
/** A plot is never lower than this, however many lines its legend takes: the chart grows instead. */
const LEAST_PLOT = 80;

/**
 * The style of all charts: Okabe and Ito's palette, which stays apart for colour-blind readers, in a light and a dark
 * cut. A page that shows charts includes it once.
 */
export const CHART_STYLE: string = `
.chart{--ink:#1f2328;--soft:#59636e;--grid:#e4e7eb;--axis:#9aa4af;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#b07900;--c5:#3f8fbf;--c6:#555555;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:11px;overflow:visible}
@media (prefers-color-scheme:dark){@media not print{.chart{--ink:#e6edf3;--soft:#9da7b3;--grid:#2b323b;--axis:#59636e;--c0:#56b4e9;--c1:#f0843c;--c2:#2fc99a;--c3:#e29ac4;--c4:#e69f00;--c5:#8fd0f5;--c6:#c0c0c0}}}
.chart text{fill:var(--soft)}.chart .title{fill:var(--ink);font-size:13px;font-weight:600}.chart .unit{fill:var(--soft);font-weight:400;font-size:11px}
.chart .grid{stroke:var(--grid);stroke-width:1}.chart .axis{stroke:var(--axis);stroke-width:1}
.chart .boundary{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
.chart .line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.chart .raw{fill:none;stroke:var(--c);stroke-width:1;opacity:.28;stroke-linejoin:round}
.chart .band{fill:var(--c);opacity:.15}.chart .dot{fill:var(--c)}.chart .whisker{stroke:var(--c);stroke-width:1.3}
.chart .d1{stroke-dasharray:7 3}.chart .d2{stroke-dasharray:2 3}.chart .d3{stroke-dasharray:8 3 2 3}
${Array.from({ length: COLOURS }, (_, i) => `.chart .s${i}{--c:var(--c${i})}`).join('')}
`;

/** A chart as an `<svg>` element for a page that includes {@link CHART_STYLE}. */
export function lineChart(spec: ChartSpec): string {
  return draw(spec, '', '');
}

/** A chart as an SVG file of its own, style included. */
export function chartFile(spec: ChartSpec): string {
  return `${draw(spec, ' xmlns="http://www.w3.org/2000/svg"', `<style>${CHART_STYLE}</style>`)}\n`;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly top: number;
  readonly x: Range;
  readonly y: Range;
  readonly px: (x: number) => number;
  readonly py: (y: number) => number;
}

function draw(spec: ChartSpec, attributes: string, style: string): string {
  const legend = legendLines(spec);
  const frame = frameOf(spec, legend.length);
  const { width, height } = frame;
  const empty = spec.series.every((series) => series.points.every((point) => !drawable(point)));
  const body = empty
    ? [text(width / 2, (frame.top + height) / 2, 'no data', 'middle')]
    : [
        yAxis(spec, frame),
        xAxis(spec, frame),
        ...(spec.boundaries ?? []).map((boundary) => boundaryMark(boundary, frame)),
        ...spec.series.map((series, index) => seriesMarks(series, index, frame)),
      ];
  const label = escapeHtml(describe(spec, empty));
  return [
    `<svg${attributes} class="chart" role="img" aria-label="${label}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">`,
    style,
    title(spec),
    ...legend,
    ...body,
    '</svg>',
  ].join('');
}

function frameOf(spec: ChartSpec, legendRows: number): Frame {
  const width = spec.width ?? 460;
  const labelRows = (spec.boundaries ?? []).length > 0 ? 1 : 0;
  const top = MARGIN.top + (legendRows + labelRows) * LEGEND_LINE;
  const height = Math.max(spec.height ?? 260, top + LEAST_PLOT + MARGIN.bottom);
  const points = spec.series.flatMap((series) => series.points.filter(drawable));
  const marks = (spec.boundaries ?? []).map((boundary) => boundary.x);
  const x = rangeOf([...points.map((point) => point.x), ...(points.length > 0 ? marks : [])]);
  const y = spec.yRange ?? yRangeOf(points, spec.percent ?? false);
  const plotWidth = width - MARGIN.left - MARGIN.right;
  const plotHeight = height - top - MARGIN.bottom;
  return {
    width,
    height,
    top,
    x,
    y,
    px: (value) => MARGIN.left + ((value - x[0]) / (x[1] - x[0])) * plotWidth,
    py: (value) => top + ((y[1] - value) / (y[1] - y[0])) * plotHeight,
  };
}

function yRangeOf(points: readonly ChartPoint[], percent: boolean): Range {
  const [low, high] = rangeOf(points.flatMap(({ y, low: l = y, high: h = y }) => [y, l, h]));
  return percent
    ? [Math.min(0, low), Math.min(1, niceRange([0, Math.max(high, 0.01)])[1])]
    : niceRange([low, high]);
}

/** Only points with a place: a chart's range and dots ignore the rest. */
function drawable(point: ChartPoint): boolean {
  return Number.isFinite(point.x) && Number.isFinite(point.y);
}

function title(spec: ChartSpec): string {
  const unit =
    spec.unit === undefined || spec.unit === ''
      ? ''
      : ` <tspan class="unit">${escapeHtml(spec.unit)}</tspan>`;
  return `<text class="title" x="${MARGIN.left}" y="19">${escapeHtml(spec.title)}${unit}</text>`;
}

/** Keys of the series, wrapped to the plot's width; none for a single one, whose title says what it is. */
function legendLines(spec: ChartSpec): string[] {
  if (spec.series.length < 2) return [];
  const right = (spec.width ?? 460) - MARGIN.right;
  const lines: string[][] = [[]];
  let x = MARGIN.left;
  for (const [index, series] of spec.series.entries()) {
    const size = 24 + series.label.length * 6.1 + 14;
    if (x + size - 14 > right && (lines.at(-1)?.length ?? 0) > 0) {
      lines.push([]);
      x = MARGIN.left;
    }
    const y = MARGIN.top + (lines.length - 1) * LEGEND_LINE;
    const key = `<line class="line s${index % COLOURS}${dash(index)}" x1="${x}" x2="${x + 18}" y1="${y - 4}" y2="${y - 4}"/>`;
    lines.at(-1)?.push(key + text(x + 24, y, series.label, 'start'));
    x += size;
  }
  return lines.map((line) => line.join(''));
}

function yAxis(spec: ChartSpec, frame: Frame): string {
  const ticks = niceTicks(frame.y, 5);
  const write = tickWriter(ticks, spec.percent ?? false);
  const marks = ticks.map((tick) => {
    const y = round(frame.py(tick));
    const line = `<line class="grid" x1="${MARGIN.left}" x2="${frame.width - MARGIN.right}" y1="${y}" y2="${y}"/>`;
    return line + text(MARGIN.left - 6, y + 3.5, write(tick), 'end');
  });
  return marks.join('');
}

function xAxis(spec: ChartSpec, frame: Frame): string {
  const bottom = frame.height - MARGIN.bottom;
  const ticks = niceTicks(frame.x, 6, 1);
  const write = tickWriter(ticks, false);
  const marks = ticks.map((tick) => {
    const x = round(frame.px(tick));
    const line = `<line class="axis" x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 4}"/>`;
    return line + text(x, bottom + 16, write(tick), 'middle');
  });
  const axis = `<line class="axis" x1="${MARGIN.left}" x2="${frame.width - MARGIN.right}" y1="${bottom}" y2="${bottom}"/>`;
  const middle = (MARGIN.left + frame.width - MARGIN.right) / 2;
  return axis + marks.join('') + text(middle, frame.height - 6, spec.xLabel, 'middle');
}

/** Writes all ticks of an axis with the same number of decimals. */
function tickWriter(ticks: readonly number[], percent: boolean): (tick: number) => string {
  const scale = percent ? 100 : 1;
  const step = scale * Math.abs((ticks[1] ?? 1) - (ticks[0] ?? 0));
  const largest = Math.max(...ticks.map(Math.abs), 0);
  if (!percent && largest >= 1e15) return (tick): string => (tick === 0 ? '0' : tick.toExponential(0));
  if (!percent && largest >= 10_000) return formatCount;
  if (!percent && largest > 0 && largest < 1e-3)
    return (tick): string => (tick === 0 ? '0' : tick.toExponential(0));
  const decimals = step === 0 ? 0 : Math.min(8, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  return (tick) => (scale * tick).toFixed(decimals) + (percent ? ' %' : '');
}

function boundaryMark(boundary: { readonly x: number; readonly label: string }, frame: Frame): string {
  const x = round(frame.px(boundary.x));
  const nearEnd = x > frame.width - MARGIN.right - boundary.label.length * 6.1 - 6;
  const line = `<line class="boundary" x1="${x}" x2="${x}" y1="${frame.top - 12}" y2="${frame.height - MARGIN.bottom}"/>`;
  return line + text(nearEnd ? x - 4 : x + 4, frame.top - 4, boundary.label, nearEnd ? 'end' : 'start');
}

function seriesMarks(series: ChartSeries, index: number, frame: Frame): string {
  const smooth = (series.smooth ?? false) ? smoothed(series.points) : [];
  const raw = linePath(thinned(series.points), frame);
  const marks = (series.bars ?? false) ? [] : [bandMark(series.points, frame)];
  if (smooth.length > 0) {
    if (raw !== '') marks.push(`<path class="raw" d="${raw}"/>`);
    marks.push(`<path class="line${dash(index)}" d="${linePath(thinned(smooth), frame)}"/>`);
  } else if (raw !== '') marks.push(`<path class="line${dash(index)}" d="${raw}"/>`);
  const dots = (series.markers ?? false) ? series.points.filter(drawable) : lonely(series.points);
  marks.push(...dots.map((point) => dotMark(point, frame)));
  return `<g class="s${index % COLOURS}">${marks.join('')}</g>`;
}

function dash(index: number): string {
  return index % 4 === 0 ? '' : ` d${index % 4}`;
}

/** The path through the points; it starts anew after a point that is not finite, and single points draw nothing. */
export function linePath(points: readonly ChartPoint[], frame: Pick<Frame, 'px' | 'py'>): string {
  const commands = runs(points)
    .filter((run) => run.length > 1)
    .map(
      (run) => `M${run.map((point) => `${round(frame.px(point.x))},${round(frame.py(point.y))}`).join('L')}`,
    );
  return commands.join('');
}

function runs(points: readonly ChartPoint[]): ChartPoint[][] {
  const all: ChartPoint[][] = [[]];
  for (const point of points) {
    if (drawable(point)) all.at(-1)?.push(point);
    else all.push([]);
  }
  return all;
}

/** Points between gaps that a line cannot show. */
function lonely(points: readonly ChartPoint[]): ChartPoint[] {
  return runs(points).flatMap((run) => (run.length === 1 ? run : []));
}

function bandMark(points: readonly ChartPoint[], frame: Frame): string {
  const known = points.filter(({ x, low = Number.NaN, high = Number.NaN }) =>
    Number.isFinite(x + low + high),
  );
  if (known.length < 2) return '';
  const corner = (x: number, y: number): string => `${round(frame.px(x))},${round(frame.py(y))}`;
  const upper = known.map((point) => corner(point.x, point.high ?? 0));
  const lower = known.map((point) => corner(point.x, point.low ?? 0)).reverse();
  return `<path class="band" d="M${[...upper, ...lower].join('L')}Z"/>`;
}

function dotMark(point: ChartPoint, frame: Frame): string {
  const x = round(frame.px(point.x));
  const dot = `<circle class="dot" cx="${x}" cy="${round(frame.py(point.y))}" r="3"/>`;
  const { low, high } = point;
  if (low === undefined || high === undefined || !Number.isFinite(low + high)) return dot;
  return `<line class="whisker" x1="${x}" x2="${x}" y1="${round(frame.py(low))}" y2="${round(frame.py(high))}"/>${dot}`;
}

function describe(spec: ChartSpec, empty: boolean): string {
  if (empty) return `${spec.title}: no data`;
  const write = (value: number): string =>
    spec.percent === true ? `${formatNumber(100 * value, 3)} %` : formatNumber(value, 3);
  const parts = spec.series.flatMap((series) => {
    const known = series.points.filter(drawable);
    const [first, last] = [known[0], known.at(-1)];
    return first && last ? [`${series.label} from ${write(first.y)} to ${write(last.y)}`] : [];
  });
  return `${spec.title} by ${spec.xLabel}: ${parts.join('; ')}`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
