/**
 * Looks whether a filter module (`bgp.filters`) can be loaded, in a process of its own and for a limited time: one that throws,
 * waits, loops or ends its process harms nobody. What it exports, or what is wrong and where.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { systemReason } from '../lib/reason.ts';

/** Where the probe's process writes its answer. */
const ANSWER_FD = 3;

export type ProbeAnswer =
  | { readonly functions: readonly FilterExport[] }
  | { readonly error: string; readonly code: string; readonly stack: string };

export interface FilterExport {
  readonly name: string;
  readonly isAsync: boolean;
}

/** Why a module cannot be loaded. */
export interface FilterFault {
  /** On one line. */
  readonly message: string;
  /** Where in the module, or in one it imports; lines and columns count from 1. */
  readonly place: FilterPlace | undefined;
}

export interface FilterPlace {
  /** Absolute. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export type FilterProbe = { readonly functions: readonly FilterExport[] } | { readonly fault: FilterFault };

const MAIN = fileURLToPath(new URL('./filter-probe-main.js', import.meta.url));
/** Node starts in a tenth of this on a small machine. */
const LIMIT_MS = 5000;
/** What is kept of the module's own chatter: the end, where Node says why it gave up. */
const MAX_OUTPUT = 1 << 16;
const MAX_MESSAGE = 300;

/** @param path absolute */
export async function probeFilters(path: string, limitMs = LIMIT_MS): Promise<FilterProbe> {
  const missing = whyMissing(path);
  if (missing !== undefined) return withoutPlace(missing);
  const child = spawn(process.execPath, [MAIN, path, String(ANSWER_FD)], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: { ...process.env, LD_PRELOAD: '' },
  });
  const streams = [child.stdio[2] as Readable, child.stdio[ANSWER_FD] as Readable] as const;
  const [output, said] = [gathered(streams[0]), gathered(streams[1])];
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = child.exitCode === null;
    child.kill('SIGKILL');
    // Processes that the module has started may hold these open.
    for (const s of streams) s.destroy();
  }, limitMs);
  try {
    const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
    if (isLate) return withoutPlace(`not loaded after ${limitMs / 1000} s`);
    return judged(path, answerIn(said()), output(), signal ?? `status ${status}`);
  } catch (e) {
    return withoutPlace(`no process to load it in: ${systemReason(e)}`);
  } finally {
    clearTimeout(timer);
  }
}

function withoutPlace(message: string): FilterProbe {
  return { fault: { message, place: undefined } };
}

/** `FILE:LINE:COLUMN: MESSAGE`, with as much of the place as is known. */
export function faultText(path: string, { message, place }: FilterFault): string {
  return place === undefined ? `${path}: ${message}` : `${place.file}:${place.line}:${place.column}: ${message}`;
}

function whyMissing(path: string): string | undefined {
  try {
    return statSync(path).isFile() ? undefined : 'not a file';
  } catch (e) {
    return systemReason(e);
  }
}

/** Collects a stream; what comes back gives its end as text. */
function gathered(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (part: string) => {
    text = `${text}${part}`.slice(-MAX_OUTPUT);
  });
  return () => text;
}

function answerIn(text: string): ProbeAnswer | undefined {
  try {
    return JSON.parse(text) as ProbeAnswer;
  } catch {
    return undefined; // cut off: it ended while it spoke
  }
}

/** Status of a process whose only `await` can never end. */
const NEVER_SETTLES = 'status 13';

function judged(path: string, answer: ProbeAnswer | undefined, output: string, end: string): FilterProbe {
  if (answer === undefined) {
    const why = end === NEVER_SETTLES ? 'an "await" outside of functions never ends' : `it ends its process (${end})`;
    return withoutPlace(why);
  }
  if (!('error' in answer)) return answer;
  if (answer.code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.[mc]?ts$/.test(path))
    return withoutPlace(
      `Node ${process.versions.node} does not load TypeScript; compile it, or use Node 22.18 or newer`,
    );
  const place = reportedPlace(output) ?? reportedPlace(answer.stack) ?? stackPlace(answer.stack);
  return { fault: { message: oneLine(answer.error), place } };
}

function oneLine(text: string): string {
  const line = text.split('\n', 1)[0]!.replace(/\p{Cc}/gu, ' ');
  return line.length > MAX_MESSAGE ? `${line.slice(0, MAX_MESSAGE)}...` : line;
}

/** Where Node says a syntax error is: `FILE:LINE`, the source line, a caret below. */
function reportedPlace(text: string): FilterPlace | undefined {
  const found = [...text.matchAll(/^(file:\/\/\S+|\/.+):(\d+)\n.*\n([ \t]*)(\^?)/gm)].at(-1);
  if (found === undefined) return undefined;
  const [, file, line, indent, caret] = found;
  return placeIn(file!, Number(line), caret === '' ? 1 : indent!.length + 1);
}

/** Where the code was when it threw. */
function stackPlace(stack: string): FilterPlace | undefined {
  const found = /^ +at (?:.*\()?((?:file:\/\/)?\/.+?):(\d+):(\d+)\)?$/m.exec(stack);
  // The probe itself stands at the end of every stack.
  if (found === null || found[1]!.endsWith('/filter-probe-main.js')) return undefined;
  return placeIn(found[1]!, Number(found[2]), Number(found[3]));
}

/** Undefined when there is no such file: the text was not Node's. */
function placeIn(from: string, line: number, column: number): FilterPlace | undefined {
  const file = from.startsWith('file:') ? fileURLToPath(from) : from;
  const lines = linesOf(file);
  // At the end of a file Node points behind its last line, where there is nothing to see.
  const last = lines.at(-1);
  if (last === undefined) return undefined;
  return line <= lines.length ? { file, line, column } : { file, line: lines.length, column: last.length + 1 };
}

/** The lines of a file, without empty ones at its end; none when it cannot be read. */
export function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n');
  } catch {
    return [];
  }
}
