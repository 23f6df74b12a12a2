/**
 * Loads the module of filter functions (`bgp.filters`) into the routing worker. That it can be loaded and has the functions was
 * seen before, in a process of its own (router/config/filter-probe.ts); what is wrong here has changed since.
 */
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';
import { placeOf } from '../../bgp/policy/module.ts';
import type { RouteFunction } from '../../bgp/speaker.ts';
import type { FilterModule } from '../config/bgp-model.ts';
import { type FilterFault, faultText, probeFilters } from '../config/filter-probe.ts';
import { helpWith } from '../config/names.ts';
import { MlshimError } from '../lib/errors.ts';

/** What modules import is read anew from the second one on: only then something is kept that may be old. */
let hasLoaded = false;
let hasHooks = false;

/**
 * All functions a module exports, by name. One that says something else than when it was loaded before is loaded anew with what
 * it imports, as far as that are files of its own.
 * @throws MlshimError CONFIG_INVALID
 */
export async function loadFilters({ path, digest }: FilterModule): Promise<ReadonlyMap<string, RouteFunction>> {
  if (hasLoaded && !hasHooks) {
    register('./filter-hooks.js', import.meta.url);
    hasHooks = true;
  }
  hasLoaded = true;
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = await import(`${pathToFileURL(path).href}?filters=${digest}`);
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
 * What a function of the module has left behind (a timer, a promise that nobody waits for) failed: in words with its place.
 * Undefined when `e` does not come from a module.
 */
export function strayFailure(e: unknown): string | undefined {
  return e instanceof Error && /\?filters=[0-9a-f]+:\d/.test(e.stack ?? '') ? placeOf(e) : undefined;
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
