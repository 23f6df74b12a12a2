/** What decides over new flows of apps before the routing table does; router/app puts it in. */
import type { HostWay } from '../lib/host-way.ts';
import type { SockAddr } from './sockaddr.ts';

export interface PolicyPort {
  /** The link of the last choice; 0 = the routing table of `vrf` decides. */
  readonly link: number;
  readonly vrf: number;
  /**
   * Choose the way of a flow that is about to begin.
   * @param socket id, which stands for a port that is not chosen yet
   * @param from the address the app bound, undefined = none
   * @param kept the link that the flow had under earlier rules, 0 = none: it stays there where it may
   * @returns 0 or an errno (positive): the flow may not begin
   */
  choose(pid: number, socket: number, protocol: number, to: SockAddr, from: SockAddr | undefined, kept: number): number;
  /**
   * The way that a flow of the process to a name would take, in `link`. Takes nobody's turn.
   * @param name empty = not known; protocol and port undefined = not known yet
   * @returns 0 or an errno (positive): no uplink of the rule can be used, and no other network may hear the name
   */
  chooseForName(pid: number, name: string, protocol: number | undefined, port: number | undefined): number;
  /** Rules name domains: answers that apps get are of use. */
  readonly hasDomains: boolean;
  /** Families that the host's addresses on its uplinks have now. */
  readonly hostFamilies: ReadonlySet<4 | 6>;
  /** An address of the host where it has uplinks: no way out leads there. */
  isHostOwn(address: SockAddr): boolean;
  /** The host uplink over this interface, or with this address of the host, 0 = none: an app that binds it has chosen it. */
  hostLinkOfDevice(name: string): number;
  hostLinkOfAddress(address: SockAddr): number;
  /** What a link is when it is no link of the stack's but a way through the host's network. */
  hostWayOf(link: number): HostWay | undefined;
  /** A kernel socket of the app's, named by /proc with `inode`, leaves by a host uplink from now on. */
  hostFlowBegan(link: number, pid: number, inode: number): void;
  /** Whether a process is to let the router reach into it, because its flows could not be ended else: true once per process. */
  isToAdmitUs(pid: number): boolean;
  /** Whether flows that were sent by a link still get through; drained ones do. */
  carries(link: number): boolean;
  /** Changes when choices of before no longer hold. */
  readonly generation: number;
}
