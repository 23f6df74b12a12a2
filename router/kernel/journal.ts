/**
 * What was changed in the host's network and how it was before, in a file of JSON lines. An entry is on the disk before its
 * change is made, so that whoever comes after a crash can take everything back. A line that is cut off is of a
 * change that was not made, and a journal of before the machine was started of one that is no more.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { PlainRule } from './plain-rule.ts';

/** Who an entry is for: the uplink it came with, undefined = all of them. */
interface Owned {
  readonly uplink: string | undefined;
}

export type JournalEntry = Owned &
  (
    | { readonly kind: 'link'; readonly name: string; readonly is: 'vrf' | 'wireguard' | 'tun' }
    /** An interface that is put into a VRF, and what the kernel forgets on the way, as the kernel told of it (base64). */
    | {
        readonly kind: 'port';
        readonly name: string;
        readonly vrf: string;
        readonly table: number;
        readonly ifindex: number;
        readonly addresses: readonly string[];
        readonly routes: readonly string[];
        readonly neighbours: readonly string[];
        /** All of it is back in its place in the VRF: what is there now counts, not what was. */
        readonly isSettled: boolean;
      }
    | { readonly kind: 'mtu'; readonly name: string; readonly mtu: number }
    /** An interface that was not up. */
    | { readonly kind: 'up'; readonly name: string }
    | { readonly kind: 'sysctl'; readonly name: string; readonly value: string }
    | { readonly kind: 'rule'; readonly name: string; readonly rule: PlainRule }
    /** A table that routes of ours are put into. */
    | { readonly kind: 'table'; readonly name: string; readonly table: number }
    /** The rule that makes VRFs work, which the kernel adds with the first VRF and never removes. */
    | { readonly kind: 'l3mdev'; readonly name: string }
  );

export type EntryOf<K extends JournalEntry['kind']> = Extract<JournalEntry, { readonly kind: K }>;

type Line = { readonly boot: string } | { readonly entry: JournalEntry } | { readonly gone: string };

export class Journal {
  readonly #path: string;
  readonly #entries = new Map<string, JournalEntry>();
  #fd = -1;

  /** Reads what a run before has left. */
  constructor(path: string) {
    this.#path = path;
    for (const line of linesOf(path)) this.#take(line);
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** In the order they were made. */
  get entries(): readonly JournalEntry[] {
    return [...this.#entries.values()];
  }

  find<K extends JournalEntry['kind']>(kind: K, name: string): EntryOf<K> | undefined {
    return this.#entries.get(`${kind} ${name}`) as EntryOf<K> | undefined;
  }

  /** On the disk when it returns. Takes the place of an entry of the same kind and name. */
  write(entry: JournalEntry): void {
    this.#append({ entry });
  }

  /** Its change was taken back. */
  forget(entry: JournalEntry): void {
    this.#append({ gone: keyOf(entry) });
    if (this.isEmpty) this.#remove();
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #take(line: Line): void {
    if ('gone' in line) this.#entries.delete(line.gone);
    else if ('entry' in line) this.#entries.set(keyOf(line.entry), line.entry);
  }

  #append(line: Line): void {
    if (this.#fd < 0) this.#open();
    writeSync(this.#fd, `${JSON.stringify(line)}\n`);
    fsyncSync(this.#fd);
    this.#take(line);
  }

  /** Written anew, so that it starts with whole lines. */
  #open(): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    const lines: Line[] = [{ boot: bootId() }, ...this.entries.map((entry) => ({ entry }))];
    const fresh = `${this.#path}.new`;
    this.#fd = openSync(fresh, 'w', 0o600);
    writeSync(this.#fd, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    fsyncSync(this.#fd);
    renameSync(fresh, this.#path);
  }

  #remove(): void {
    this.close();
    unlinkSync(this.#path);
  }
}

function keyOf(entry: JournalEntry): string {
  return `${entry.kind} ${entry.name}`;
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function linesOf(path: string): Line[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return []; // nothing was changed
  }
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const lines = whole.split('\n').flatMap((line): Line[] => (line === '' ? [] : [JSON.parse(line) as Line]));
  const [first] = lines;
  return first !== undefined && 'boot' in first && first.boot === bootId() ? lines : [];
}
