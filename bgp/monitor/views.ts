/**
 * Tables as BMP stations are told them, beside the messages of peers: Adj-RIB-In after policy, Adj-RIB-Out before and after
 * policy, Loc-RIB. Each is kept like an Adj-RIB-Out of its own: what the station has is remembered, what changed waits as
 * numbers of prefixes. So a station that does not read costs a column and a queue, and misses intermediate states only.
 * Read first: RFC 7854 §5, RFC 8671 §3, RFC 9069 §3, bgp/rib/adj-rib-out.ts.
 */

import { Addr, type Family } from '../../router/lib/addr.ts';
import type { Chore } from '../chores.ts';
import type { Outbound, Peer } from '../peer.ts';
import { AdjRibOut } from '../rib/adj-rib-out.ts';
import { AdjRibPathsOut, type ToldPath } from '../rib/adj-rib-paths-out.ts';
import type { AttrSet, AttrTable } from '../rib/attrs.ts';
import type { LocRib } from '../rib/loc-rib.ts';
import type { Rib } from '../rib/rib.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';
import { unicast } from '../wire/family.ts';
import { MAX_EXTENDED_MESSAGE } from '../wire/message.ts';
import { UpdatePacker } from '../wire/update.ts';
import { messagesIn } from './dump.ts';
import type { TableKind, ToldTable } from './told-table.ts';

/** A path and its identifier; that is 0 in tables of one path per prefix. */
type Path = ToldPath & { readonly pathId: number };

/** What a table holds for a prefix now. */
type Paths = (prefix: number) => readonly Path[];

export interface ViewsHost {
  readonly ribs: readonly Rib[];
  readonly attrs: AttrTable;
  /** Peers by number. */
  readonly byNumber: readonly (Peer | undefined)[];
  /** What a station was told does not matter any more. */
  discard(told: Chore): void;
}

/** Prefixes looked at for one portion. */
const PORTION = 512;

/** Routes of our own have no next hop, and a message must have one. */
const NOWHERE: Readonly<Record<Family, NextHop>> = {
  4: { global: Addr.v4(0), linkLocal: undefined },
  6: { global: Addr.v6(0, 0, 0, 0), linkLocal: undefined },
};

class Part {
  readonly rib: Rib;
  readonly told: AdjRibOut | AdjRibPathsOut;
  readonly #paths: Paths;
  /** The whole table has not been told yet. */
  isInitial = true;

  constructor(rib: Rib, attrs: AttrTable, hasPathIds: boolean, paths: Paths, all: Pick<LocRib, 'slice'>) {
    this.rib = rib;
    this.#paths = paths;
    this.told = hasPathIds ? new AdjRibPathsOut(rib.prefixes, attrs) : new AdjRibOut(rib.prefixes, attrs);
    this.told.review(all);
  }

  get hasWork(): boolean {
    return this.isInitial || this.told.pending > 0;
  }

  pull(packer: UpdatePacker): void {
    if (this.told instanceof AdjRibOut) this.told.pull(PORTION, (id) => this.#paths(id)[0]?.attrs, packer);
    else this.told.pull(PORTION, this.#paths, packer);
    if (!this.isInitial || this.told.pending > 0) return;
    packer.endOfRib(this.rib.family);
    this.isInitial = false;
  }
}

/** One table of one station, of the families with tables in a speaker. */
export class TableView implements ToldTable {
  readonly kind: TableKind;
  readonly peer: Peer | undefined;
  readonly #parts: readonly Part[];
  readonly #packer: UpdatePacker;
  readonly #chunks: Uint8Array[] = [];
  readonly #wake: () => void;
  readonly #closed: (view: TableView) => void;

  constructor(
    kind: TableKind,
    peer: Peer | undefined,
    parts: readonly Part[],
    wake: () => void,
    closed: (view: TableView) => void,
  ) {
    this.kind = kind;
    this.peer = peer;
    this.#parts = parts;
    this.#wake = wake;
    this.#closed = closed;
    const fourOctetAs = peer?.session.negotiated?.context.fourOctetAs ?? true;
    const pathIds = parts.some((p) => p.told instanceof AdjRibPathsOut);
    const settings = { fourOctetAs, maxMessage: MAX_EXTENDED_MESSAGE, linkLocalForm: 'native', pathIds } as const;
    this.#packer = new UpdatePacker(settings, (octets) => this.#chunks.push(octets));
  }

  /** A prefix of the table may have changed. */
  touch(rib: Rib, prefix: number): void {
    const part = this.#parts.find((p) => p.rib === rib);
    if (part === undefined) return;
    const wasIdle = !this.hasWork;
    part.told.touch(prefix);
    if (wasIdle) this.#wake();
  }

  get hasWork(): boolean {
    return this.#parts.some((p) => p.hasWork);
  }

  get isInitial(): boolean {
    return this.#parts.some((p) => p.isInitial);
  }

  pull(): readonly Uint8Array[] {
    this.#parts.find((p) => p.hasWork)?.pull(this.#packer);
    this.#packer.flush();
    return this.#chunks.splice(0).flatMap(messagesIn);
  }

  close(): void {
    this.#closed(this);
  }

  /** What the station has, to be forgotten in slices. */
  get told(): readonly Chore[] {
    return this.#parts.map((p) => p.told);
  }
}

/** All tables that stations are told now. */
export class TableViews {
  readonly #host: ViewsHost;
  readonly #all = new Set<TableView>();
  /** Those that change with the best route of a prefix, and those that change with any of its routes. */
  readonly #ofBest = new Set<TableView>();
  readonly #ofAny = new Set<TableView>();

  constructor(host: ViewsHost) {
    this.#host = host;
  }

  /**
   * Have a table told from now on, all of it first.
   * @param peer whose; undefined for the Loc-RIB
   * @param wake called when there is something to `pull` after there was nothing
   */
  open(kind: TableKind, peer: Peer | undefined, wake: () => void): TableView {
    const parts = this.#host.ribs.flatMap((rib) => this.#part(kind, peer, rib));
    const view = new TableView(kind, peer, parts, wake, (v) => this.#close(v));
    this.#all.add(view);
    if (kind === 'loc' || kind === 'out_pre') this.#ofBest.add(view);
    if (kind === 'in_post' || kind === 'out_pre') this.#ofAny.add(view);
    return view;
  }

  #close(view: TableView): void {
    if (!this.#all.delete(view)) return;
    this.#ofBest.delete(view);
    this.#ofAny.delete(view);
    for (const told of view.told) this.#host.discard(told);
  }

  /** Some table changes with the best route of a prefix. */
  get caresForBest(): boolean {
    return this.#ofBest.size > 0;
  }

  /** Some table changes with any route of a prefix. */
  get caresForAny(): boolean {
    return this.#ofAny.size > 0;
  }

  bestChanged(rib: Rib, prefix: number): void {
    for (const view of this.#ofBest) view.touch(rib, prefix);
  }

  routesChanged(rib: Rib, prefix: number): void {
    for (const view of this.#ofAny) view.touch(rib, prefix);
  }

  #part(kind: TableKind, peer: Peer | undefined, rib: Rib): Part[] {
    const { attrs, byNumber } = this.#host;
    if (peer === undefined) return [new Part(rib, attrs, false, bestOf(rib, attrs), rib.loc)];
    if (kind === 'in_post') {
      const facts = peer.session.negotiated?.context.families[unicast(rib.family)];
      return facts === undefined
        ? []
        : [new Part(rib, attrs, facts.receivesPathIds, acceptedFrom(peer, rib), everyPrefix(rib))];
    }
    const out = peer.outbound.find((o) => o.rib === rib);
    if (out === undefined) return [];
    const { adjRibOut } = out;
    const hasPathIds = adjRibOut instanceof AdjRibPathsOut;
    if (kind === 'out_pre') return [new Part(rib, attrs, hasPathIds, offeredTo(peer, out, attrs, byNumber), rib.loc)];
    adjRibOut.onTold = (prefix) => {
      for (const view of this.#all) if (view.kind === 'out_post' && view.peer === peer) view.touch(rib, prefix);
    };
    const told: Paths = (prefix) => adjRibOut.told(prefix).map((p) => ({ ...p, pathId: p.pathId ?? 0 }));
    return [new Part(rib, attrs, hasPathIds, told, everyPrefix(rib))];
  }
}

function everyPrefix({ prefixes }: Rib): Pick<LocRib, 'slice'> {
  return {
    slice: (from, budget, visit) => {
      const end = Math.min(prefixes.limit, from + budget);
      for (let id = from; id < end; id++) if (prefixes.isUsed(id)) visit(id);
      return end >= prefixes.limit ? -1 : end;
    },
  };
}

function withHop(a: Attributes, hop: NextHop | undefined, family: Family, attrs: AttrTable): AttrSet {
  return attrs.intern(a, hop ?? NOWHERE[family]);
}

const NO_PATHS: readonly Path[] = Object.freeze([]);

function bestOf({ loc, family }: Rib, attrs: AttrTable): Paths {
  return (prefix) => {
    const a = loc.attrs(prefix);
    if (a === undefined) return NO_PATHS;
    return [{ pathId: 0, attrs: a.nextHop === undefined ? withHop(a, undefined, family, attrs) : a }];
  };
}

function acceptedFrom(peer: Peer, { routes }: Rib): Paths {
  return (prefix) => {
    const paths: Path[] = [];
    for (let r = routes.first(prefix); r >= 0; r = routes.next(r)) {
      if (routes.peerOf[r] !== peer.index || routes.isGone(r)) continue;
      const a = routes.accepted(r);
      if (a !== undefined) paths.push({ pathId: routes.pathIdOf[r]!, attrs: a });
    }
    return paths;
  };
}

/** What export policy would be asked about: of one path per prefix the best one, else all candidates. */
function offeredTo(peer: Peer, out: Outbound, attrs: AttrTable, peers: readonly (Peer | undefined)[]): Paths {
  const { loc, routes, family } = out.rib;
  const candidates: number[] = [];
  const offer = (prefix: number, a: AttrSet, from: number, pathId: number): readonly Path[] => {
    const offered = peer.offered(prefix, out, peers, a, from);
    return offered === undefined ? NO_PATHS : [{ pathId, attrs: withHop(offered, a.nextHop, family, attrs) }];
  };
  if (out.adjRibOut instanceof AdjRibOut) {
    return (prefix) => {
      const a = loc.attrs(prefix);
      return a === undefined ? NO_PATHS : offer(prefix, a, loc.peer(prefix), 0);
    };
  }
  return (prefix) => {
    const some = candidates.slice(0, loc.eligible(prefix, candidates));
    return some.flatMap((r) => offer(prefix, loc.acceptedSet(r), routes.peerOf[r]!, r + 1));
  };
}
