/** What a station is told of a table, whoever has it: the speaker (views.ts) or the VPN room (bgp/vpn/vpn-views.ts). */

/** Adj-RIB-In after import policy; Adj-RIB-Out before and after export policy; the best routes. */
export type TableKind = 'in_post' | 'out_pre' | 'out_post' | 'loc';

/** A table of a station. */
export interface ToldTable {
  readonly kind: TableKind;
  /** Something is left for `pull`. */
  readonly hasWork: boolean;
  /** The station does not have all of it yet. */
  readonly isInitial: boolean;
  /** What is to be told next, as whole UPDATE messages; End-of-RIB of each family follows its first complete telling. */
  pull(): readonly Uint8Array[];
  /** Nobody is told any more. */
  close(): void;
}
