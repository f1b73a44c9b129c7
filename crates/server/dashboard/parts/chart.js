// The last hour of one semaphore, and how often it was granted, drawn by uPlot, which is a global of its own script.

import { count, time } from '../format.js';

const SAMPLES = 60;
const MINUTE = 60_000;

/** What a colour of the style sheet is in the theme of now. */
function colour(name) {
  const probe = document.body.appendChild(document.createElement('span'));
  probe.style.color = `var(${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Keeps a chart in `place`. `show(semaphore, found, step)` draws it; `end()` removes it. */
export function chartIn(place) {
  let plot = null;
  let drawn = '';

  function make(width) {
    const steps = globalThis.uPlot.paths.stepped({ align: 1 });
    const [ink, line, held, pending, max, rate] = ['--muted', '--line', '--held', '--pending', '--ink', '--cooling-ink'].map(colour);
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '11px system-ui' };
    const label = (_, value) => (value === null ? '–' : count(value));
    return new globalThis.uPlot(
      {
        width,
        height: 180,
        cursor: { y: false, drag: { x: false, y: false } },
        scales: {
          y: { range: (_, _low, high) => [0, Math.max(1, high * 1.08)] },
          rate: { range: (_, _low, high) => [0, Math.max(1, high * 1.08)] },
        },
        axes: [
          { ...axis, values: (_, ticks, _axis, _space, gap) => ticks.map((tick) => time(tick * 1000).slice(0, gap < 60 ? 8 : 5)) },
          { ...axis, size: 48, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : '')) },
          { ...axis, scale: 'rate', side: 1, size: 62, stroke: rate, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? `${count(tick)}/m` : '')) },
        ],
        series: [
          { label: 'Time', value: (_, value) => (value ? time(value * 1000) : '–') },
          { label: 'Held', stroke: held, fill: `color-mix(in srgb, ${held} 18%, transparent)`, width: 1.5, paths: steps, points: { show: false }, value: label },
          { label: 'Asked for', stroke: pending, width: 1.5, paths: steps, points: { show: false }, value: label },
          { label: 'Granted a minute', scale: 'rate', stroke: rate, width: 1, paths: steps, points: { show: false }, value: label },
          { label: 'Max now', stroke: max, width: 1, dash: [4, 4], points: { show: false }, value: label },
        ],
      },
      [[], [], [], [], []],
      place,
    );
  }

  function end() {
    plot?.destroy();
    plot = null;
    drawn = '';
  }

  function show(semaphore, found, step, at) {
    if (!found || !globalThis.uPlot || !place.clientWidth) return;
    const theme = colour('--held');
    const key = `${place.clientWidth} ${theme}`;
    if (drawn !== key) {
      end();
      drawn = key;
      plot = make(place.clientWidth);
    }
    const acquired = [...found.acquired, semaphore.acquired];
    const times = found.acquired.map((_, index) => (found.at - (found.acquired.length - 1 - index) * step) / 1000);
    const last = at / 1000;
    times.push(Math.max(last, (times.at(-1) ?? 0) + 0.001));
    // A server that has just started has a short past; the axis tells an hour all the same.
    const first = last - ((SAMPLES - 1) * step) / 1000;
    // How often since the last sample is not known yet.
    const rates = [...found.grants.map((grants) => Math.round((grants * MINUTE) / step)), null];
    plot.setData([times, acquired, [...found.pending, semaphore.pending], rates, times.map(() => semaphore.max)], false);
    plot.batch(() => {
      plot.setScale('rate', { min: 0, max: Math.max(1, ...rates) });
      plot.setScale('x', { min: Math.min(first, times[0]), max: last });
      plot.setScale('y', { min: 0, max: Math.max(semaphore.max, ...acquired, ...found.pending, semaphore.pending, 1) });
    });
    if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: times.length - 1 });
  }

  return { show, end };
}
