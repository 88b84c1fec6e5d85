import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { MINUTES, type History } from './history';
import { total, type State } from './state';
import { bits, bytes } from './words';

const HEIGHT = 120;

interface Figure {
  title: string;
  /** What it is now, in words. */
  now: (state: State) => string;
  series: { name: string; values: (history: History) => (number | null)[] }[];
  unit: (value: number) => string;
  /** What it is made of now, in words. */
  parts?: (state: State) => string[];
  /** The axis reaches at least so far. */
  least: number;
}

const FIGURES: Figure[] = [
  {
    title: 'Bitrate', least: 1e6, unit: bits, now: ({ encode }) => bits(encode?.bitrate_bps ?? 0),
    series: [{ name: 'bitrate', values: ({ columns }) => columns.bitrate_bps }],
  },
  {
    title: 'Frame rate', least: 30, unit: (fps) => `${Math.round(fps)}`, now: ({ encode }) => `${(encode?.fps ?? 0).toFixed(1)} fps`,
    series: [{ name: 'fps', values: ({ columns }) => columns.fps }],
  },
  {
    title: 'Latency', least: 10, unit: (ms) => `${Math.round(ms)} ms`,
    now: (state) => `p50 ${milli(total(state)?.p50_ms)}, p95 ${milli(total(state)?.p95_ms)}`,
    parts: ({ latency }) => latency.filter(({ step }) => step !== 'total').map(({ step, p50_ms }) => `${step} ${milli(p50_ms)}`),
    series: [
      { name: 'p50', values: ({ columns }) => columns.latency_p50_ms },
      { name: 'p95', values: ({ columns }) => columns.latency_p95_ms },
    ],
  },
  {
    title: 'Frames lost', least: 5, unit: (count) => `${Math.round(count)}`, now: () => '',
    series: [{ name: 'lost', values: (history) => history.losses() }],
  },
  {
    title: 'Processor', least: 100, unit: (percent) => `${Math.round(percent)} %`,
    now: ({ process }) => `${process.cpu_percent.toFixed(0)} % of a core`,
    series: [{ name: 'processor', values: ({ columns }) => columns.cpu_percent }],
  },
  {
    title: 'Memory', least: 1e8, unit: bytes, now: ({ process }) => bytes(process.memory_bytes),
    series: [{ name: 'memory', values: ({ columns }) => columns.memory_bytes }],
  },
];

export function Charts({ history, points, state }: { history: History; points: number; state: State }) {
  return (
    <section class="card" aria-labelledby="charts-title">
      <h2 id="charts-title">Last {MINUTES} minutes</h2>
      <div class="charts">
        {FIGURES.map((figure) => <Chart key={figure.title} figure={figure} history={history} points={points} state={state} />)}
      </div>
    </section>
  );
}

function Chart({ figure, history, points, state }: { figure: Figure; history: History; points: number; state: State }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [themed, setThemed] = useState(0);
  const words = figure.title === 'Frames lost' ? lostWords(history) : figure.now(state);

  useEffect(() => {
    const again = () => setThemed((count) => count + 1);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', again);
    document.addEventListener('themed', again);
    return () => {
      scheme.removeEventListener('change', again);
      document.removeEventListener('themed', again);
    };
  }, []);
  useEffect(() => {
    const at = place.current;
    if (at === null) return;
    const made = new uPlot(options(figure, at), columns(figure, history), at);
    plot.current = made;
    const watcher = new ResizeObserver(() => {
      if (at.clientWidth > 0 && at.clientWidth !== made.width) made.setSize({ width: at.clientWidth, height: HEIGHT });
    });
    watcher.observe(at);
    return () => {
      watcher.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [figure, themed]);
  useEffect(() => plot.current?.setData(columns(figure, history)), [points]);

  return (
    <figure class="chart">
      <figcaption><span>{figure.title}</span> <span class="now">{words}</span></figcaption>
      <div ref={place} class="plot" role="img" aria-label={`${figure.title} over the last ${MINUTES} minutes; now ${words}`} />
      {figure.parts && <p class="parts">{figure.parts(state).join(' · ')}</p>}
    </figure>
  );
}

function columns(figure: Figure, history: History): uPlot.AlignedData {
  const seconds = history.columns.at_ms.map((at) => at / 1000);
  return [seconds, ...figure.series.map(({ values }) => values(history))] as uPlot.AlignedData;
}

function options(figure: Figure, at: HTMLElement): uPlot.Options {
  const style = getComputedStyle(at);
  const colour = (name: string) => {
    at.style.color = `var(${name})`;
    const found = style.color;
    at.style.color = '';
    return found;
  };
  const [soft, grid] = [colour('--soft'), colour('--line')];
  const lines = [colour('--line-1'), colour('--line-2')];
  const axis = { stroke: soft, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  return {
    width: Math.max(120, at.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [6, 8, 0, 0],
    scales: {
      x: { time: true, range: (_, __, last) => [last - MINUTES * 60, last] },
      y: { range: (_, __, high) => [0, Math.max(figure.least, (high ?? 0) * 1.1)] },
    },
    axes: [
      {
        ...axis, size: 20, space: 60,
        values: (self, ticks) => ticks.map((tick) => {
          const minutes = Math.round(((self.scales.x?.max ?? tick) - tick) / 60);
          return minutes === 0 ? 'now' : `−${minutes} min`;
        }),
        splits: (self) => {
          const last = self.scales.x?.max ?? 0;
          return (at.clientWidth < 260 ? [9, 5, 1] : [9, 7, 5, 3, 1]).map((minutes) => last - minutes * 60);
        },
      },
      { ...axis, size: 66, space: 34, values: (_, ticks) => ticks.map(figure.unit) },
    ],
    series: [{}, ...figure.series.map(({ name }, index): uPlot.Series => ({
      label: name, stroke: lines[index] ?? soft, width: 1.75, points: { show: false },
      ...(figure.series.length === 1 ? { fill: (lines[0] ?? soft).replace(/^rgb\((.*)\)$/, 'rgb($1 / 14%)').replace(/,/g, ' ') } : {}),
    }))],
  };
}

function lostWords(history: History): string {
  const lost = history.losses().reduce((sum, count) => sum + count, 0);
  return lost === 0 ? 'none' : `${lost}`;
}

function milli(value: number | null | undefined): string {
  if (value == null) return '–';
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
