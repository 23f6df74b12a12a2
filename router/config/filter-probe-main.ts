/**
 * The process of a probe (filter-probe.ts): loads the filter module argv[2] and says on descriptor argv[3] what it exports, or
 * why it cannot be loaded.
 */
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { types } from 'node:util';
import type { ProbeAnswer } from './filter-probe.ts';

const [, , path, fd] = process.argv;
const answer = (a: ProbeAnswer): void => void writeSync(Number(fd), JSON.stringify(a));

try {
  const loaded: Readonly<Record<string, unknown>> = await import(pathToFileURL(path!).href);
  const functions = Object.entries(loaded).filter(([, value]) => typeof value === 'function');
  answer({ functions: functions.map(([name, value]) => ({ name, isAsync: types.isAsyncFunction(value) })) });
} catch (e) {
  const isError = e instanceof Error;
  answer({
    error: isError ? `${e.name}: ${e.message}` : `it throws ${String(e)}`,
    code: isError ? String((e as NodeJS.ErrnoException).code) : '',
    stack: isError ? String(e.stack) : '',
  });
  // Node tells the place of a syntax error, which may be in an imported file, only when nobody catches it.
  if (e instanceof SyntaxError) throw e;
}
// Timers and sockets of the module end here.
process.exit();
