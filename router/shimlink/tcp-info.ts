/**
 * struct tcp_info (linux/tcp.h) of a connection, as getsockopt(TCP_INFO) answers it. Fields that this stack has no
 * figure for are zero. Older programs ask for a shorter struct: the answer is cut to the room given.
 */
import type { World } from '../lib/world.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import { TcpDefaults, TcpState } from '../tcp/settings.ts';
import { E, putHost32 } from './proto.ts';

/** Offsets in struct tcp_info. */
const At = {
  State: 0,
  CaState: 1,
  Retransmits: 2,
  Probes: 3,
  Backoff: 4,
  Options: 5,
  WScale: 6,
  Rto: 8,
  Ato: 12,
  SndMss: 16,
  RcvMss: 20,
  Unacked: 24,
  Sacked: 28,
  Lost: 32,
  Retrans: 36,
  LastDataSent: 44,
  LastDataRecv: 52,
  LastAckRecv: 56,
  Pmtu: 60,
  RcvSsthresh: 64,
  Rtt: 68,
  RttVar: 72,
  SndSsthresh: 76,
  SndCwnd: 80,
  AdvMss: 84,
  RcvRtt: 92,
  RcvSpace: 96,
  TotalRetrans: 100,
  BytesAcked: 120,
  BytesReceived: 128,
  SegsOut: 136,
  SegsIn: 140,
  NotSentBytes: 144,
  MinRtt: 148,
  DataSegsIn: 152,
  DataSegsOut: 156,
  BytesSent: 200,
  BytesRetrans: 208,
  SndWnd: 228,
  Size: 240,
} as const;

/** tcpi_ato: what the core delays an ACK at most. */
const DELAYED_ACK_US = TcpDefaults.delayedAckMs * 1000;

/** @returns octets written to `at`, or -errno */
export function writeTcpInfo(
  world: World,
  at: number,
  room: number,
  c: TcpConnection | undefined,
  isListening: boolean,
): number {
  if (room < 0) return -E.EINVAL;
  const u8 = world.u8;
  u8.fill(0, at, at + At.Size);
  u8[at + At.State] = c?.state ?? (isListening ? TcpState.Listen : TcpState.Closed);
  if (c !== undefined) {
    const info = c.info;
    const put = (offset: number, value: number): void => putHost32(u8, at + offset, value);
    const put64 = (offset: number, value: number): void => {
      put(offset, (value % 4294967296) | 0);
      put(offset + 4, Math.floor(value / 4294967296));
    };
    u8[at + At.CaState] = info.caState;
    u8[at + At.Retransmits] = info.retransmits;
    u8[at + At.Probes] = info.probes;
    u8[at + At.Backoff] = info.backoff;
    u8[at + At.Options] = info.options;
    u8[at + At.WScale] = info.sndWscale | (info.rcvWscale << 4);
    put(At.Rto, info.rtoUs);
    put(At.Ato, DELAYED_ACK_US);
    put(At.SndMss, info.sndMss);
    put(At.RcvMss, info.rcvMss);
    put(At.Unacked, info.unacked);
    put(At.Sacked, info.sacked);
    put(At.Lost, info.lost);
    put(At.Retrans, info.retrans);
    put(At.LastDataSent, info.lastDataSentMs);
    put(At.LastDataRecv, info.lastAckRecvMs);
    put(At.LastAckRecv, info.lastAckRecvMs);
    put(At.Pmtu, info.pmtu);
    put(At.RcvSsthresh, info.rcvSpace);
    put(At.Rtt, info.rttUs);
    put(At.RttVar, info.rttvarUs);
    put(At.SndSsthresh, info.sndSsthresh);
    put(At.SndCwnd, info.sndCwnd);
    put(At.AdvMss, info.advMss);
    put(At.RcvRtt, info.rcvRttUs);
    put(At.RcvSpace, info.rcvSpace);
    put(At.TotalRetrans, info.totalRetrans);
    put64(At.BytesAcked, info.bytesAcked);
    put64(At.BytesReceived, info.bytesReceived);
    put(At.SegsOut, info.segsOut);
    put(At.SegsIn, info.segsIn);
    put(At.NotSentBytes, info.notSentBytes);
    put(At.MinRtt, info.minRttUs);
    put(At.DataSegsIn, info.dataSegsIn);
    put(At.DataSegsOut, info.dataSegsOut);
    put64(At.BytesSent, info.bytesSent);
    put64(At.BytesRetrans, info.bytesRetrans);
    put(At.SndWnd, info.sndWnd);
  }
  return Math.min(room, At.Size);
}
