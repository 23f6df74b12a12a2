/**
 * A TCP socket of an app: octets between its end of the pair and the connection, and the pair made to behave like TCP.
 *
 * What the app sees is what its own kernel socket does: FIN from the peer is shutdown(SHUT_WR) of our end, a reset is
 * closing our end with an octet unread (lag-by-one), a connect in progress is a send buffer too small to be writable
 * (the gate). Read first: README.md of this folder. Listening sockets hand over to acceptor.ts.
 */
import { Epoll, Shut, SOCK_STREAM } from '../native/index.ts';
import type { PortBinding } from '../stack/ports.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { FlowKey, TcpOwner } from '../tcp/port.ts';
import type { PeerTerms, TcpSettings } from '../tcp/settings.ts';
import { type AcceptedSocket, Acceptor, isKernelPortFree, type ListeningSocket } from './acceptor.ts';
import type { Call } from './call.ts';
import { FORWARDER_4, FORWARDER_6, type Hub, MAX_SPANS } from './hub.ts';
import { Md5Keys } from './md5-keys.ts';
import { Option, optionKey } from './option-table.ts';
import { OptionStore, putInt } from './options.ts';
import { AF_INET, AF_INET6, AF_UNSPEC, E, IPPROTO_IP, IPPROTO_TCP } from './proto.ts';
import { SockAddr } from './sockaddr.ts';
import { AppSocket } from './socket.ts';
import { writeTcpInfo } from './tcp-info.ts';

export const StreamState = { Fresh: 0, Connecting: 1, Connected: 2, Listening: 3, Closed: 4 } as const;

/** Octets taken from one app per turn, so that it shares the loop with the others. */
const PUMP_BUDGET = 512 * 1024;

/** The most that `Native.takeLag` takes. */
const LAG_READ = 4096;

/** Ports tried until one is free in both lanes. */
const PORT_TRIES = 16;

const EVENTS = Epoll.In | Epoll.Out | Epoll.RdHup | Epoll.EdgeTriggered;

export class StreamSocket extends AppSocket implements TcpOwner<TcpConnection>, ListeningSocket, AcceptedSocket {
  override readonly type = SOCK_STREAM;
  override readonly protocol = IPPROTO_TCP;
  state: number = StreamState.Fresh;
  protected connection: TcpConnection | undefined;
  #acceptor: Acceptor | undefined;
  #binding: PortBinding<TcpListener> | undefined;
  /** Duplicate of the app's end, kept only while the handshake lasts: it would hide the app's close. */
  #gatedFd = -1;
  /** A blocking connect() that waits for its answer. */
  #waitingCall: Call | undefined;
  /** The app has more at once than a page of the send buffer holds. */
  #isBulk = false;
  /** Octets in the gate. */
  #gateLength = 0;
  /** The outcome of a connect that was in progress has been told. */
  #isConnectTold = true;
  /** Our send to the app would block: the connection keeps what arrives. */
  #isBlocked = false;
  /** The app has shut down its sending side; everything it sent is in the pair. */
  #appFinished = false;
  /** The app has closed. */
  #appGone = false;
  /** The app does not read any more (shutdown(SHUT_RD), or gone). */
  #isDiscarding = false;
  /** The peer's FIN waits until the app has been given all octets before it. */
  #peerFinished = false;
  #finSent = false;
  #shutDown = false;
  /** Of TCP_MD5SIG; undefined until the app sets one. */
  #keys: Md5Keys | undefined;

  constructor(hub: Hub, family: number, id: number, pid: number, options = new OptionStore(family, true)) {
    super(hub, family, id, pid, options);
  }

  /** Octets that `Native.gate` put into the pair. */
  set gateLength(n: number) {
    this.#gateLength = n;
  }

  /** Take over the router's end of a new pair. @returns 0 or -errno */
  open(fd: number): number {
    this.fd = fd;
    return this.hub.poller.add(this, fd, EVENTS);
  }

  /** Become the app's side of a connection that a listener accepted. */
  adopt(c: TcpConnection, vrf: number): void {
    this.vrf = vrf;
    this.connection = c;
    this.state = StreamState.Connected;
    this.#nameFrom(c);
  }

  /** A socket for the next connection of this listener; options are inherited, as in Linux. */
  makeAccepted(): StreamSocket {
    const s = new StreamSocket(this.hub, this.family, this.hub.nextId(), this.pid, this.options.clone());
    s.#keys = this.#keys?.clone();
    return s;
  }

  #nameFrom(c: TcpConnection): void {
    this.local.set(this.family, c.l0, c.l1, c.l2, c.l3, c.localPort, c.scope);
    this.remote.set(this.family, c.r0, c.r1, c.r2, c.r3, c.remotePort, c.scope);
  }

  override get isConnected(): boolean {
    return this.state === StreamState.Connected && !this.#shutDown;
  }

  // ---- Requests

  override connect(call: Call, to: SockAddr): number {
    if (to.family === AF_UNSPEC) return this.#disconnect();
    if (this.state === StreamState.Connecting) return -E.EALREADY;
    if (this.state === StreamState.Connected) {
      if (this.#isConnectTold) return -E.EISCONN;
      this.#isConnectTold = true;
      return 0;
    }
    if (this.state === StreamState.Listening) return -E.EISCONN;
    if (this.state === StreamState.Closed) return -(this.takeError() || E.ECONNABORTED);
    if (this.isV6 && to.family === AF_INET) return -E.EAFNOSUPPORT;
    if (this.isV6 && to.isV4 && this.options.number(Option.V6Only) !== 0) return -E.ENETUNREACH;
    if (to.isMulticast) return -E.ENETUNREACH;
    const redirected = this.hub.redirect(to);
    if (!redirected && this.isDirect(to)) return this.goDirect(call);
    const real = redirected ? this.#forwarder() : to;
    if (redirected && this.#ownLink() !== 0) return -E.ENETUNREACH; // the forwarder is behind none of our links
    const link = this.hasLocalAddress && this.local.isLinkLocal ? 0 : this.chooseLink(real);
    if (link < 0) return link;
    const way = this.hub.policy?.hostWayOf(link);
    if (way !== undefined) return this.goByHost(call, link, way, real);
    const failed = this.startConnect(real, link);
    if (failed !== 0) return -failed;
    this.remote.copy(to);
    this.remote.family = this.family;
    this.markConnecting();
    this.#gatedFd = call.takeFd();
    this.#isConnectTold = call.args[0] === 0;
    if (call.args[0] !== 0) return -E.EINPROGRESS;
    // A blocking connect() waits for this answer, so that signals and SO_SNDTIMEO can end the wait.
    call.isDeferred = true;
    this.#waitingCall = call;
    return 0;
  }

  /** A port that was claimed already belongs to the VRF it was claimed in. */
  protected override enterVrf(vrf: number): boolean {
    if (this.#binding !== undefined) return false;
    this.vrf = vrf;
    return true;
  }

  protected markConnecting(): void {
    this.state = StreamState.Connecting;
  }

  /** connect() with AF_UNSPEC: the connection is reset; the shim makes a new pair for the next one. */
  #disconnect(): number {
    if (this.state === StreamState.Fresh) return 0;
    if (this.state === StreamState.Listening) this.#stopListening();
    this.connection?.abort();
    this.connection = undefined;
    this.#tellWaiting(-E.ECONNABORTED);
    this.#closePair();
    return 0;
  }

  #tellWaiting(result: number): void {
    const call = this.#waitingCall;
    if (call === undefined) return;
    this.#waitingCall = undefined;
    call.begin();
    call.send(result);
    call.end();
  }

  #forwarder(): SockAddr {
    return this.isV6 && this.options.number(Option.V6Only) !== 0 ? FORWARDER_6 : FORWARDER_4;
  }

  /** The link that the app has chosen itself, 0 = none: its device, or that of a link-local source. */
  #ownLink(): number {
    if (this.device !== 0) return this.device;
    return this.hasLocalAddress && this.local.isLinkLocal ? this.local.scope : 0;
  }

  /** Send the SYN. @param link that rules chose, 0 = none @returns 0 or an errno (positive) */
  protected startConnect(to: SockAddr, link: number): number {
    const { hub } = this;
    const scope = to.isLinkLocal ? to.scope || this.local.scope || this.device : 0;
    const local = this.hasLocalAddress ? this.local : undefined;
    this.chosenLink = link;
    const device = this.#ownLink() || link;
    const failed = hub.routeFlow(this.vrf, to, scope, device, local, hub.flow);
    if (failed !== 0) return failed;
    const isFresh = this.#binding === undefined;
    this.#binding ??= this.makeBinding<TcpListener>();
    const key = this.#keys?.find(hub.flow);
    const settings = this.settings();
    const c = hub.openFlow(hub.flow, this.#binding, this, key === undefined ? settings : { ...settings, key });
    if (typeof c === 'number') {
      if (isFresh) this.#unbind();
      return c;
    }
    this.connection = c;
    this.local.set(this.family, c.l0, c.l1, c.l2, c.l3, c.localPort, c.scope);
    return 0;
  }

  override bind(call: Call, at: SockAddr): number {
    if (this.state !== StreamState.Fresh) return -E.EINVAL;
    if (!this.hub.hasLoopback && at.family !== AF_UNSPEC && at.isLoopback) return this.goDirect(call);
    const byHost = this.bindByHost(call, at);
    if (byHost !== undefined) return byHost;
    const claim = this.#claimPort(at);
    if (typeof claim === 'number') return -claim;
    this.#binding = claim;
    return 0;
  }

  /** Claim `at`; a port that is ours to choose for a wildcard address is one that is free on the host's loopback as well. */
  #claimPort(at: SockAddr): PortBinding<TcpListener> | number {
    const { hub } = this;
    const ports = hub.stack.tcpPorts;
    const mustProbe = at.port === 0 && at.isWildcard && !hub.hasLoopback;
    for (let tries = mustProbe ? PORT_TRIES : 1; ; tries--) {
      const claim = this.claim(at, ports);
      if (typeof claim === 'number' || !mustProbe || tries === 1) return claim;
      const isDual = this.isV6 && this.options.number(Option.V6Only) === 0;
      const isFree4 = (this.isV6 && !isDual) || isKernelPortFree(hub, this.isV6, true, claim.port);
      if (isFree4 && (!this.isV6 || isKernelPortFree(hub, true, false, claim.port))) return claim;
      ports.release(claim);
      this.local.set(this.family, 0, 0, this.isV6 ? 0 : 0xffff, 0, 0, 0);
    }
  }

  override listen(_call: Call, backlog: number): number {
    if (this.state === StreamState.Listening) {
      this.#acceptor!.setBacklog(backlog);
      return 0;
    }
    if (this.state !== StreamState.Fresh) return -E.EINVAL;
    if (this.#binding === undefined) {
      const any = new SockAddr().copy(this.local);
      const claim = this.#claimPort(any);
      if (typeof claim === 'number') return -claim;
      this.#binding = claim;
    }
    const taken = this.hub.stack.tcpPorts.listen(this.#binding);
    if (taken !== 0) return -taken;
    this.#acceptor = new Acceptor(this, this.#binding, backlog);
    this.state = StreamState.Listening;
    return 0;
  }

  override shutdown(how: number): number {
    if (how < Shut.Rd || how > Shut.RdWr) return -E.EINVAL;
    if (this.state === StreamState.Listening) {
      if (how === Shut.Wr) return 0;
      this.#stopListening();
      return 0;
    }
    if (this.state !== StreamState.Connected || this.connection === undefined) return -E.ENOTCONN;
    // The shim shuts the pair down after this answer; the event that follows carries the FIN behind the data.
    if (how !== Shut.Wr) this.connection.shutdownRead();
    this.#shutDown = how === Shut.RdWr;
    return 0;
  }

  // ---- Options

  /** What the connection is made with. */
  settings(): TcpSettings {
    const o = this.options;
    return {
      noDelay: o.number(Option.NoDelay) !== 0,
      keepAlive: o.number(Option.KeepAlive) !== 0,
      keepIdleMs: o.number(Option.KeepIdle) * 1000,
      keepIntervalMs: o.number(Option.KeepInterval) * 1000,
      keepCount: o.number(Option.KeepCount),
      userTimeoutMs: o.number(Option.UserTimeout),
      maxSegment: o.number(Option.MaxSeg),
      tos: this.#tos(),
      ttl: this.#ttl(),
      minTtl: this.#minTtl(),
      synRetries: o.number(Option.SynCount),
      ...(o.isSet(Option.RcvBuf) ? { receiveBufferMax: o.number(Option.RcvBuf) } : {}),
      ...(o.isSet(Option.SndBuf) ? { sendBufferMax: o.number(Option.SndBuf) } : {}),
    };
  }

  #tos(): number {
    const isV6Flow = this.isV6 && !this.remote.isV4;
    return this.options.number(isV6Flow ? Option.V6TrafficClass : Option.IpTos);
  }

  #ttl(): number {
    const isV6Flow = this.isV6 && !this.remote.isV4;
    return this.options.number(isV6Flow ? Option.V6UnicastHops : Option.IpTtl);
  }

  #minTtl(): number {
    const isV6Flow = this.isV6 && !this.remote.isV4;
    return this.options.number(isV6Flow ? Option.V6MinHopCount : Option.IpMinTtl);
  }

  /** TCP_MD5SIG is no plain value: each call adds or removes the key of one remote. Connections that stand keep theirs. */
  override setOption(level: number, name: number, at: number, length: number): number {
    const key = optionKey(level, name);
    if (level !== IPPROTO_TCP || (key !== Option.Md5Sig && key !== Option.Md5SigExt))
      return super.setOption(level, name, at, length);
    this.#keys ??= new Md5Keys();
    const isExtended = key === Option.Md5SigExt;
    const failed = this.#keys.set(this.isV6 ? AF_INET6 : AF_INET, isExtended, this.hub.world.u8, at, length);
    return -failed;
  }

  /** What a listener asks of a remote. */
  termsFor(flow: FlowKey): PeerTerms | undefined {
    const key = this.#keys?.find(flow);
    const minTtl = this.#minTtl();
    return key === undefined && minTtl === 0 ? undefined : { ...(key !== undefined && { key }), minTtl };
  }

  protected override optionChanged(key: number): void {
    const c = this.connection;
    if ((key === Option.BindToDevice || key === Option.BindToIfIndex) && !this.local.isLinkLocal) {
      if (this.#binding !== undefined) this.#binding.device = this.device;
      c?.setDevice(this.device);
    }
    if (c === undefined) return;
    const o = this.options;
    switch (key) {
      case Option.IpMinTtl:
      case Option.V6MinHopCount:
        c.minTtl = this.#minTtl();
        break;
      case Option.NoDelay:
        c.setNoDelay(o.number(key) !== 0);
        break;
      case Option.Cork:
        c.setCork(o.number(key) !== 0);
        break;
      case Option.QuickAck:
        c.quickAck = o.number(key) !== 0;
        break;
      case Option.KeepAlive:
        c.setKeepAlive(o.number(key) !== 0);
        break;
      case Option.KeepIdle:
      case Option.KeepInterval:
      case Option.KeepCount:
        c.setKeepAliveTimes(
          o.number(Option.KeepIdle) * 1000,
          o.number(Option.KeepInterval) * 1000,
          o.number(Option.KeepCount),
        );
        break;
      case Option.UserTimeout:
        c.userTimeoutMs = o.number(key);
        break;
      case Option.MaxSeg:
        c.setMaxSegment(o.number(key));
        break;
      case Option.IpTos:
      case Option.V6TrafficClass:
        c.tos = this.#tos();
        break;
      case Option.IpTtl:
      case Option.V6UnicastHops:
        c.ttl = this.#ttl();
        break;
      default:
    }
  }

  protected override liveOption(key: number, at: number, room: number): number | undefined {
    const u8 = this.hub.world.u8;
    const c = this.connection;
    switch (key) {
      case Option.AcceptConn:
        return putInt(u8, at, room, this.state === StreamState.Listening ? 1 : 0, false);
      case Option.TcpInfo:
        return writeTcpInfo(this.hub.world, at, room, c, this.state === StreamState.Listening);
      case Option.MaxSeg:
        if (c === undefined) return putInt(u8, at, room, this.options.number(key) || 536, false);
        return putInt(u8, at, room, c.sndMss, false);
      case Option.IpMtu:
      case Option.V6Mtu:
        return c === undefined ? -E.ENOTCONN : putInt(u8, at, room, c.pathMtu, key >> 16 === IPPROTO_IP);
      default:
        return undefined;
    }
  }

  protected override get unsent(): number {
    if (this.connection === undefined) return 0;
    return (
      this.connection.unacknowledged + Math.max(0, this.hub.native.queued(this.fd, 0) - Math.max(1, this.#gateLength))
    );
  }

  // ---- Events of the pair

  override onEvents(events: number): void {
    const isGone = (events & Epoll.Hup) !== 0;
    if (this.state === StreamState.Listening) {
      if (isGone) this.release();
      else if ((events & Epoll.Out) !== 0) this.#acceptor!.roomAgain();
      return;
    }
    const c = this.connection;
    if (this.state !== StreamState.Connected || c === undefined) {
      // Fresh or finished: only the app's close matters. (While connecting our duplicate keeps its end open.)
      if (isGone) this.release();
      return;
    }
    if ((events & Epoll.Err) !== 0 && isGone) {
      // The app closed without reading everything: a reset, as TCP's (RFC 2525 §2.17).
      c.abort();
      this.connection = undefined;
      this.release();
      return;
    }
    if ((events & Epoll.RdHup) !== 0) this.#appFinished = true;
    if (isGone) {
      this.#appGone = true;
      this.#isDiscarding = true;
    }
    if ((events & (Epoll.In | Epoll.RdHup | Epoll.Hup)) !== 0) this.#pump(c);
    if ((events & Epoll.Out) !== 0 && this.#isBlocked) {
      this.#isBlocked = false;
      this.connection?.pull();
      this.#passFin();
    }
  }

  override onReady(): void {
    if (this.state === StreamState.Listening) {
      this.#acceptor!.handOver();
      return;
    }
    if (this.connection !== undefined) this.#pump(this.connection);
  }

  /** App -> connection, as far as its send buffer has room. */
  #pump(c: TcpConnection): void {
    const { native } = this.hub;
    if (this.#finSent) {
      if (this.#appGone) this.#letGo(c);
      return;
    }
    if (this.#gateLength > 1) {
      // The gate's last octet stays as the first lag octet.
      const w = this.hub.spansAt >> 2;
      this.hub.world.i32[w] = this.hub.sinkAt;
      this.hub.world.i32[w + 1] = this.#gateLength - 1;
      native.recvLag(this.fd, this.hub.spansAt, 1);
      this.#gateLength = 1;
    }
    let taken = 0;
    for (;;) {
      const spans = c.sendSpans(this.hub.spansAt, this.#isBulk ? MAX_SPANS : 1);
      if (spans === 0) {
        if (c.isWritable) return; // sendSpace comes
        break;
      }
      const n = native.recvLag(this.fd, this.hub.spansAt, spans);
      if (n <= 0) break;
      c.commitSend(n);
      this.hub.counters.octetsFromApps += n;
      // Room that was not filled took everything there was; what comes later makes an event of its own.
      this.#isBulk = n === c.spanRoom;
      if (!this.#isBulk) break;
      taken += n;
      if (taken >= PUMP_BUDGET) {
        this.hub.poller.ready(this);
        return;
      }
    }
    if (!this.#appFinished) return;
    this.#finSent = true;
    if (this.#appGone) this.#letGo(c);
    else c.shutdownWrite();
  }

  /** The app has closed and everything it sent has been taken over. */
  #letGo(c: TcpConnection): void {
    const linger = this.options.bytes(Option.Linger);
    const isHard = linger !== undefined && linger[0] !== 0 && (linger[4]! | linger[5]! | linger[6]! | linger[7]!) === 0;
    this.connection = undefined;
    if (isHard) c.abort();
    else c.close();
    this.release();
  }

  // ---- Calls of the connection

  established(c: TcpConnection): void {
    this.state = StreamState.Connected;
    this.local.set(this.family, c.l0, c.l1, c.l2, c.l3, c.localPort, c.scope);
    this.opened();
  }

  /** The handshake is complete: open the gate, in one step. (To take its octets out would make writable as well.) */
  protected opened(): void {
    const { native } = this.hub;
    if (this.#gatedFd >= 0) {
      native.ungate(this.#gatedFd);
      native.close(this.#gatedFd);
      this.#gatedFd = -1;
    }
    this.#tellWaiting(0);
  }

  deliver(c: TcpConnection, at: number, length: number): number {
    if (this.#isDiscarding) {
      // Octets for an app that has closed: Linux resets. Not from here, the connection may not be re-entered.
      if (this.#appGone) this.hub.abortLater(c);
      return length;
    }
    if (this.#isBlocked) return 0;
    const n = this.hub.native.send(this.fd, at, length);
    if (n === length) {
      this.hub.counters.octetsToApps += n;
      return n;
    }
    if (n >= 0) {
      this.hub.counters.octetsToApps += n;
      this.#isBlocked = true;
      return n;
    }
    if (n === -E.EAGAIN || n === -E.ENOBUFS || n === -E.ENOMEM) {
      this.#isBlocked = true;
      return 0;
    }
    // EPIPE: the app reads no more (shutdown(SHUT_RD)), or has just closed and the event is on its way.
    this.#isDiscarding = true;
    return length;
  }

  peerFinished(): void {
    this.#peerFinished = true;
    this.#passFin();
  }

  #passFin(): void {
    if (!this.#peerFinished || this.#isBlocked || this.fd < 0) return;
    this.hub.native.shutdown(this.fd, Shut.Wr);
  }

  sendSpace(): void {
    this.hub.poller.ready(this);
  }

  closed(_c: TcpConnection, errno: number): void {
    this.connection = undefined;
    if (this.state === StreamState.Connecting) {
      this.failed(errno === 0 ? E.ECONNABORTED : errno);
      return;
    }
    if (errno !== 0) {
      this.pendingError = errno;
      this.hub.counters.resetsToApps++;
      this.#closePair();
      return;
    }
    // Both directions have ended, and so will the pair: with both shut down, the event is the same as the app's close.
    this.#passFin();
  }

  /** The connect failed: closing our end with the gate unread is the app's event, the errno waits for SO_ERROR. */
  protected failed(errno: number): void {
    this.pendingError = errno;
    this.#closePair();
    if (this.#waitingCall !== undefined) this.#tellWaiting(-this.takeError());
  }

  /** End the pair as it is: with octets unread in it, the app gets ECONNRESET. The record stays for a while. */
  #closePair(isClean = false): void {
    const { native, poller } = this.hub;
    if (this.#gatedFd >= 0) native.close(this.#gatedFd);
    this.#gatedFd = -1;
    if (this.fd >= 0) {
      // A full read may have left more; one that was not full took everything.
      if (isClean) while (native.takeLag(this.fd) === LAG_READ);
      poller.remove(this, this.fd);
      native.close(this.fd);
    }
    this.fd = -1;
    this.state = StreamState.Closed;
    this.#unbind();
    this.hub.bury(this);
  }

  #unbind(): void {
    if (this.#binding !== undefined && this.#binding.port !== 0) this.hub.stack.tcpPorts.release(this.#binding);
    this.#binding = undefined;
  }

  #stopListening(): void {
    this.#acceptor?.close();
    this.#acceptor = undefined;
    this.state = StreamState.Fresh;
    this.#unbind();
  }

  override release(): void {
    if (this.state === StreamState.Listening) this.#stopListening();
    this.connection?.abort();
    this.connection = undefined;
    this.#tellWaiting(-E.ECONNABORTED);
    this.#closePair(true);
  }

  /** As SOCK_DESTROY has it: ECONNABORTED. */
  override abandon(): void {
    this.connection?.finish(E.ECONNABORTED);
  }

  override reset(): void {
    if (this.state === StreamState.Listening) this.#stopListening();
    this.connection?.abort();
    this.connection = undefined;
    this.#tellWaiting(-E.ENETDOWN);
    this.#closePair();
  }
}
