/**
 * Loads the module of filter functions (`bgp.filters`). What is wrong with it is said as for the configuration itself:
 * file, line, column. JavaScript everywhere; TypeScript where the running Node strips types (22.18 and newer do).
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { RouteFunction } from '../../bgp/speaker.ts';
import { MlshimError } from '../lib/errors.ts';

/**
 * All functions a module exports, by name.
 * @param path absolute; a file that has changed since it was loaded is loaded anew
 * @throws MlshimError CONFIG_INVALID
 */
export async function loadFilters(path: string): Promise<ReadonlyMap<string, RouteFunction>> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw invalid(`${path}: error: no such file   bgp.filters`);
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = await import(`${pathToFileURL(path).href}?changed=${stat.mtimeMs}`);
  } catch (e) {
    throw invalid(`${failure(path, e)}   bgp.filters`);
  }
  const found = new Map<string, RouteFunction>();
  for (const [name, value] of Object.entries(loaded)) {
    if (typeof value === 'function') found.set(name, value as RouteFunction);
  }
  return found;
}

/**
 * The function with this name.
 * @throws MlshimError CONFIG_INVALID
 */
export function filterNamed(name: string, filters: ReadonlyMap<string, RouteFunction>, path: string): RouteFunction {
  const found = filters.get(name);
  if (found !== undefined) return found;
  const known = [...filters.keys()].join(', ') || 'none';
  throw invalid(`${path}: error: exports no function "${name}" (known: ${known})`);
}

function invalid(message: string): MlshimError {
  return new MlshimError('CONFIG_INVALID', message);
}

/** `/etc/mlshim/filters.mjs:12:9: error: SyntaxError: Unexpected token` */
function failure(path: string, e: unknown): string {
  if (!(e instanceof Error)) return `${path}: error: ${String(e)}`;
  if ((e as NodeJS.ErrnoException).code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.[mc]?ts$/.test(path)) {
    return `${path}: error: Node ${process.versions.node} does not load TypeScript; compile it, or use Node 22.18 or newer`;
  }
  const place = e instanceof SyntaxError ? syntaxPlace(path) : stackPlace(e);
  return `${place ?? path}: error: ${e.name}: ${e.message}`;
}

/** Where the code of the module was when it threw. */
function stackPlace(e: Error): string | undefined {
  const m = /file:\/\/([^?\s]+)(?:\?[^:\s]*)?:(\d+):(\d+)/.exec(e.stack ?? '');
  return m === null ? undefined : `${decodeURIComponent(m[1]!)}:${m[2]}:${m[3]}`;
}

/** Node tells the place of a syntax error only to those who ask it to check the file: `PATH:LINE`, the line, a caret. */
function syntaxPlace(path: string): string | undefined {
  const { stderr } = spawnSync(process.execPath, ['--check', path], { encoding: 'utf8' });
  const lines = stderr.split('\n');
  const head = /:(\d+)$/.exec(lines[0] ?? '');
  if (head === null) return undefined;
  const caret = lines[2]?.indexOf('^') ?? -1;
  return caret < 0 ? `${path}:${head[1]}` : `${path}:${head[1]}:${caret + 1}`;
}
