import test from 'ava';
import type { WireOptions } from '../kit/sim.ts';
import { TcpPair } from '../kit/tcp-host.ts';

/** Variants of how bad a path is apart from loss. */
const VARIANTS: Record<string, WireOptions> = {
  plain: {},
  reorder: { reorder: 0.02, reorderMs: 8 },
  duplicate: { duplicate: 0.02 },
  corrupt: { corrupt: 0.01 },
  coalesce: { coalesceUs: 300 },
  all: { reorder: 0.01, reorderMs: 8, duplicate: 0.01, corrupt: 0.005, coalesceUs: 300 },
};
const LOSSES = [0, 0.001, 0.01, 0.03, 0.1];
const RTTS = [10, 50, 200];
const SEEDS = [1, 2, 3];
const RATE_MBPS = 50;
const OCTETS = 1_500_000;

/** Share of what CUBIC and the link allow in theory that a transfer must reach; loosest where chance rules. */
function floorKbps(loss: number, rttMs: number): number {
  const mss = 1368;
  // RFC 9438 §5.1 gives the average window under random loss; slow start and short transfers cost up to four fifths of it.
  const segments = loss === 0 ? 1e9 : Math.max(1.17 * (rttMs / 1000 / loss) ** (0.75 ** 1), 1.22 / Math.sqrt(loss));
  const kbps = (segments * mss * 8) / rttMs;
  const ramp = (OCTETS * 8) / (rttMs * 9 + (OCTETS * 8) / (RATE_MBPS * 1000));
  return Math.min(kbps, ramp) / 5;
}

function transfer(seed: number, wire: WireOptions): { kbps: number; wrong: number; ms: number } {
  const p = new TcpPair(seed, wire, 1000, 1024);
  const { client, server } = p.open({ family: seed % 2 === 0 ? 6 : 4 });
  client.toSend = OCTETS;
  const from = p.net.nowMs;
  const done = p.net.runUntil(() => server.isPeerFinished && server.received >= OCTETS, 600_000);
  const ms = p.net.nowMs - from;
  return { kbps: done ? (OCTETS * 8) / ms : 0, wrong: server.firstWrong, ms };
}

for (const [name, variant] of Object.entries(VARIANTS)) {
  test(`octets arrive intact and fast enough over every loss and delay: ${name}`, (t) => {
    const rows: string[] = [];
    for (const rttMs of RTTS) {
      let row = `rtt ${String(rttMs).padStart(3)} ms `;
      for (const loss of LOSSES) {
        let sum = 0;
        for (const seed of SEEDS) {
          const queueBytes = Math.max(64 * 1024, (RATE_MBPS * 125 * rttMs) | 0);
          const r = transfer(seed, { ...variant, latencyMs: rttMs / 2, rateMbps: RATE_MBPS, queueBytes, loss });
          t.is(r.wrong, -1, `loss ${loss} rtt ${rttMs} seed ${seed}: a wrong octet`);
          t.not(r.kbps, 0, `loss ${loss} rtt ${rttMs} seed ${seed}: did not finish`);
          sum += r.kbps;
        }
        const mean = sum / SEEDS.length;
        const effective = 1 - (1 - loss) * (1 - (variant.corrupt ?? 0));
        row += ` ${(loss * 100).toFixed(1).padStart(4)} %: ${(mean / 1000).toFixed(2).padStart(6)}`;
        t.true(mean >= floorKbps(effective, rttMs), `loss ${loss} rtt ${rttMs}: ${mean | 0} kbit/s`);
      }
      rows.push(row);
    }
    t.log(`goodput in Mbit/s of ${RATE_MBPS}, ${OCTETS} octets, ${name}\n${rows.join('\n')}`);
  });
}
