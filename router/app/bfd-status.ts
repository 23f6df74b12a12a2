/** Facts about BFD sessions as the control socket tells them. Pure. */
import type { BfdView } from '../../bgp/bfd/bfd.ts';
import type { Answers, BfdSessionStatus } from '../control/messages.ts';

/** Sessions of one edge, and the packets it discarded by reason. */
export interface BfdReport {
  readonly sessions: readonly BfdView[];
  readonly drops: Readonly<Record<string, number>>;
}

export function bfdStatus(reports: readonly BfdReport[]): Answers['bfd_show'] {
  const drops: Record<string, number> = {};
  for (const r of reports) for (const [reason, n] of Object.entries(r.drops)) drops[reason] = (drops[reason] ?? 0) + n;
  return { sessions: reports.flatMap((r) => r.sessions.map(sessionStatus)), drops };
}

function sessionStatus(v: BfdView): BfdSessionStatus {
  return {
    peers: v.names,
    address: v.remote,
    uplink: v.link,
    local_address: v.local,
    multihop: v.multihop,
    auth: v.auth ?? '',
    state: v.state,
    since_s: v.stateMs / 1000,
    remote_state: v.remoteState,
    diag: v.diag,
    remote_diag: v.remoteDiag,
    tx_ms: v.txIntervalUs / 1000,
    rx_ms: v.rxIntervalUs / 1000,
    detection_ms: v.detectionUs / 1000,
    multiplier: v.multiplier,
    remote_multiplier: v.remoteMultiplier,
    discriminator: v.discriminator,
    remote_discriminator: v.remoteDiscriminator,
    packets_in: v.packetsIn,
    packets_out: v.packetsOut,
    flaps: v.flaps,
  };
}
