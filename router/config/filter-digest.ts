/**
 * What a filter module says, as a short text that changes when it does: a digest of its file and of the files next to it that
 * it names, those it imports and those it reads. Nothing is executed.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** A text in a file that may name another one relative to it: `'./lists.mjs'`, `"../customers.json"`. */
const NAMED = /(['"`])(\.{1,2}\/[^'"`\n$]+)\1/g;
/** Files whose texts are looked at in turn. */
const CODE = /\.[cm]?[jt]s$/;
/** No module has so many files; whoever names a whole folder tree is cut off there. */
const MAX_FILES = 1000;
const SHOWN = 16;

/** The files, the module itself first. Those that are not there, or cannot be read, are left out. */
export function filterFiles(module: string): readonly string[] {
  const found = new Map<string, string | undefined>([[module, undefined]]);
  for (const file of found.keys()) {
    const content = contentOf(file);
    found.set(file, content);
    if (content === undefined || !CODE.test(file)) continue;
    for (const [, , named] of content.matchAll(NAMED)) {
      const path = resolve(dirname(file), named!.replace(/[?#].*$/, ''));
      if (found.size < MAX_FILES && isFile(path) && !found.has(path)) found.set(path, undefined);
    }
  }
  return [...found].filter(([, content]) => content !== undefined).map(([file]) => file);
}

/** @param module absolute path @returns sixteen hexadecimal digits */
export function filterDigest(module: string): string {
  const hash = createHash('sha256');
  for (const file of filterFiles(module)) hash.update(`${file}\0${contentOf(file) ?? ''}\0`);
  return hash.digest('hex').slice(0, SHOWN);
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function contentOf(file: string): string | undefined {
  try {
    return isFile(file) ? readFileSync(file, 'utf8') : undefined;
  } catch {
    return undefined; // no permission, or gone meanwhile
  }
}
