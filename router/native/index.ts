/**
 * The typed face of the native addon; the only file that loads it. The addon does only what JavaScript cannot: memory
 * maps, eventfds, epoll, descriptor passing, and socket I/O in batches straight from and to the World.
 * Every function returns a value >= 0 or -errno and never throws; offsets are world offsets (`at`).
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { MlshimError } from '../lib/errors.ts';

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
/** A flag in a socket's type. */
export const SOCK_NONBLOCK = 0x800;

export const AF_INET = 2;
export const AF_INET6 = 10;

/** Levels and names of options, see ip(7) and ipv6(7). */
export const SockOpt = {
  Ip: 0,
  IpTos: 1,
  IpTtl: 2,
  IpMinTtl: 21,
  IpMtuDiscover: 10,
  IpMtu: 14,
  Ipv6: 41,
  Ipv6UnicastHops: 16,
  Ipv6Only: 26,
  Ipv6Tclass: 67,
  Ipv6MtuDiscover: 23,
  Ipv6Mtu: 24,
  Ipv6MinHopCount: 73,
} as const;

/** Bits of epoll(7). */
export const Epoll = {
  In: 0x001,
  Out: 0x004,
  Err: 0x008,
  Hup: 0x010,
  RdHup: 0x2000,
  /** Edge-triggered; bit 31, so the value is a negative int32. */
  EdgeTriggered: 1 << 31,
} as const;

/** Arguments of shutdown(2). */
export const Shut = { Rd: 0, Wr: 1, RdWr: 2 } as const;

/** Number of (tag, events) pairs one `poll` can return. */
export const MAX_POLL_EVENTS = 256;

export interface Native {
  /** Name the memory that offsets refer to, once per thread; the array must cover the whole World. */
  attachWorld(u8: Uint8Array): void;
  /** Calls of this thread so far (of the functions with int32 arguments). */
  callCount(): number;

  /** A close-on-exec memfd of `bytes` octets, sealed against resizing. */
  memfdCreate(name: string, bytes: number): number;
  /** Map a memfd (shared) over pages of the World; `at` and `bytes` are multiples of 4096. */
  mapOver(fd: number, at: number, bytes: number): number;

  eventfd(): number;
  signal(fd: number): number;
  /** 1 when the eventfd had been signalled, else 0. */
  drain(fd: number): number;

  epollCreate(): number;
  epollAdd(epfd: number, fd: number, events: number, tag: number): number;
  epollMod(epfd: number, fd: number, events: number, tag: number): number;
  epollDel(epfd: number, fd: number): number;
  /**
   * Wait up to `timeoutMs` (-1 = for ever) and write int32s to `at`: microseconds, milliseconds (wrapping, read after
   * the wait), then a (tag, events) pair per event. Returns the number of pairs.
   * With `spinUs` > 0 it looks again and again for that long instead, and also returns when a watched word changes:
   * `watchAt` holds their number and then int32 pairs (world offset, value they have now).
   */
  poll(epfd: number, timeoutMs: number, at: number, maxEvents: number, spinUs?: number, watchAt?: number): number;
  /** Write microseconds and milliseconds to `at`. */
  readClock(at: number): number;

  /**
   * A pair of UNIX sockets: int32s (router's end, app's end) are written to `at`. The router's end is bound to the
   * abstract name of `nameLength` octets at `nameAt` (0 = unnamed). Send buffers are raised on both.
   */
  makePair(type: number, appIsNonBlocking: number, nameAt: number, nameLength: number, at: number): number;
  /** Fill the app's end of a stream pair so that it polls unwritable; returns the number of octets that took. */
  gate(appFd: number): number;
  /** Limit what the other end may leave unread in the socket; the kernel doubles it and counts its overhead. */
  setSendBuffer(fd: number, bytes: number): number;
  /** Open the gate (fires EPOLLOUT). The octets are still to be read: `recvLag` with room for all but one. */
  ungate(appFd: number): number;
  /**
   * New octets of a stream into `count` areas (at most 16), given as int32 pairs (at, length) at `listAt`; the newest one
   * stays in the socket (lag-by-one), so use edge-triggered epoll. 0 = nothing new; the end is told by Epoll.RdHup.
   */
  recvLag(fd: number, listAt: number, count: number): number;
  /** Take the octet that lag-by-one left (or what fills a gate, at most 4096 octets), before a clean close. */
  takeLag(fd: number): number;
  send(fd: number, at: number, length: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  /** Octets waiting to be read (out = 0) or not yet read by the other end, kernel overhead included (out = 1). */
  queued(fd: number, out: number): number;

  /** Up to `count` messages, 64 at the most, to slots of `slot` octets at `at`, their lengths as int32s to `lengthsAt`; length 0 is the end. */
  recvDatagrams(fd: number, at: number, slot: number, count: number, lengthsAt: number): number;
  /** The payload as one message (cut = 0) or in pieces of `cut` octets, each behind the header; returns messages sent. */
  sendDatagrams(fd: number, headAt: number, headLength: number, at: number, length: number, cut: number): number;

  /** A descriptor of the next connection, non-blocking unless it is to be passed on to an app (`isBlocking` = 1). */
  accept(listenFd: number, isBlocking: number): number;
  /** Write pid, uid, gid of a UNIX socket's peer as int32s to `at`. */
  peerCred(fd: number, at: number): number;
  /** The process at the other end of a UNIX socket. */
  peerPid(fd: number): number;
  /** One message; `fdsAt` gets the number of descriptors that came with it, then the descriptors (int32s, at most `maxFds`). */
  recvMessage(fd: number, at: number, room: number, fdsAt: number, maxFds: number): number;
  sendMessage(fd: number, at: number, length: number, fdsAt: number, fdCount: number): number;

  /** A listening UNIX socket of mode 0600. */
  unixListen(path: string, type: number, backlog: number): number;
  unixConnect(path: string, type: number): number;
  /** A non-blocking socket of the host kernel (AF_INET 2, AF_INET6 10, which takes IPv4-mapped addresses too). */
  kernelSocket(family: number, type: number): number;
  kernelBind(fd: number, addrAt: number, addrLength: number): number;
  kernelListen(fd: number, backlog: number): number;
  /** struct sockaddr of the socket or (ofPeer = 1) its peer to `at`; returns its length. */
  kernelName(fd: number, at: number, room: number, ofPeer: number): number;
  kernelRecv(fd: number, at: number, room: number, addrAt: number, addrRoom: number): number;
  kernelSend(fd: number, at: number, length: number, addrAt: number, addrLength: number): number;

  /** A socket of the host kernel with nothing set but close-on-exec; blocking unless `type` has SOCK_NONBLOCK in it. */
  hostSocket(family: number, type: number, protocol: number): number;
  /** Bind a socket that has no device yet to a network interface: needs no privilege since Linux 5.7. */
  bindToDevice(fd: number, name: string): number;
  kernelConnect(fd: number, addrAt: number, addrLength: number): number;
  /** Write the inode by which /proc names a socket to `at`, as an unsigned 32-bit word. */
  socketInode(fd: number, at: number): number;
  /**
   * End a socket that process `pid` holds as `fd`: TCP is reset (ECONNRESET there, RST to the peer), others are shut down.
   * -ESTALE when `fd` is not (or no longer) the socket of `inode`, -EPERM when the process may not be reached (ptrace(2)).
   */
  endSocketOf(pid: number, fd: number, inode: number): number;

  /** An option of a socket that is an int. */
  setOption(fd: number, level: number, name: number, value: number): number;
  /** Of an option that is an int and not negative. */
  getOption(fd: number, level: number, name: number): number;
  /** Bind to an address in text, `%INTERFACE` included; a port of 0 is any free one. */
  inetBind(fd: number, address: string, port: number): number;
  /** A socket for echo requests: of ping's kind, for groups of net.ipv4.ping_group_range, or (isRaw = 1) for CAP_NET_RAW. */
  echoSocket(family: number, isRaw: number): number;
  /** An ICMP message to a remote (`%INTERFACE` included); ping sockets put identifier and checksum in. */
  echoSend(fd: number, remote: string, message: Uint8Array): number;
  /** How many microseconds ago it came (a double), then the next ICMP message, into `room`; returns the length of both. */
  echoReceive(fd: number, room: Uint8Array): number;
  /** The host's address that packets to a remote (`%INTERFACE` included) carry, without interface; or -errno. */
  inetSource(remote: string): string | number;
  /**
   * The TCP MD5 key (RFC 2385) of all remotes in ADDRESS/LENGTH, before `connect` or on a listener at any time; a key of no
   * octets takes it back. IPv4 remotes of an IPv6 socket are written ::ffff:A.B.C.D, with the length of the IPv4 prefix.
   */
  tcpMd5(fd: number, address: string, prefixLength: number, key: Uint8Array): number;
  /** From now on a UDP socket gets one octet, not more, of datagrams whose TTL or hop limit was less than `ttl`. */
  shortenFar(fd: number, family: number, ttl: number): number;

  /** A blocking netlink(7) socket; `groups` is a mask of multicast groups 1 to 32. */
  netlinkOpen(protocol: number, groups: number): number;
  /** One sendmsg(2) to the kernel of any number of messages. */
  netlinkSend(fd: number, octets: Uint8Array): number;
  /**
   * The next datagram of the kernel's, its length; waits up to `timeoutMs` (-ETIMEDOUT). -ENOBUFS once when datagrams were
   * lost, -EMSGSIZE when one did not fit.
   */
  netlinkRecv(fd: number, octets: Uint8Array, timeoutMs: number): number;
  /** Have a classic BPF program (struct sock_filter after struct sock_filter) choose which datagrams are queued. */
  netlinkFilter(fd: number, program: Uint8Array): number;
  /**
   * A UNIX stream of the socket's datagrams, each after its length (u32, this machine's byte order); length 0 stands for
   * datagrams that were lost. A thread reads the netlink socket from now on and closes it when the stream is closed.
   */
  netlinkRelay(fd: number): number;

  /** A map of eBPF (BPF_MAP_CREATE); returns its descriptor. Sizes in octets. */
  mapCreate(type: number, keySize: number, valueSize: number, maxEntries: number, flags: number, name: string): number;
  /** A descriptor of the map, program or link pinned at a path. */
  mapPinned(path: string): number;
  /** Write `count` entries, keys and values one behind another; 0, or -errno of the first that is refused. */
  mapUpdate(fd: number, keys: Uint8Array, values: Uint8Array, count: number): number;
  /** The value into `value`, which has to have its size (of every CPU, for per-CPU maps). */
  mapLookup(fd: number, key: Uint8Array, value: Uint8Array): number;
  mapDelete(fd: number, key: Uint8Array): number;
  /** The key behind `key` (undefined = the first) into `next`; -ENOENT at the end. */
  mapNextKey(fd: number, key: Uint8Array | undefined, next: Uint8Array): number;
  /** The cookie of this process's network namespace, or -errno (SO_NETNS_COOKIE is missing before 5.14). */
  netnsCookie(): bigint | number;
}

/** Kinds and flags of maps, see linux/bpf.h. */
export const Bpf = {
  Hash: 1,
  Array: 2,
  LpmTrie: 11,
  NoPrealloc: 1,
  InnerMap: 4096,
} as const;

let loaded: Native | undefined;

/**
 * The addon, loaded on first use in each thread. `MLSHIM_ADDON` names another file (sanitizer builds).
 * @throws MlshimError ADDON_MISSING
 */
export function loadNative(): Native {
  if (loaded !== undefined) return loaded;
  const path = process.env['MLSHIM_ADDON'] ?? fileURLToPath(new URL('../../native/mlshim.node', import.meta.url));
  try {
    loaded = createRequire(import.meta.url)(path) as Native;
  } catch (cause) {
    throw new MlshimError('ADDON_MISSING', `cannot load the native addon ${path}: ${String(cause)}`, { path });
  }
  return loaded;
}
