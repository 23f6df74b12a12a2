/**
 * A UDP endpoint as its owner holds it: names, options, and Linux's rules for bind, connect and disconnect. The octets
 * are moved by `UdpLayer`.
 */
import { DEFAULT_TTL } from './core.ts';
import { isLinkLocal6 } from './links.ts';
import { type DatagramOwner, type DatagramSpec, Errno } from './port.ts';
import { PortBinding } from './ports.ts';
import type { UdpLayer } from './udp.ts';

/** IP_MTU_DISCOVER and IPV6_MTU_DISCOVER, with Linux's numbers. */
export const PathMtuMode = {
  /** Never set DF; datagrams are fragmented on the way. */
  Dont: 0,
  /** Set DF on what fits, fragment here what does not (Linux's default for UDP). */
  Want: 1,
  /** Always DF: EMSGSIZE for what does not fit. */
  Do: 2,
  /** As Do, but only the link's own MTU counts. */
  Probe: 3,
} as const;

const NOT_MOVED = -2;

export class UdpEndpoint {
  readonly vrf: number;
  readonly family: 4 | 6;
  readonly owner: DatagramOwner<UdpEndpoint>;
  /** Names, device, v6only, reuseAddr, reusePort, uid: options are set here before `bind`. */
  readonly binding: PortBinding<UdpEndpoint>;
  /** Link index of a link-local peer, else 0. */
  scope = 0;
  ttl = DEFAULT_TTL;
  tos = 0;
  /** A PathMtuMode value. */
  pathMtuMode: number = PathMtuMode.Want;
  /** IP_RECVERR, IPV6_RECVERR: unconnected endpoints and soft errors are reported as well. */
  reportsAllErrors = false;
  isClosed = false;
  /** The app chose them: they outlive a disconnect. */
  #ownsAddress = false;
  #ownsPort = false;
  /** The binding's device before a link-local peer chose the link, or NOT_MOVED. */
  #deviceBefore = NOT_MOVED;
  readonly #layer: UdpLayer;

  constructor(layer: UdpLayer, vrf: number, family: 4 | 6, owner: DatagramOwner<UdpEndpoint>) {
    this.#layer = layer;
    this.vrf = vrf;
    this.family = family;
    this.owner = owner;
    this.binding = new PortBinding<UdpEndpoint>(vrf, family);
    this.binding.receiver = this;
  }

  get isConnected(): boolean {
    return this.binding.isConnected;
  }

  /** errno for sending to a peer of the given family, 0 when possible. */
  familyFault(isV4: boolean): number {
    if (this.family === 4) return isV4 ? 0 : Errno.EAFNOSUPPORT;
    return isV4 && this.binding.v6only ? Errno.ENETUNREACH : 0;
  }

  /**
   * Bind to an address (wildcard: as PortBinding) and port (0 = choose).
   * @param scope link index for link-local addresses
   * @returns 0 or errno
   */
  bind(l0: number, l1: number, l2: number, l3: number, scope: number, port: number): number {
    const b = this.binding;
    if (b.port !== 0) return Errno.EINVAL;
    const isV4 = l0 === 0 && l1 === 0 && l2 === 0xffff;
    if (this.family === 4 ? !isV4 : isV4 && b.v6only) return this.family === 4 ? Errno.EAFNOSUPPORT : Errno.EINVAL;
    const fault = this.#layer.checkLocal(this.vrf, scope, l0, l1, l2, l3);
    if (fault !== 0) return fault;
    if (isLinkLocal6(l0)) {
      if (b.device !== 0 && b.device !== scope) return Errno.EINVAL;
      b.device = scope;
    }
    b.setLocal(l0, l1, l2, l3);
    const busy = this.#layer.ports.bind(b, port);
    if (busy !== 0) {
      this.#clearLocal();
      return busy;
    }
    this.#ownsAddress = !b.isWildcard;
    this.#ownsPort = port !== 0;
    return 0;
  }

  /** Set the peer: datagrams of others no longer match, errors are reported. @returns 0 or errno */
  connect(r0: number, r1: number, r2: number, r3: number, scope: number, port: number): number {
    const b = this.binding;
    let last = r3;
    if (r3 === 0 && r1 === 0 && r0 === 0 && (r2 === 0 || r2 === 0xffff)) last = r2 === 0 ? 1 : 0x7f000001;
    const isV4 = r0 === 0 && r1 === 0 && r2 === 0xffff;
    const familyFault = this.familyFault(isV4);
    if (familyFault !== 0) return familyFault;
    if (isLinkLocal6(r0) && (scope === 0 ? b.device === 0 : b.device !== 0 && b.device !== scope)) return Errno.EINVAL;
    if (!b.isWildcard && b.isV4 !== isV4) return Errno.ENETUNREACH;
    if (b.isConnected) this.disconnect();
    const fault = this.#layer.prepareConnect(this, r0, r1, r2, last, scope);
    if (fault !== 0) return fault;
    if (b.port === 0) {
      const busy = this.#layer.ports.bind(b, 0);
      if (busy !== 0) return Errno.EAGAIN;
    }
    if (b.isWildcard) {
      const s = this.#layer.source;
      b.setLocal(s.s0, s.s1, s.s2, s.s3);
    }
    this.scope = scope !== 0 ? scope : isLinkLocal6(r0) ? b.device : 0;
    if (isLinkLocal6(r0)) {
      // The same address on another link is somebody else: as Linux, keep to this link.
      this.#deviceBefore = b.device;
      b.device = this.scope;
    }
    b.r0 = r0;
    b.r1 = r1;
    b.r2 = r2;
    b.r3 = last;
    b.remotePort = port;
    b.isConnected = true;
    this.#layer.connected(this);
    return 0;
  }

  /** Use only this link from now on, 0 = any. A link-local name of ours or of the peer has chosen the link already. */
  setDevice(link: number): void {
    if (this.#deviceBefore !== NOT_MOVED) this.#deviceBefore = link;
    else if (!isLinkLocal6(this.binding.l0)) this.binding.device = link;
  }

  /** connect() with AF_UNSPEC: forget the peer, and every name the app did not choose. */
  disconnect(): void {
    const b = this.binding;
    if (!b.isConnected) return;
    this.#layer.disconnected(this);
    b.isConnected = false;
    this.scope = 0;
    if (this.#deviceBefore !== NOT_MOVED) b.device = this.#deviceBefore;
    this.#deviceBefore = NOT_MOVED;
    if (!this.#ownsAddress) this.#clearLocal();
    if (!this.#ownsPort && !this.#ownsAddress) {
      this.#layer.ports.release(b);
      b.receiver = this; // for the next claim
      b.port = 0;
    }
  }

  /** Send `length` octets at world offset `at`. @returns 0 or errno */
  send(spec: DatagramSpec, at: number, length: number): number {
    return this.#layer.send(this, spec, at, length);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#layer.disconnected(this);
    if (this.binding.port !== 0) this.#layer.ports.release(this.binding);
  }

  #clearLocal(): void {
    this.binding.setLocal(0, 0, this.family === 4 ? 0xffff : 0, 0);
  }
}
