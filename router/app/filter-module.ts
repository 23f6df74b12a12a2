/**
 * Loads the module of filter functions (`bgp.filters`) into the routing worker. That it can be loaded and has the functions was
 * seen before, in a process of its own (router/config/filter-probe.ts); what is wrong here has changed since.
 */
import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { RouteFunction } from '../../bgp/speaker.ts';
import { type FilterFault, faultText, probeFilters } from '../config/filter-probe.ts';
import { helpWith } from '../config/names.ts';
import { MlshimError } from '../lib/errors.ts';

/**
 * All functions a module exports, by name.
 * @param path absolute; a file that has changed since it was loaded is loaded anew, what it imports is not
 * @throws MlshimError CONFIG_INVALID
 */
export async function loadFilters(path: string): Promise<ReadonlyMap<string, RouteFunction>> {
  const written = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = await import(`${pathToFileURL(path).href}?changed=${written}`);
  } catch (e) {
    throw new MlshimError('CONFIG_INVALID', faultText(path, await explained(path, e)));
  }
  const found = new Map<string, RouteFunction>();
  for (const [name, value] of Object.entries(loaded)) {
    if (typeof value === 'function') found.set(name, value as RouteFunction);
  }
  return found;
}

/** Only a probe learns of the places of all mistakes. */
async function explained(path: string, e: unknown): Promise<FilterFault> {
  const probe = await probeFilters(path);
  return 'fault' in probe ? probe.fault : { message: e instanceof Error ? e.message : String(e), place: undefined };
}

/**
 * The function with this name.
 * @throws MlshimError CONFIG_INVALID
 */
export function filterNamed(name: string, filters: ReadonlyMap<string, RouteFunction>, path: string): RouteFunction {
  const found = filters.get(name);
  if (found !== undefined) return found;
  throw new MlshimError(
    'CONFIG_INVALID',
    `${path}: exports no function "${name}"${helpWith(name, [...filters.keys()])}`,
  );
}
