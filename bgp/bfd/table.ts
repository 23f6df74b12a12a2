/**
 * BFD's state machine (RFC 5880 §6.2 and §6.8.6) as a total table: the state of our session times what happens. The types
 * make tsc refuse an empty cell.
 */
import type { BfdState } from './packet.ts';
import { Diag } from './packet.ts';

/** What can happen: the state a packet tells, the detection time, the administrator. */
export type BfdEvent = 'AdminDown' | 'Down' | 'Init' | 'Up' | 'expired' | 'disable' | 'enable';

export interface BfdStep {
  readonly next: BfdState;
  /** The diagnostic told from now on; undefined leaves it. */
  readonly diag?: number;
}

const stay = (next: BfdState): BfdStep => ({ next });
const NEIGHBOR_DOWN: BfdStep = { next: 'Down', diag: Diag.NeighborDown };
const EXPIRED: BfdStep = { next: 'Down', diag: Diag.DetectionExpired };
const DISABLED: BfdStep = { next: 'AdminDown', diag: Diag.AdminDown };
/** A session that stands is not told why the last one ended. */
const RISEN: BfdStep = { next: 'Up', diag: Diag.None };

export const TABLE: Readonly<Record<BfdState, Readonly<Record<BfdEvent, BfdStep>>>> = {
  // "If bfd.SessionState is AdminDown, discard the packet."
  AdminDown: {
    AdminDown: stay('AdminDown'),
    Down: stay('AdminDown'),
    Init: stay('AdminDown'),
    Up: stay('AdminDown'),
    expired: stay('AdminDown'),
    disable: stay('AdminDown'),
    enable: { next: 'Down', diag: Diag.None },
  },
  Down: {
    AdminDown: stay('Down'),
    Down: stay('Init'),
    Init: RISEN,
    Up: stay('Down'),
    expired: stay('Down'),
    disable: DISABLED,
    enable: stay('Down'),
  },
  Init: {
    AdminDown: NEIGHBOR_DOWN,
    Down: stay('Init'),
    Init: RISEN,
    Up: RISEN,
    expired: EXPIRED,
    disable: DISABLED,
    enable: stay('Init'),
  },
  Up: {
    AdminDown: NEIGHBOR_DOWN,
    Down: NEIGHBOR_DOWN,
    Init: stay('Up'),
    Up: stay('Up'),
    expired: EXPIRED,
    disable: DISABLED,
    enable: stay('Up'),
  },
};
