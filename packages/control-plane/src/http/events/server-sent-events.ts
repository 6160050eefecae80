/** Server-sent events (`text/event-stream`), as the HTML standard has them. */

export const EVENT_STREAM_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  // Proxies of the nginx kind hold answers back unless told not to.
  'x-accel-buffering': 'no',
};

/** Nothing to a reader; keeps proxies from taking a quiet stream for a dead one. */
export const KEEP_ALIVE = ': keep-alive\n\n';

/** An event of the APIs that name their events, and repeat the name in the data. */
export const toNamedEvent = (type: string, fields: object): string =>
  toEvent({ name: type, data: JSON.stringify({ type, ...fields }) });

/** One event. `data` is one line: JSON text, never with a line break in it. */
export function toEvent(event: { name?: string; id?: string; data: string }): string {
  const name = event.name === undefined ? '' : `event: ${event.name}\n`;
  const id = event.id === undefined ? '' : `id: ${event.id}\n`;
  return `${id}${name}data: ${event.data}\n\n`;
}
