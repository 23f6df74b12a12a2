/**
 * Checks of what a configuration names outside of itself. They take a process or time, so they come after all others, and only
 * where they are asked for. Like checkReferences they need the plain tree alone.
 */
import { dirname, join, relative, resolve } from 'node:path';
import { type FilterExport, type FilterFault, linesOf, probeFilters } from './filter-probe.ts';
import type { Note } from './model.ts';
import { helpWith } from './names.ts';
import type { Path, SourceTree } from './tree.ts';

type Plain = Readonly<Record<string, unknown>>;

const asMap = (v: unknown): Plain => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Plain) : {});
const asList = (v: unknown): readonly unknown[] => (Array.isArray(v) ? v : []);

/** The configuration file: paths in it start at its folder, and names of files are shown as the user wrote its own. */
interface ConfigFile {
  readonly shown: string;
  readonly path: string;
}

/** The filter module must load and export each function that a peer names. */
export async function checkFilterModule(tree: SourceTree, config: ConfigFile): Promise<void> {
  const bgp = asMap(asMap(tree.root)['bgp']);
  const module = bgp['filters'];
  if (typeof module !== 'string' || module === '') return;
  const path = resolve(dirname(config.path), module);
  const probe = await probeFilters(path);
  const shown = shownAs(path, config);
  if ('fault' in probe) reportFault(tree, shown, probe.fault, config);
  else
    for (const [i, peer] of asList(bgp['peers']).entries())
      for (const key of ['import', 'export'])
        checkFunction(
          tree,
          shown,
          asMap(asMap(peer)[key])['module'],
          ['bgp', 'peers', i, key, 'module'],
          probe.functions,
        );
}

function reportFault(tree: SourceTree, shown: string, { message, place }: FilterFault, config: ConfigFile): void {
  const at: Path = ['bgp', 'filters'];
  if (place === undefined) tree.report('error', at, `the filter module cannot be used: ${message}`);
  else {
    const source = linesOf(place.file)[place.line - 1];
    const cause: Note = { ...place, file: shownAs(place.file, config), width: 1, message, source };
    tree.report('error', at, `the filter module ${shown} cannot be loaded`, cause);
  }
}

function checkFunction(
  tree: SourceTree,
  shown: string,
  name: unknown,
  at: Path,
  functions: readonly FilterExport[],
): void {
  if (typeof name !== 'string') return;
  const found = functions.find((f) => f.name === name);
  const known = functions.map((f) => f.name);
  if (found === undefined) tree.report('error', at, `${shown} exports no function "${name}"${helpWith(name, known)}`);
  else if (found.isAsync) tree.report('error', at, `"${name}" is an async function: a filter answers at once`);
}

/** Relative to where the user is, as the configuration's own name; absolute when it is elsewhere. */
function shownAs(path: string, config: ConfigFile): string {
  const below = relative(dirname(config.path), path);
  return below.startsWith('..') ? path : join(dirname(config.shown), below);
}
