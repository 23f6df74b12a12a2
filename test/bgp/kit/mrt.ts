/** A table that BIRD dumped, as a file. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hex } from './describe.ts';

const GOLDEN = join(process.cwd(), 'test/golden/bgp/mrt/bird-2.0.12-table.hex');

/** What the peer of the table told, 127.0.0.2 of this AS. */
export const TABLE_ASN = 4242420002;

/** Writes the table into a folder; returns its path. */
export function birdFile(folder: string): string {
  const line = readFileSync(GOLDEN, 'utf8')
    .split('\n')
    .find((l) => l !== '' && !l.startsWith('#'));
  const path = join(folder, 'bird.mrt');
  writeFileSync(path, hex(line!));
  return path;
}
