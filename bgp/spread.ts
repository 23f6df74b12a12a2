/**
 * What becomes of decisions: prefixes that wait are decided, the sink is given the ways that changed, and the peers are told
 * the routes that did. Each call does as much as a turn allows; bgp/speaker.ts says when.
 * Read first: RFC 4271 §9.1 and §9.2, bgp/rib/loc-rib.ts.
 */

import type { Clock } from '../router/lib/clock.ts';
import { Pace } from '../router/lib/pace.ts';
import type { TableViews } from './monitor/views.ts';
import type { Origination } from './origination.ts';
import type { Outbound, Peer } from './peer.ts';
import type { RouteSink } from './ports.ts';
import { AdjRibOut } from './rib/adj-rib-out.ts';
import { RouteColumns } from './rib/batch.ts';
import type { OnChange } from './rib/loc-rib.ts';
import type { Rib } from './rib/rib.ts';
import type { WayTable } from './rib/ways.ts';
import { Rota } from './rota.ts';

/** Prefixes decided in one turn, also where time does not pass (tests). */
const DECISION_BUDGET = 8192;
/** Prefixes decided and installed before the clock is looked at, at most. */
const DECISION_STEP = 1024;
/** Prefixes told to a peer at a time: what is told together is packed together. */
const EXPORT_BUDGET = 512;
export interface SpreadHost {
  readonly clock: Clock;
  readonly ribs: readonly Rib[];
  readonly ways: WayTable;
  /** Number of the VRF in the sink's batches. */
  readonly vrf: number;
  readonly sink: RouteSink;
  readonly own: Origination;
  /** Peers by number, and those there are now. */
  readonly byNumber: readonly (Peer | undefined)[];
  readonly peers: Iterable<Peer>;
  /** Tables that stations are told. */
  readonly views: TableViews;
  /** Send what a peer's session has to say. */
  pump(peer: Peer): void;
}

export class Spread {
  readonly #host: SpreadHost;
  readonly #batches: ReadonlyMap<Rib, RouteColumns>;
  readonly #telling = new Rota<Peer>();
  readonly #decisionPace = new Pace(DECISION_STEP);
  readonly #exportPace = new Pace(EXPORT_BUDGET, false);

  constructor(host: SpreadHost) {
    this.#host = host;
    const { ribs, ways, vrf } = host;
    this.#batches = new Map(ribs.map((r) => [r, new RouteColumns(vrf, r.prefixes, ways, DECISION_STEP)]));
  }

  /** Prefixes wait for a decision. */
  get isPending(): boolean {
    return this.#host.ribs.some((rib) => rib.loc.pending > 0);
  }

  /** Decide, forward, tell. */
  step(isTimeUp: () => boolean): void {
    for (const [rib, batch] of this.#batches) if (rib.loc.pending > 0) this.#decide(rib, batch, isTimeUp);
    const waiting = [...this.#host.peers].filter((peer) => peer.hasWork);
    const tellOne = (peer: Peer): void => {
      const { clock, byNumber } = this.#host;
      const began = clock.now();
      peer.pull(this.#exportPace.count, byNumber);
      // Where nothing is left there was less to tell than that.
      if (peer.hasWork) this.#exportPace.took(clock.now() - began);
      this.#host.pump(peer);
    };
    this.#telling.turn(waiting, tellOne, isTimeUp);
  }

  #decide(rib: Rib, batch: RouteColumns, isTimeUp: () => boolean): void {
    const { clock, own, peers, views } = this.#host;
    const pace = this.#decisionPace;
    const outs = [...peers].flatMap((peer) => peer.outbound.filter((o) => o.rib === rib && !peer.isSilent(o)));
    const isPlain = (o: Outbound): boolean => o.adjRibOut instanceof AdjRibOut;
    const [plain, several] = [outs.filter(isPlain), outs.filter((o) => !isPlain(o))];
    const { caresForBest, caresForAny } = views;
    const tell = (id: number): void => {
      for (const out of plain) out.adjRibOut.touch(id);
      if (caresForBest) views.bestChanged(rib, id);
    };
    // Peers that are told several paths, and some stations, care for changes of any of them.
    const tellPaths = (id: number): void => {
      for (const out of several) out.adjRibOut.touch(id);
      if (caresForAny) views.routesChanged(rib, id);
    };
    const onChange: OnChange = (id, routeChanged, wayChanged) => {
      if (wayChanged) batch.add(id, rib.loc.wayNumber(id));
      if (!routeChanged) return;
      tell(id);
      for (const hidden of own.bestChanged(rib, id)) {
        tell(hidden);
        tellPaths(hidden);
      }
    };
    for (let n = 0; n < DECISION_BUDGET && rib.loc.pending > 0; n += pace.count) {
      const began = clock.now();
      rib.loc.process(pace.count, onChange, several.length === 0 && !caresForAny ? undefined : tellPaths);
      // The sink's time is part of the turn.
      this.#install(batch);
      pace.took(clock.now() - began);
      if (isTimeUp()) break;
    }
  }

  #install(batch: RouteColumns): void {
    if (batch.count === 0) return;
    this.#host.sink.apply(batch);
    batch.clear();
  }
}
