/**
 * What rules ask about the process behind a socket, read from /proc. Kept per process until it executes another program or
 * ends; a process of another user, or one that is gone, has no facts and matches no rule about processes.
 */
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import type { ProcessFacts } from '../uplink/rule.ts';

/** Processes remembered at most. */
const MAX_KNOWN = 4096;
const GROUP_VARIABLE = 'MLSHIM_GROUP=';

interface Known<T> {
  readonly identity: string;
  readonly value: T;
}

/** Values worked out once per process and program. */
export class ProcessTable<T> {
  readonly #known = new Map<number, Known<T>>();
  readonly #make: (pid: number) => T;

  constructor(make: (pid: number) => T) {
    this.#make = make;
  }

  of(pid: number): T {
    const identity = identityOf(pid);
    const known = this.#known.get(pid);
    if (known !== undefined && known.identity === identity) return known.value;
    const value = this.#make(pid);
    this.#known.delete(pid);
    this.#known.set(pid, { identity, value });
    if (this.#known.size > MAX_KNOWN)
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    return value;
  }
}

/** Other than before once the number belongs to another process, or the process to another program. */
export function identityOf(pid: number): string {
  const stat = read(`/proc/${pid}/stat`);
  // proc(5): the name, field 2, may hold anything but ends at the last parenthesis; the start time is field 22.
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${started} ${link(`/proc/${pid}/exe`)}`;
}

/** @returns facts; what cannot be read is empty, and matches nothing */
export function factsOf(pid: number): ProcessFacts {
  const group = read(`/proc/${pid}/environ`)
    .split('\0')
    .find((v) => v.startsWith(GROUP_VARIABLE));
  return {
    // A program that was replaced while it runs has another name on disk now.
    executable: link(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, ''),
    argv0: read(`/proc/${pid}/cmdline`).split('\0')[0] ?? '',
    group: group?.slice(GROUP_VARIABLE.length),
    uid: ownerOf(pid),
    cgroup: cgroupOf(read(`/proc/${pid}/cgroup`)),
  };
}

/** The version 2 hierarchy is the line without controllers (cgroups(7)). */
function cgroupOf(text: string): string {
  const line = text.split('\n').find((l) => l.startsWith('0::'));
  return line?.slice('0::'.length) ?? '';
}

function ownerOf(pid: number): number {
  try {
    return statSync(`/proc/${pid}`).uid;
  } catch {
    return -1;
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
