import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { examine, unreachable } from '../../../router/cli/elf.ts';

const CHILD = join(import.meta.dirname, '../../../mlshim-wg');

/** An ELF header with program headers of these types; each note holds `name`. */
function elf(types: readonly number[], name = 'GNU\0'): Buffer {
  const b = Buffer.alloc(64 + types.length * 56 + 16);
  b.writeUInt32BE(0x7f454c46, 0);
  b[4] = 2;
  b[5] = 1;
  b.writeBigUInt64LE(64n, 32);
  b.writeUInt16LE(types.length, 56);
  const note = 64 + types.length * 56;
  types.forEach((type, i) => {
    b.writeUInt32LE(type, 64 + i * 56);
    b.writeBigUInt64LE(BigInt(note), 64 + i * 56 + 8);
  });
  b.writeUInt32LE(name.length, note);
  b.write(name, note + 12);
  return b;
}

const look = (b: Buffer) => examine((at, length) => b.subarray(at, at + length));

test('a program with an interpreter is reached, one without is static, a Go program is Go', (t) => {
  t.is(look(elf([6, 3, 1, 4])), undefined);
  t.is(look(elf([1, 1, 4])), 'static');
  t.is(look(elf([3, 1, 4], 'Go\0\0')), 'go', 'also when it is linked dynamically');
  t.is(look(Buffer.from('#!/bin/sh\n')), undefined);
  t.is(look(elf([1]).subarray(0, 70)), 'static');
});

test('the programs of this machine', (t) => {
  t.is(unreachable(process.execPath), undefined);
  t.is(unreachable('/nowhere'), undefined);
  if (existsSync(CHILD)) t.is(unreachable(CHILD), 'go');
});

test('no file makes it throw', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-elf-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const whole = elf([3, 4, 1]);
  const far = elf([4]);
  for (const at of [32, 64 + 8]) far.writeBigUInt64LE(0xffffffffffffffffn, at);
  writeFileSync(join(dir, 'far'), far);
  t.is(unreachable(join(dir, 'far')), 'static');
  for (let n = 0; n <= whole.length; n += 3) {
    writeFileSync(join(dir, 'x'), whole.subarray(0, n));
    t.notThrows(() => unreachable(join(dir, 'x')));
  }
});
