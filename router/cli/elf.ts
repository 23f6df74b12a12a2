/**
 * Whether a preload library can reach a program: reads the header of its ELF file (elf(5)). Programs without an
 * interpreter are never given to the dynamic loader, and Go programs make their system calls themselves.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/** Why the shim cannot serve a program; undefined when it can, or when the file is no ELF program (a script). */
export type Unreachable = 'static' | 'go' | undefined;

/** The same in words, behind the name of the program. */
export const BYPASS: Readonly<Record<NonNullable<Unreachable>, string>> = {
  static: 'is linked statically',
  go: 'is a Go program, which makes its system calls itself',
};

const PT_INTERP = 3;
const PT_NOTE = 4;
const HEADER_OCTETS = 64;
const PROGRAM_HEADER_OCTETS = 56;
const MAX_PROGRAM_HEADERS = 64;
/** Owner and name size of the note that the Go linker writes. */
const GO_NOTE = Buffer.from('Go\0\0');

export function unreachable(path: string): Unreachable {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined; // execute permission alone suffices to run it
  }
  try {
    return examine((at, length) => {
      const octets = Buffer.alloc(length);
      if (at > Number.MAX_SAFE_INTEGER) return octets.subarray(0, 0);
      return octets.subarray(0, readSync(fd, octets, 0, length, at));
    });
  } finally {
    closeSync(fd);
  }
}

/** @param read up to `length` octets of the file */
export function examine(read: (at: number, length: number) => Buffer): Unreachable {
  const h = read(0, HEADER_OCTETS);
  // The shim is built for 64-bit little-endian machines; other files are the kernel's to refuse.
  if (h.length < HEADER_OCTETS || h.readUInt32BE(0) !== 0x7f454c46 || h[4] !== 2 || h[5] !== 1) return undefined;
  const count = Math.min(h.readUInt16LE(56), MAX_PROGRAM_HEADERS);
  const table = read(Number(h.readBigUInt64LE(32)), count * PROGRAM_HEADER_OCTETS);
  let hasInterpreter = false;
  for (let at = 0; at + PROGRAM_HEADER_OCTETS <= table.length; at += PROGRAM_HEADER_OCTETS) {
    const type = table.readUInt32LE(at);
    if (type === PT_INTERP) hasInterpreter = true;
    else if (type === PT_NOTE) {
      const note = read(Number(table.readBigUInt64LE(at + 8)), 16);
      if (note.length === 16 && note.readUInt32LE(0) === GO_NOTE.length && note.subarray(12).equals(GO_NOTE))
        return 'go';
    }
  }
  return hasInterpreter ? undefined : 'static';
}
