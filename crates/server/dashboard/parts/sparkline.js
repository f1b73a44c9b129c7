// The last hour, or as long as samples go back, in a cell.

import { html, nothing, svg } from '../vendor/lit-html/lit-html.js';
import { count } from '../format.js';

const WIDTH = 118;
const HEIGHT = 26;
const SAMPLES = 60;

/** A line of steps that ends at the right. */
function steps(values, top) {
  const x = (index) => (WIDTH - ((values.length - index) * WIDTH) / SAMPLES).toFixed(1);
  const y = (value) => (HEIGHT - 1 - (Math.min(value, top) / top) * (HEIGHT - 3)).toFixed(1);
  const step = (value, index) => `${index ? 'V' : `M${x(0)} `}${y(value)}H${x(index + 1)}`;
  return values.map(step).join('');
}

/** `found` are the samples; what is true now comes at the end. */
export function sparkline(semaphore, found, period) {
  if (!found) return html`<svg class="spark" width=${WIDTH} height=${HEIGHT} aria-hidden="true"></svg>`;
  const acquired = [...found.acquired, semaphore.acquired].slice(-SAMPLES);
  const pending = [...found.pending, semaphore.pending].slice(-SAMPLES);
  const most = Math.max(...acquired);
  const waited = Math.max(...pending);
  // What waits may be a hundred times the max, and is cut off then.
  const top = Math.max(semaphore.max, most, Math.min(waited, 2 * Math.max(semaphore.max, most)), 1);
  const line = steps(acquired, top);
  const left = WIDTH - (acquired.length * WIDTH) / SAMPLES;
  const label = `${period}: up to ${count(most)} held, ${waited ? `up to ${count(waited)} asked for` : 'nobody waited'}`;
  return html`<svg class="spark" role="img" aria-label=${label} width=${WIDTH} height=${HEIGHT}>
    <path class="spark-area" d=${`${line}V${HEIGHT}H${left}Z`}></path>
    <path class="spark-held" d=${line}></path>
    ${waited ? svg`<path class="spark-pending" d=${steps(pending, top)}></path>` : nothing}
  </svg>`;
}
