/**
 * Tables of a session's VPN families as BMP stations are told them: Adj-RIB-In after policy, Adj-RIB-Out before and after policy.
 * What a station has is remembered, what may have changed waits by its key, and a table is walked through once, in portions;
 * so a station that does not read misses intermediate states only.
 * Read first: RFC 7854 §5, RFC 8671 §3, bgp/monitor/views.ts, which does the same for the families with tables in a speaker.
 */

import type { TableKind, ToldTable } from '../monitor/told-table.ts';
import type { VpnAccepted, VpnBundle, VpnFamily, VpnPeer, VpnTold } from '../ports.ts';
import type { NextHop } from '../wire/attribute/model.ts';
import type { HeldRoute } from './held.ts';
import type { VpnRoute, VpnTable } from './vpn-table.ts';
import { reachUpdates, unreach, unreachUpdates, type VpnPath } from './vpn-update.ts';

/** Routes looked at for one portion. */
const PORTION = 512;

/** A path with what it has in common with others; equal objects mean that nothing has changed. */
export interface TablePath extends VpnPath {
  readonly told: VpnTold;
}

/** A table, in places that may each hold some paths. */
interface Source {
  /** Keys of all places; they may come and go meanwhile. */
  readonly keys: () => Iterable<string>;
  readonly paths: (key: string) => readonly TablePath[];
  /** Nobody asks any more. */
  readonly close: () => void;
}

export interface SessionTables {
  readonly peer: VpnPeer;
  readonly families: readonly VpnFamily[];
  readonly fourOctetAs: boolean;
  readonly table: VpnTable;
  readonly held: HeldTable;
  /** Identifiers stand before the prefixes that the peer tells, or is told (RFC 7911 §3). */
  receivesPathIds(family: VpnFamily): boolean;
  sendsPathIds(family: VpnFamily): boolean;
  /** The routes to a prefix that policy is asked about. */
  eligible(key: string): readonly VpnRoute[];
  /** What the peer has been told. */
  toldKeys(): Iterable<string>;
  told(key: string): readonly TablePath[];
}

/** What is held from the peer, by the keys of `Held`. */
export interface HeldTable {
  keys(): Iterable<string>;
  at(key: string): HeldRoute | undefined;
  /** @returns takes the listener away again */
  watch(listener: (key: string) => void): () => void;
}

class View implements ToldTable {
  readonly kind: TableKind;
  readonly #source: Source;
  readonly #tables: SessionTables;
  readonly #wake: () => void;
  readonly #closed: (view: View) => void;
  readonly #waiting = new Set<string>();
  readonly #told = new Map<string, readonly TablePath[]>();
  #walk: Iterator<string> | undefined;
  #isInitial = true;

  constructor(kind: TableKind, source: Source, tables: SessionTables, wake: () => void, closed: (view: View) => void) {
    this.kind = kind;
    this.#source = source;
    this.#tables = tables;
    this.#wake = wake;
    this.#closed = closed;
    this.#walk = source.keys()[Symbol.iterator]();
  }

  get isInitial(): boolean {
    return this.#isInitial;
  }

  get hasWork(): boolean {
    return this.#isInitial || this.#walk !== undefined || this.#waiting.size > 0;
  }

  touch(key: string): void {
    const wasIdle = !this.hasWork;
    this.#waiting.add(key);
    if (wasIdle) this.#wake();
  }

  /** Any of it may be otherwise now. */
  review(): void {
    const wasIdle = !this.hasWork;
    this.#walk = this.#source.keys()[Symbol.iterator]();
    if (wasIdle) this.#wake();
  }

  pull(): readonly Uint8Array[] {
    this.#walkOn();
    const gone: TablePath[] = [];
    const groups = new Map<VpnTold, TablePath[]>();
    let left = PORTION;
    for (const key of this.#waiting) {
      if (left-- === 0) break;
      this.#waiting.delete(key);
      this.#look(key, gone, groups);
    }
    const { families, fourOctetAs } = this.#tables;
    const updates = families.flatMap((f) =>
      unreachUpdates(
        f,
        gone.filter((path) => familyOf(path) === f),
      ),
    );
    for (const [told, paths] of groups) updates.push(...reachUpdates(familyOf(paths[0]!), told, paths, fourOctetAs));
    if (this.#isInitial && this.#walk === undefined && this.#waiting.size === 0) {
      this.#isInitial = false;
      updates.push(...families.map((f) => unreach(f, new Uint8Array(0))));
    }
    return updates;
  }

  close(): void {
    this.#source.close();
    this.#closed(this);
  }

  #walkOn(): void {
    for (let left = PORTION; this.#walk !== undefined && left > 0; left--) {
      const { done, value } = this.#walk.next();
      if (done === true) this.#walk = undefined;
      else this.#waiting.add(value);
    }
  }

  #look(key: string, gone: TablePath[], groups: Map<VpnTold, TablePath[]>): void {
    const before = this.#told.get(key) ?? [];
    const now = this.#source.paths(key);
    for (const path of before) if (!now.some((p) => p.id === path.id)) gone.push(path);
    for (const path of now) {
      if (before.some((p) => p.id === path.id && p.told === path.told && p.label === path.label)) continue;
      const group = groups.get(path.told);
      if (group === undefined) groups.set(path.told, [path]);
      else group.push(path);
    }
    if (now.length === 0) this.#told.delete(key);
    else this.#told.set(key, now);
  }
}

/** All tables of one session that stations are told now. */
export class SessionViews {
  readonly #tables: SessionTables;
  readonly #all = new Set<View>();
  #offered = new WeakMap<VpnBundle, { readonly told: VpnTold | undefined }>();

  constructor(tables: SessionTables) {
    this.#tables = tables;
  }

  /** @param wake called when there is something to `pull` after there was nothing */
  open(kind: Exclude<TableKind, 'loc'>, wake: () => void): ToldTable {
    const view: View = new View(
      kind,
      this.#source(kind, (key) => view.touch(key)),
      this.#tables,
      wake,
      (v) => {
        this.#all.delete(v);
      },
    );
    this.#all.add(view);
    return view;
  }

  /** Routes to a prefix have changed. */
  routesChanged(key: string): void {
    this.#touch('out_pre', key);
  }

  /** The peer is told something else of a prefix. */
  toldChanged(key: string): void {
    this.#touch('out_post', key);
  }

  /** Settings that are no policy may have changed with it. */
  policyChanged(): void {
    this.#offered = new WeakMap();
    for (const view of this.#all) if (view.kind === 'out_pre') view.review();
  }

  #touch(kind: TableKind, key: string): void {
    for (const view of this.#all) if (view.kind === kind) view.touch(key);
  }

  #source(kind: Exclude<TableKind, 'loc'>, touch: (key: string) => void): Source {
    const { table, held } = this.#tables;
    const close = (): void => undefined;
    switch (kind) {
      case 'in_post':
        return { keys: () => held.keys(), paths: this.#accepted(), close: held.watch(touch) };
      case 'out_pre':
        return { keys: () => table.keys(), paths: (key) => this.#offeredPaths(key), close };
      case 'out_post':
        return { keys: () => this.#tables.toldKeys(), paths: (key) => this.#tables.told(key), close };
    }
  }

  #accepted(): Source['paths'] {
    const { held, families } = this.#tables;
    const made = new WeakMap<VpnAccepted, VpnTold>();
    return (key) => {
      const { accepted, prefix } = held.at(key) ?? {};
      // Routes of a family may be kept from a session before this one, which does not speak it.
      if (accepted === undefined || !families.includes(familyOf({ name: prefix! }))) return [];
      let told = made.get(accepted);
      if (told === undefined)
        made.set(accepted, (told = { attributes: accepted.attributes, hop: addressOf(accepted.hop) }));
      const id = this.#tables.receivesPathIds(familyOf({ name: prefix! })) ? prefix!.pathId : undefined;
      return [{ name: prefix!, id, label: prefix!.label, told }];
    };
  }

  #offeredPaths(key: string): TablePath[] {
    return this.#tables.eligible(key).flatMap(({ bundle, name, label, number }) => {
      let offered = this.#offered.get(bundle);
      if (offered === undefined) {
        const attributes = this.#tables.peer.offering(bundle);
        offered = { told: attributes && { attributes, hop: addressOf(bundle.hop) } };
        this.#offered.set(bundle, offered);
      }
      const { told } = offered;
      const id = this.#tables.sendsPathIds(bundle.family) ? number : undefined;
      return told === undefined ? [] : [{ name, id, label, told }];
    });
  }
}

function familyOf({ name }: Pick<TablePath, 'name'>): VpnFamily {
  return name.prefix.family === 4 ? 'vpnv4' : 'vpnv6';
}

function addressOf({ global, linkLocal }: NextHop) {
  return (global ?? linkLocal)!;
}
