/**
 * What keeps the routers of one host apart: each has the folder of its sockets, and by it a name of its own for pins and cgroups,
 * and a range of numbers for routing tables.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { MlshimError } from '../lib/errors.ts';

/** Where routers say which range they have. */
const SLOTS_FOLDER = '/run/mlshim/slots';
const SLOTS = 32;
/** Tables of one router: uplinks at most. */
export const TABLES_PER_SLOT = 64;
/** In the folder of a router whose policy is, or may be, in force. */
const MARK = 'kernel-backend';

const BPF_FS = '/sys/fs/bpf';
const BPF_FS_MAGIC = 0xcafe4a11;
/** Where the loader mounts a file system of pins for itself when the host has none. */
const OWN_PINS = '/run/mlshim/pins';

export interface Instance {
  readonly name: string;
  /** Where its programs and maps are pinned. */
  readonly pinDir: string;
  /** Its first table, counted from the first of all of ours. */
  readonly firstTable: number;
}

/** The name follows from the folder: it is the same after a crash. */
export function instanceName(folder: string): string {
  return createHash('sha256').update(realpathSync(folder)).digest('hex').slice(0, 8);
}

/** Where the programs of a router are pinned that is in force. */
export function pinDirOf(folder: string): string {
  return readFileSync(join(folder, MARK), 'utf8');
}

/** The host's file system of pins outlives whatever namespace of mounts the router is in; one of our own may not. */
function choosePinDir(name: string): string {
  return join(isBpfFs() ? join(BPF_FS, 'mlshim') : OWN_PINS, name);
}

function isBpfFs(): boolean {
  try {
    return statfsSync(BPF_FS).type === BPF_FS_MAGIC;
  } catch {
    return false;
  }
}

/**
 * Take a range of tables that no other router has; the one of before, when this one has been here.
 * @throws MlshimError HOST_OVERLAP when there are too many routers
 */
export function claimInstance(folder: string, slots: string = SLOTS_FOLDER): Instance {
  const name = instanceName(folder);
  mkdirSync(slots, { recursive: true });
  const pinDir = isInForce(folder) ? pinDirOf(folder) : choosePinDir(name);
  writeFileSync(join(folder, MARK), pinDir); // first: a range without a mark is anybody's
  const slot = mine(folder, slots) ?? free(folder, slots);
  return { name, pinDir, firstTable: slot * TABLES_PER_SLOT };
}

/** What was claimed has been undone. */
export function releaseInstance(folder: string, slots: string = SLOTS_FOLDER): void {
  const slot = mine(folder, slots);
  if (slot !== undefined) rmSync(join(slots, String(slot)), { force: true });
  rmSync(join(folder, MARK), { force: true });
  for (const empty of [slots, OWN_PINS, join(BPF_FS, 'mlshim'), dirname(slots)]) removeEmpty(empty);
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    return; // not empty: another router has something there; or never made
  }
}

/** Whether a router of this folder has changed the host and has not undone it. */
export function isInForce(folder: string): boolean {
  return existsSync(join(folder, MARK));
}

function mine(folder: string, slots: string): number | undefined {
  for (let slot = 0; slot < SLOTS; slot++) if (ownerOf(slots, slot) === realpathSync(folder)) return slot;
  return undefined;
}

function free(folder: string, slots: string): number {
  for (let slot = 0; slot < SLOTS; slot++) {
    const file = join(slots, String(slot));
    const owner = ownerOf(slots, slot);
    // Its folder was removed, or was another router's before: nothing of it is in force.
    if (owner !== undefined && !isInForce(owner)) rmSync(file, { force: true });
    try {
      writeFileSync(file, realpathSync(folder), { flag: 'wx' });
      return slot;
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EEXIST') throw e;
    }
  }
  throw new MlshimError('HOST_OVERLAP', `${SLOTS} routers have changed this host already (${slots})`);
}

function ownerOf(slots: string, slot: number): string | undefined {
  try {
    return readFileSync(join(slots, String(slot)), 'utf8');
  } catch {
    return undefined;
  }
}
