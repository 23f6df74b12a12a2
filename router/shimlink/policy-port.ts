/** What decides over new flows of apps before the routing table does; router/app puts it in. */
import type { SockAddr } from './sockaddr.ts';

export interface PolicyPort {
  /** The link of the last choice; 0 = the routing table of `vrf` decides. */
  readonly link: number;
  readonly vrf: number;
  /**
   * Choose the way of a flow that is about to begin.
   * @param socket id, which stands for a port that is not chosen yet
   * @param from the address the app bound, undefined = none
   * @returns 0 or an errno (positive): the flow may not begin
   */
  choose(pid: number, socket: number, protocol: number, to: SockAddr, from: SockAddr | undefined): number;
  /** Whether a link that was chosen can still be used. */
  isUsable(link: number): boolean;
  /** Changes when choices of before no longer hold. */
  readonly generation: number;
}
