/** `mlshim bgp watch`: what changes, a line each, until interrupted. */
import { stream } from '../control/client.ts';
import type { BgpEvent } from '../control/messages.ts';
import { socketPaths } from '../control/paths.ts';
import { type Input, listingColumns } from './command.ts';
import { hanging } from './render.ts';

export async function watch(input: Input): Promise<number> {
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  try {
    // A stream has no one document: --json is a document per line as well.
    const isJson = input.options['jsonl'] === true || input.options['json'] === true;
    const columns = listingColumns(input.io);
    const line = isJson ? bgpEventLine : (e: BgpEvent): string => bgpEventText(e, columns);
    for await (const { events, lost } of stream(socketPaths(input.io.env).control, 'bgp_watch', {}, stop.signal)) {
      if (events.length > 0) input.io.out(events.map(line).join(''));
      if (lost > 0) input.io.err(`${lost} more changes of routes are not shown\n`);
      await input.io.drained?.();
    }
  } finally {
    process.off('SIGINT', abort);
    process.off('SIGTERM', abort);
  }
  return 0;
}

/** An event as a line of JSON, without the keys that say nothing. */
export function bgpEventLine(e: BgpEvent): string {
  const said = Object.entries(e).filter(([, v]) => v !== '' && !(Array.isArray(v) && v.length === 0));
  return `${JSON.stringify(Object.fromEntries(said))}\n`;
}

/** `12:00:01 session b: Active -> Established`, in local time. */
export function bgpEventText(e: BgpEvent, columns = Infinity): string {
  const d = new Date(e.time_ms);
  const time = [d.getHours(), d.getMinutes(), d.getSeconds()].map((n) => String(n).padStart(2, '0')).join(':');
  return hanging(`${time} `, eventWords(e), 4, columns);
}

function eventWords(e: BgpEvent): string {
  if (e.kind === 'session') return `session ${e.peer}: ${e.from} -> ${e.to}${e.why === '' ? '' : ` (${e.why})`}`;
  if (e.to !== 'unicast') return `route ${e.prefix} ${e.to}`;
  const path = e.as_path === '' ? '' : `, AS path ${e.as_path}`;
  return `route ${e.prefix} via ${e.next_hops.join(', ')}${path}, from ${e.peer === '' ? 'us' : e.peer}`;
}
