/**
 * Control groups of version 2 (cgroups(7)): where they are mounted, the group that each `mlshim run --group` gets, and those that
 * rules name. A cgroup is known to the programs by its id, which is the inode of its directory.
 */
import {
  type FSWatcher,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { MlshimError } from '../lib/errors.ts';
import { systemReason } from '../lib/reason.ts';
import { ANYTHING, matchesProcess } from '../uplink/rule.ts';

/** All of ours are below it. */
const OWN = 'mlshim';
/** Directories looked into at most, should a host have a tree without end. */
const MAX_CGROUPS = 16_384;

export interface Cgroup {
  readonly id: bigint;
  /** In the hierarchy; `/` is the root. */
  readonly path: string;
}

/** Where the hierarchy of version 2 is mounted (proc_pid_mountinfo(5)); undefined on a host with version 1 alone. */
export function cgroupMount(mountinfo: string = read('/proc/self/mountinfo')): string | undefined {
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, place] = before.split(' ');
    if (after.startsWith('cgroup2 ') && root === '/') return place!.replace(/\\(\d{3})/g, octal);
  }
  return undefined;
}

function octal(_: string, digits: string): string {
  return String.fromCharCode(Number.parseInt(digits, 8));
}

/** The cgroups of one router's groups: `/mlshim/INSTANCE/NAME`. */
export class GroupCgroups {
  readonly #mount: string;
  readonly #instance: string;

  constructor(mount: string, instance: string) {
    this.#mount = mount;
    this.#instance = instance;
  }

  /** The cgroup of a group, made when it is not there. @throws MlshimError HOST_REFUSED */
  ensure(group: string): Cgroup {
    const path = `/${OWN}/${this.#instance}/${group}`;
    try {
      mkdirSync(join(this.#mount, path), { recursive: true });
      return { id: idOf(join(this.#mount, path)), path };
    } catch (e) {
      throw new MlshimError('HOST_REFUSED', `cannot make the cgroup ${path}: ${systemReason(e)}`);
    }
  }

  /** Move a process, and so what it starts later, into a group. @throws MlshimError HOST_REFUSED */
  join(group: string, pid: number): void {
    const { path } = this.ensure(group);
    try {
      writeFileSync(join(this.#mount, path, 'cgroup.procs'), String(pid));
    } catch (e) {
      throw new MlshimError('HOST_REFUSED', `cannot move process ${pid} into the cgroup ${path}: ${systemReason(e)}`);
    }
  }

  /** Groups that have a cgroup now. */
  get groups(): readonly string[] {
    return childrenOf(join(this.#mount, OWN, this.#instance));
  }

  /** Remove one; programs that are left in it go on in the root. */
  remove(group: string): void {
    this.#removeTree(join(this.#mount, OWN, this.#instance, group));
  }

  /** Remove all, also those that an earlier process has left. */
  removeAll(): void {
    const own = join(this.#mount, OWN);
    for (const group of this.groups) this.remove(group);
    remove(join(own, this.#instance));
    if (childrenOf(own).length === 0) remove(own);
  }

  #removeTree(folder: string): void {
    for (const child of childrenOf(folder)) this.#removeTree(join(folder, child));
    // A process may start another one while it is moved.
    for (let pids = pidsOf(folder), round = 0; pids.length > 0 && round < 8; pids = pidsOf(folder), round++)
      for (const pid of pids) write(join(this.#mount, 'cgroup.procs'), pid);
    remove(folder);
  }
}

/**
 * Cgroups that rules name by globs, as they come and go. Told are those to which other globs apply than to the one above: what
 * is below is as they are.
 */
export class NamedCgroups {
  readonly #mount: string;
  readonly #onAppear: (cgroup: Cgroup) => void;
  readonly #onVanish: (id: bigint) => void;
  #globs: readonly string[] = [];
  /** By the path of each cgroup that is watched. */
  readonly #known = new Map<string, { readonly id: bigint; readonly watcher: FSWatcher; isTold: boolean }>();

  constructor(mount: string, onAppear: (cgroup: Cgroup) => void, onVanish: (id: bigint) => void) {
    this.#mount = mount;
    this.#onAppear = onAppear;
    this.#onVanish = onVanish;
  }

  /** Look for other ones from now on. Those that are told of still are not told of again. */
  configure(globs: readonly string[]): void {
    this.#globs = globs;
    if (globs.length === 0) this.close();
    else if (this.#known.size === 0) this.#visit('/', '');
    else for (const path of [...this.#known.keys()]) this.#judge(path);
  }

  /** By other globs. */
  #judge(path: string): void {
    const known = this.#known.get(path)!;
    const above = path === '/' ? '' : this.#keyOf(join(path, '..'));
    const isTold = this.#keyOf(path) !== above;
    if (isTold && !known.isTold) this.#onAppear({ id: known.id, path });
    if (!isTold && known.isTold) this.#onVanish(known.id);
    known.isTold = isTold;
  }

  close(): void {
    for (const path of [...this.#known.keys()]) this.#forget(path);
  }

  #visit(path: string, above: string): void {
    if (this.#known.has(path) || this.#known.size >= MAX_CGROUPS) return;
    const folder = join(this.#mount, path);
    let id: bigint;
    let watcher: FSWatcher;
    try {
      watcher = watch(folder, { persistent: false }, (kind) => {
        if (kind === 'rename') this.#changed(path);
      });
      id = idOf(folder);
    } catch {
      return; // gone already, or no watch is left: the cgroup above stands for it
    }
    watcher.on('error', () => this.#forget(path));
    const key = this.#keyOf(path);
    const isTold = key !== above;
    this.#known.set(path, { id, watcher, isTold });
    if (isTold) this.#onAppear({ id, path });
    for (const child of childrenOf(folder)) this.#visit(join(path, child), key);
  }

  #changed(path: string): void {
    const folder = join(this.#mount, path);
    const children = new Set(childrenOf(folder));
    const isBelow = (other: string): boolean => other !== path && join(other, '..') === path;
    for (const other of [...this.#known.keys()])
      if (isBelow(other) && (!children.has(basename(other)) || this.#isAnother(other))) this.#forgetTree(other);
    for (const child of children) this.#visit(join(path, child), this.#keyOf(path));
  }

  /** One that was removed and made again has another id. */
  #isAnother(path: string): boolean {
    try {
      return idOf(join(this.#mount, path)) !== this.#known.get(path)!.id;
    } catch {
      return true;
    }
  }

  #forgetTree(path: string): void {
    for (const other of [...this.#known.keys()]) if (other.startsWith(`${path}/`)) this.#forget(other);
    this.#forget(path);
  }

  #forget(path: string): void {
    const known = this.#known.get(path);
    if (known === undefined) return;
    this.#known.delete(path);
    known.watcher.close();
    if (known.isTold) this.#onVanish(known.id);
  }

  /** Which globs hold for a cgroup, by itself or by one above it. */
  #keyOf(path: string): string {
    const process = { executable: '', argv0: '', group: undefined, uid: -1, cgroup: path };
    return this.#globs.filter((glob) => matchesProcess({ ...ANYTHING, cgroups: [glob] }, process)).join('\n');
  }
}

function idOf(folder: string): bigint {
  return statSync(folder, { bigint: true }).ino;
}

function childrenOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((f) => f.isDirectory())
      .map((f) => f.name);
  } catch {
    return [];
  }
}

function pidsOf(folder: string): string[] {
  return read(join(folder, 'cgroup.procs'))
    .split('\n')
    .filter((pid) => pid !== '');
}

/** A process that ends meanwhile, or one of the kernel's, cannot be moved. */
function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    return;
  }
}

function remove(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    return; // not there, or still in use
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
