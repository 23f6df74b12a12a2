/** What is said about a name that stands for nothing. */
import { nearest } from '../lib/nearest.ts';

/** `no uplink "fibre" (did you mean "fiber"?)`; the known ones where none is near. */
export function noSuch(what: string, name: string, known: readonly string[]): string {
  return `no ${what} "${name}"${helpWith(name, known)}`;
}

/** What is said behind a name that is not known. */
export function helpWith(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return ` (did you mean "${near}"?)`;
  return known.length > 0 ? ` (known: ${known.join(', ')})` : '';
}
