/**
 * The socket options Linux knows for INET sockets: how each is checked, transformed, stored and answered.
 * Read socket(7), tcp(7), ip(7), ipv6(7), udp(7). An option that is missing here answers ENOPROTOOPT, as Linux does for
 * names it does not know; what an option *does* is the socket's matter, this is only its form.
 */
import { E, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP } from './proto.ts';

export const SOL_SOCKET = 1;

/** Key of an option: level and name in one small integer. */
export function optionKey(level: number, name: number): number {
  return (level << 16) | (name & 0xffff);
}

/** Options the sockets act on, by name. */
export const Option = {
  ReuseAddr: optionKey(SOL_SOCKET, 2),
  Type: optionKey(SOL_SOCKET, 3),
  Error: optionKey(SOL_SOCKET, 4),
  Broadcast: optionKey(SOL_SOCKET, 6),
  SndBuf: optionKey(SOL_SOCKET, 7),
  RcvBuf: optionKey(SOL_SOCKET, 8),
  KeepAlive: optionKey(SOL_SOCKET, 9),
  Linger: optionKey(SOL_SOCKET, 13),
  ReusePort: optionKey(SOL_SOCKET, 15),
  BindToDevice: optionKey(SOL_SOCKET, 25),
  PeerName: optionKey(SOL_SOCKET, 28),
  AcceptConn: optionKey(SOL_SOCKET, 30),
  Protocol: optionKey(SOL_SOCKET, 38),
  Domain: optionKey(SOL_SOCKET, 39),
  Cookie: optionKey(SOL_SOCKET, 57),
  BindToIfIndex: optionKey(SOL_SOCKET, 62),
  NoDelay: optionKey(IPPROTO_TCP, 1),
  MaxSeg: optionKey(IPPROTO_TCP, 2),
  Cork: optionKey(IPPROTO_TCP, 3),
  KeepIdle: optionKey(IPPROTO_TCP, 4),
  KeepInterval: optionKey(IPPROTO_TCP, 5),
  KeepCount: optionKey(IPPROTO_TCP, 6),
  SynCount: optionKey(IPPROTO_TCP, 7),
  TcpInfo: optionKey(IPPROTO_TCP, 11),
  QuickAck: optionKey(IPPROTO_TCP, 12),
  Md5Sig: optionKey(IPPROTO_TCP, 14),
  UserTimeout: optionKey(IPPROTO_TCP, 18),
  Md5SigExt: optionKey(IPPROTO_TCP, 32),
  IpTos: optionKey(IPPROTO_IP, 1),
  IpTtl: optionKey(IPPROTO_IP, 2),
  IpMtuDiscover: optionKey(IPPROTO_IP, 10),
  IpMtu: optionKey(IPPROTO_IP, 14),
  IpMinTtl: optionKey(IPPROTO_IP, 21),
  IpUnicastIf: optionKey(IPPROTO_IP, 50),
  V6Only: optionKey(IPPROTO_IPV6, 26),
  V6UnicastHops: optionKey(IPPROTO_IPV6, 16),
  V6Mtu: optionKey(IPPROTO_IPV6, 24),
  V6MtuDiscover: optionKey(IPPROTO_IPV6, 23),
  V6MinHopCount: optionKey(IPPROTO_IPV6, 73),
  V6TrafficClass: optionKey(IPPROTO_IPV6, 67),
  UdpCork: optionKey(IPPROTO_UDP, 1),
  UdpSegment: optionKey(IPPROTO_UDP, 103),
  UdpGro: optionKey(IPPROTO_UDP, 104),
} as const;

/** Which sockets have an option. */
export const On = { Any: 0, Stream: 1, Datagram: 2 } as const;

export interface OptionSpec {
  readonly kind:
    | 'flag' // stored as 0 or 1
    | 'int' // checked against min..max
    | 'buffer' // doubled and clamped (SO_SNDBUF, SO_RCVBUF)
    | 'bytes' // min..max octets as they are
    | 'text' // a NUL-terminated name of at most max octets
    | 'timeval' // struct timeval, microseconds checked
    | 'linger' // struct linger
    | 'tos'
    | 'defer-accept'
    | 'live'; // read-only, answered by the socket
  /** Default answer of an integer option; octets are zero by default. */
  readonly initial: number;
  readonly min: number;
  readonly max: number;
  /** errno when an integer is out of range. */
  readonly fault: number;
  readonly on: number;
}

export const OPTIONS: ReadonlyMap<number, OptionSpec> = build();

function build(): Map<number, OptionSpec> {
  const table = new Map<number, OptionSpec>();
  const INT_MAX = 0x7fffffff;
  const INT_MIN = -0x80000000;
  const put = (level: number, name: number, spec: Partial<OptionSpec> & Pick<OptionSpec, 'kind'>): void => {
    table.set(optionKey(level, name), {
      initial: 0,
      min: INT_MIN,
      max: INT_MAX,
      fault: E.EINVAL,
      on: On.Any,
      ...spec,
    });
  };
  const flags = (level: number, names: readonly number[], on: number = On.Any): void => {
    for (const name of names) put(level, name, { kind: 'flag', on });
  };
  const live = (level: number, names: readonly number[], on: number = On.Any): void => {
    for (const name of names) put(level, name, { kind: 'live', on });
  };

  // SOL_SOCKET: DEBUG REUSEADDR DONTROUTE BROADCAST KEEPALIVE OOBINLINE NO_CHECK BSDCOMPAT REUSEPORT PASSCRED TIMESTAMP
  // PASSSEC TIMESTAMPNS RXQ_OVFL WIFI_STATUS NOFCS LOCK_FILTER SELECT_ERR_QUEUE TIMESTAMP_NEW TIMESTAMPNS_NEW
  // PREFER_BUSY_POLL RCVMARK
  flags(SOL_SOCKET, [1, 2, 5, 6, 9, 10, 11, 14, 15, 16, 29, 34, 35, 40, 41, 43, 44, 45, 63, 64, 69, 75]);
  live(SOL_SOCKET, [3, 4, 28, 30, 38, 39, 57]); // TYPE ERROR PEERNAME ACCEPTCONN PROTOCOL DOMAIN COOKIE
  put(SOL_SOCKET, 7, { kind: 'buffer', initial: 2626560, min: 4608 }); // SNDBUF: what a loopback connection reports
  put(SOL_SOCKET, 8, { kind: 'buffer', initial: 131072, min: 2304 }); // RCVBUF
  put(SOL_SOCKET, 12, { kind: 'int', min: 0, max: 6, fault: E.EPERM }); // PRIORITY: more needs CAP_NET_ADMIN
  put(SOL_SOCKET, 13, { kind: 'linger' });
  put(SOL_SOCKET, 18, { kind: 'int', initial: 1 }); // RCVLOWAT
  put(SOL_SOCKET, 19, { kind: 'live', initial: 1 }); // SNDLOWAT
  for (const name of [20, 21, 66, 67]) put(SOL_SOCKET, name, { kind: 'timeval' }); // RCVTIMEO SNDTIMEO, and _NEW
  put(SOL_SOCKET, 25, { kind: 'text', max: 15 }); // BINDTODEVICE
  for (const name of [26, 51]) put(SOL_SOCKET, name, { kind: 'bytes', min: 16, max: 16 }); // ATTACH_FILTER, REUSEPORT_CBPF
  for (const name of [27, 37, 49, 50, 52, 53, 61, 65, 68]) put(SOL_SOCKET, name, { kind: 'int' });
  put(SOL_SOCKET, 36, { kind: 'int' }); // MARK
  put(SOL_SOCKET, 42, { kind: 'int', initial: -1 }); // PEEK_OFF
  for (const name of [46, 70, 73]) put(SOL_SOCKET, name, { kind: 'int', min: 0 }); // BUSY_POLL, its BUDGET, RESERVE_MEM
  put(SOL_SOCKET, 47, { kind: 'bytes', min: 4, max: 8, initial: -1 }); // MAX_PACING_RATE
  put(SOL_SOCKET, 48, { kind: 'live', initial: 64 }); // BPF_EXTENSIONS
  live(SOL_SOCKET, [56]); // INCOMING_NAPI_ID
  // ZEROCOPY is refused: an app that was promised completions on its error queue would wait for them for ever.
  put(SOL_SOCKET, 60, { kind: 'int', min: 0, max: 0, fault: E.EOPNOTSUPP });
  put(SOL_SOCKET, 62, { kind: 'int', min: 0 }); // BINDTOIFINDEX
  put(SOL_SOCKET, 72, { kind: 'int', min: 0, max: 3 }); // BUF_LOCK
  put(SOL_SOCKET, 74, { kind: 'int', initial: 1, min: -1, max: 1 }); // TXREHASH

  const tcp = (name: number, spec: Partial<OptionSpec> & Pick<OptionSpec, 'kind'>): void =>
    put(IPPROTO_TCP, name, { on: On.Stream, ...spec });
  flags(IPPROTO_TCP, [1, 3], On.Stream); // NODELAY CORK
  tcp(2, { kind: 'int', min: 0, max: 32767 }); // MAXSEG
  tcp(4, { kind: 'int', initial: 7200, min: 1, max: 32767 }); // KEEPIDLE
  tcp(5, { kind: 'int', initial: 75, min: 1, max: 32767 }); // KEEPINTVL
  tcp(6, { kind: 'int', initial: 9, min: 1, max: 127 }); // KEEPCNT
  tcp(7, { kind: 'int', initial: 6, min: 1, max: 127 }); // SYNCNT
  tcp(8, { kind: 'int', initial: 60 }); // LINGER2
  tcp(9, { kind: 'defer-accept' });
  tcp(10, { kind: 'int', min: 0 }); // WINDOW_CLAMP
  live(IPPROTO_TCP, [11, 26], On.Stream); // INFO CC_INFO
  tcp(12, { kind: 'int', initial: 1 }); // QUICKACK
  tcp(13, { kind: 'text', max: 15 }); // CONGESTION
  for (const name of [16, 17, 30, 34, 36]) tcp(name, { kind: 'int', min: 0, max: 1 }); // THIN_*, FASTOPEN_CONNECT, _NO_COOKIE, INQ
  tcp(18, { kind: 'int', min: 0 }); // USER_TIMEOUT
  tcp(23, { kind: 'int', min: 0 }); // FASTOPEN
  tcp(24, { kind: 'int' }); // TIMESTAMP
  tcp(25, { kind: 'int' }); // NOTSENT_LOWAT
  tcp(27, { kind: 'int', min: 0, max: 2 }); // SAVE_SYN
  tcp(37, { kind: 'int', min: 0 }); // TX_DELAY
  // Not here: MD5SIG is the stream socket's (md5-keys.ts). On purpose: AO and ULP would have to change the wire, REPAIR needs a privilege: ENOPROTOOPT.

  // IP: RECVOPTS RETOPTS PKTINFO RECVERR RECVTTL RECVTOS FREEBIND PASSSEC TRANSPARENT ORIGDSTADDR CHECKSUM
  // BIND_ADDRESS_NO_PORT RECVFRAGSIZE RECVERR_RFC4884
  flags(IPPROTO_IP, [5, 6, 7, 8, 11, 12, 13, 15, 18, 19, 20, 23, 24, 25, 26]);
  put(IPPROTO_IP, 1, { kind: 'tos' });
  put(IPPROTO_IP, 2, { kind: 'int', initial: 64, min: -1, max: 255 }); // TTL
  put(IPPROTO_IP, 4, { kind: 'bytes', min: 0, max: 40 }); // OPTIONS
  put(IPPROTO_IP, 10, { kind: 'int', initial: 1, min: 0, max: 5 }); // MTU_DISCOVER
  live(IPPROTO_IP, [14]); // MTU
  put(IPPROTO_IP, 21, { kind: 'int', min: 0, max: 255 }); // MINTTL
  put(IPPROTO_IP, 32, { kind: 'bytes', min: 4, max: 12, on: On.Datagram }); // MULTICAST_IF
  put(IPPROTO_IP, 33, { kind: 'int', initial: 1, min: -1, max: 255, on: On.Datagram }); // MULTICAST_TTL
  put(IPPROTO_IP, 34, { kind: 'flag', initial: 1 }); // MULTICAST_LOOP
  for (const name of [35, 36]) put(IPPROTO_IP, name, { kind: 'bytes', min: 8, max: 12, on: On.Datagram }); // ADD/DROP_MEMBERSHIP
  for (const name of [37, 38, 39, 40]) put(IPPROTO_IP, name, { kind: 'bytes', min: 12, max: 12, on: On.Datagram }); // sources
  for (const name of [41, 42, 43, 44, 45, 46, 47, 48])
    put(IPPROTO_IP, name, { kind: 'bytes', min: 8, max: 264, on: On.Datagram }); // MSFILTER, MCAST_*
  put(IPPROTO_IP, 49, { kind: 'flag', initial: 1 }); // MULTICAST_ALL
  put(IPPROTO_IP, 50, { kind: 'int' }); // UNICAST_IF
  put(IPPROTO_IP, 51, { kind: 'int' }); // LOCAL_PORT_RANGE

  // IPV6: RECVERR DONTFRAG V6ONLY RECVPKTINFO RECVHOPLIMIT RECVHOPOPTS RECVRTHDR RECVDSTOPTS RECVPATHMTU RECVTCLASS FREEBIND
  // TRANSPARENT ORIGDSTADDR RECVFRAGSIZE FLOWINFO_SEND and the RFC 2292 names
  flags(IPPROTO_IPV6, [2, 3, 4, 5, 8, 11, 25, 26, 31, 33, 49, 51, 53, 56, 58, 60, 62, 66, 74, 75, 77, 78]);
  put(IPPROTO_IPV6, 16, { kind: 'int', initial: 64, min: -1, max: 255 }); // UNICAST_HOPS
  put(IPPROTO_IPV6, 17, { kind: 'int', min: 0, on: On.Datagram }); // MULTICAST_IF
  put(IPPROTO_IPV6, 18, { kind: 'int', initial: 1, min: -1, max: 255, on: On.Datagram }); // MULTICAST_HOPS
  put(IPPROTO_IPV6, 19, { kind: 'int', initial: 1, min: 0, max: 1 }); // MULTICAST_LOOP
  for (const name of [20, 21, 27, 28]) put(IPPROTO_IPV6, name, { kind: 'bytes', min: 20, max: 20, on: On.Datagram }); // groups, anycast
  put(IPPROTO_IPV6, 23, { kind: 'int', initial: 1, min: 0, max: 5 }); // MTU_DISCOVER
  put(IPPROTO_IPV6, 24, { kind: 'int', min: 0 }); // MTU
  put(IPPROTO_IPV6, 29, { kind: 'flag', initial: 1 }); // MULTICAST_ALL
  put(IPPROTO_IPV6, 32, { kind: 'bytes', min: 32, max: 32 }); // FLOWLABEL_MGR
  for (const name of [42, 43, 44, 45, 46, 47, 48])
    put(IPPROTO_IPV6, name, { kind: 'bytes', min: 8, max: 264, on: On.Datagram }); // MCAST_*
  put(IPPROTO_IPV6, 50, { kind: 'bytes', min: 20, max: 20 }); // PKTINFO
  put(IPPROTO_IPV6, 52, { kind: 'int', initial: -1, min: -1, max: 255 }); // HOPLIMIT
  for (const name of [54, 55, 57, 59]) put(IPPROTO_IPV6, name, { kind: 'bytes', min: 0, max: 2048 }); // extension headers
  put(IPPROTO_IPV6, 67, { kind: 'int', min: -1, max: 255 }); // TCLASS
  put(IPPROTO_IPV6, 70, { kind: 'flag', initial: 1 }); // AUTOFLOWLABEL
  put(IPPROTO_IPV6, 72, { kind: 'int', initial: 2 }); // ADDR_PREFERENCES
  put(IPPROTO_IPV6, 73, { kind: 'int', min: 0, max: 255 }); // MINHOPCOUNT
  put(IPPROTO_IPV6, 76, { kind: 'int' }); // UNICAST_IF

  flags(IPPROTO_UDP, [1, 101, 102, 104], On.Datagram); // CORK NO_CHECK6_TX NO_CHECK6_RX GRO
  put(IPPROTO_UDP, 100, { kind: 'int', on: On.Datagram }); // ENCAP
  put(IPPROTO_UDP, 103, { kind: 'int', min: 0, max: 65535, on: On.Datagram }); // SEGMENT
  put(58, 1, { kind: 'bytes', min: 32, max: 32, on: On.Datagram }); // ICMPV6_FILTER
  put(255, 1, { kind: 'bytes', min: 4, max: 4, on: On.Datagram }); // ICMP_FILTER
  return table;
}
