/**
 * Checks of what a configuration names outside of itself. They take a process or time, so they come after all others, and only
 * where they are asked for. Like checkReferences they need the plain tree alone.
 */
import { createReadStream, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { RoaFileReader } from '../../bgp/rpki/roa-file.ts';
import { systemReason } from '../lib/reason.ts';
import { type FilterExport, type FilterFault, linesOf, probeFilters } from './filter-probe.ts';
import type { Note } from './model.ts';
import { helpWith } from './names.ts';
import { isUrl } from './rpki.ts';
import { asList, asMap, type Path, type SourceTree } from './tree.ts';

/** The configuration file: paths in it start at its folder, and names of files are shown as the user wrote its own. */
interface ConfigFile {
  readonly shown: string;
  readonly path: string;
}

/** All of them; files, which may be large, are read only when nothing keeps the router from starting. */
export async function checkOutside(tree: SourceTree, config: ConfigFile): Promise<void> {
  await checkFilterModule(tree, config);
  if (!tree.diagnostics.some((d) => d.severity === 'error')) await checkFiles(tree, config);
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

/** Files that may come later, by cron say: the router starts without them, and takes them in when they are there. */
async function checkFiles(tree: SourceTree, config: ConfigFile): Promise<void> {
  const inFolder = (file: string): string => resolve(dirname(config.path), file);
  const bgp = asMap(asMap(tree.root)['bgp']);
  for (const [i, file] of asList(asMap(bgp['rpki'])['files']).entries()) {
    if (typeof file !== 'string' || isUrl(file)) continue;
    const why = await whyNoRoas(inFolder(file));
    const message = `the router starts without these ROAs: ${why}`;
    if (why !== undefined) tree.report('warning', ['bgp', 'rpki', 'files', i], message);
  }
  for (const [i, peer] of asList(bgp['peers']).entries()) {
    const file = asMap(peer)['mrt'];
    const why = typeof file === 'string' ? whyUnread(inFolder(file)) : undefined;
    const message = `there is nothing to replay: ${why}`;
    if (why !== undefined) tree.report('warning', ['bgp', 'peers', i, 'mrt'], message);
  }
}

async function whyNoRoas(path: string): Promise<string | undefined> {
  const reader = new RoaFileReader();
  const text = new TextDecoder('utf-8', { fatal: true });
  try {
    for await (const chunk of createReadStream(path)) reader.push(text.decode(chunk as Buffer, { stream: true }));
    return reader.end().size === 0 ? 'the file holds none' : undefined;
  } catch (e) {
    return systemReason(e);
  }
}

function whyUnread(path: string): string | undefined {
  try {
    return statSync(path).isDirectory() ? 'it is a folder' : undefined;
  } catch (e) {
    return systemReason(e);
  }
}

/** Relative to where the user is, as the configuration's own name; absolute when it is elsewhere. */
function shownAs(path: string, config: ConfigFile): string {
  const below = relative(dirname(config.path), path);
  return below.startsWith('..') ? path : join(dirname(config.shown), below);
}
