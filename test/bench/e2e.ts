/**
 * End to end through WireGuard, in the same rounds: an app under mlshim's shim, kernel TCP over wireguard-go on a kernel
 * TUN, and gVisor's TCP inside wireguard-go (the engine of user-space WireGuard proxies), all against one far end.
 * Needs root for the namespaces; mlshim and its apps run as uid nobody. Both ends share this machine's CPUs, so Gbit/s say
 * little without the CPU seconds per Gbit beside them.
 */
import { Lab } from '../kit/lab.ts';
import {
  buildFlows,
  buildNetstack,
  type Chain,
  cpuOf,
  FLOWS,
  KernelEnd,
  MlshimEnd,
  makeChain,
  NetstackEnd,
} from './e2e-lab.ts';
import { type BenchOptions, type BenchReport, Samples } from './table.ts';

const SECONDS = 3;
const FAR = '10.99.0.1';
const IPERF_PORT = 5201;
const SINK_PORT = 5301;
const ECHO_PORT = 5401;
const ACCEPT_PORT = 5501;
/** Connections the load generator has under way. */
const ACCEPT_WIDTH = 64;
const PING = ['ping', FAR, String(ECHO_PORT), '200', '100'];
const RUN_LIMIT_MS = 30_000;

interface Iperf {
  readonly end: {
    readonly sum_received: { readonly bits_per_second: number; readonly bytes: number; readonly seconds: number };
    readonly cpu_utilization_percent: { readonly host_total: number };
  };
}

interface Case {
  readonly name: string;
  readonly streams: number;
  readonly direction: 'up' | 'down';
}

const CASES: readonly Case[] = [
  { name: 'tcp1_up', streams: 1, direction: 'up' },
  { name: 'tcp1_down', streams: 1, direction: 'down' },
  { name: 'tcp8_up', streams: 8, direction: 'up' },
  { name: 'tcp8_down', streams: 8, direction: 'down' },
];

function iperfArgs(c: Case, to: string): string[] {
  const reverse = c.direction === 'down' ? ['-R'] : [];
  return ['-c', to, '-p', String(IPERF_PORT), '-t', String(SECONDS), '-P', String(c.streams), ...reverse, '--json'];
}

/** Gbit/s and CPU seconds per Gbit of one iperf3 run; the app's own CPU time is part of it. */
function iperfFigures(json: string, daemonCpu: number): { gbits: number; cpuPerGbit: number } {
  const { sum_received: sum, cpu_utilization_percent: cpu } = (JSON.parse(json) as Iperf).end;
  const appCpu = (cpu.host_total / 100) * sum.seconds;
  return { gbits: sum.bits_per_second / 1e9, cpuPerGbit: (daemonCpu + appCpu) / ((sum.bytes * 8) / 1e9) };
}

export async function run({ rounds, log }: BenchOptions): Promise<BenchReport> {
  const missing = Lab.missing('wg', 'iperf3', 'bash');
  if (missing !== undefined) throw new Error(`the end-to-end benchmark cannot run: ${missing}`);
  buildNetstack();
  buildFlows();
  const samples = new Samples();
  const notes: string[] = [];
  const lab = new Lab();
  const stop = (): void => {
    void lab.close().then(() => process.exit(130));
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const far = new KernelEnd(lab, await lab.namespace('far'));
    const kernel = new KernelEnd(lab, await lab.namespace('krn'));
    const gvisor = new NetstackEnd(lab, await lab.namespace('gvs'));
    const mlshim = new MlshimEnd(lab, await lab.namespace('mls'));
    for (const [i, ns] of [kernel.ns, gvisor.ns, mlshim.ns].entries())
      await lab.veth(`v${i}`, far.ns, `192.168.${i}.1/24`, ns, `192.168.${i}.2/24`);
    const farFrom = (i: number): { publicKey: string; endpoint: string; allowed: string } => ({
      publicKey: far.keys.publicKey,
      endpoint: `192.168.${i}.1:51820`,
      allowed: `${FAR}/32`,
    });
    await far.up(
      [`${FAR}/32`],
      [kernel, gvisor, mlshim].map((end, i) => ({ publicKey: end.keys.publicKey, allowed: `10.99.0.${i + 2}/32` })),
    );
    await kernel.up(['10.99.0.2/32'], [farFrom(0)]);
    gvisor.configure('10.99.0.3', farFrom(1));
    await lab.start(far.ns, 'iperf3', ['-s', '-p', String(IPERF_PORT), '--forceflush']).until(/listening/);
    await NetstackEnd.serve(lab, far.ns, `${FAR}:${SINK_PORT}`);
    await lab.start(far.ns, FLOWS, ['echo', String(ECHO_PORT)]).until(/listening/);
    const withMlshim = await startMlshim(mlshim, farFrom(2), notes);

    const chains: [string, Chain][] = [['kernel', await makeChain(lab, 'kernel', IPERF_PORT)]];
    if (withMlshim) {
      chains.push(['mlshim', await makeChain(lab, 'mlshim', IPERF_PORT)]);
      await mlshim.serve(FLOWS, ['take', String(ACCEPT_PORT)]).until(/listening/);
    }

    for (let round = 1; round <= rounds; round++) {
      for (const c of CASES) {
        log(`round ${round} of ${rounds}: ${c.name}`);
        await kernelCase(samples, lab, kernel, c);
        if (withMlshim) await mlshimCase(samples, mlshim, c);
        const { bitsPerSecond, cpuSeconds } = await gvisor.transfer(
          `${FAR}:${SINK_PORT}`,
          c.direction,
          c.streams,
          SECONDS,
        );
        const gbits = bitsPerSecond / 1e9;
        samples.add(`${c.name} gVisor`, 'Gbit/s', gbits);
        samples.add(`${c.name} gVisor CPU`, 's/Gbit', cpuSeconds / (gbits * SECONDS));
      }
      if (withMlshim) {
        log(`round ${round} of ${rounds}: steady transfer`);
        for (const direction of ['up', 'down'] as const) await steadyCase(samples, mlshim, direction);
      }
      log(`round ${round} of ${rounds}: transit`);
      for (const [who, chain] of chains) await transitCase(samples, lab, who, chain);
      log(`round ${round} of ${rounds}: latency`);
      addLatency(samples, 'kernel', await lab.ok(kernel.ns, FLOWS, PING));
      if (withMlshim) {
        addLatency(samples, 'mlshim', (await mlshim.app(FLOWS, PING, RUN_LIMIT_MS)).stdout);
        log(`round ${round} of ${rounds}: accepts`);
        await acceptCase(samples, lab, far, mlshim);
      }
    }
    if (withMlshim) {
      samples.add('child resident set, peak', 'MiB', mlshim.childPeakMib());
      notes.push(
        'tcp1_vs_kernel_tun and tcp8_vs_kernel_tun are geometric means of upload and download, as cpu_per_bit_vs_kernel_tun is; the keys with _up and _down are the directions',
        'connect_us is the time of socket() and connect() less a round trip on a connection that stands',
        "accepts_per_second is what one CPU second of the router's threads accepts; the load, WireGuard and the server share the machine, so the rate seen is lower (see the table)",
      );
    }
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await lab.close();
  }
  return { results: samples.figures(), ratios: ratiosOf(samples), notes };
}

/** Bring mlshim up; a benchmark of the baselines alone is still worth having, so a failure becomes a note. */
async function startMlshim(end: MlshimEnd, far: Parameters<MlshimEnd['up']>[1], notes: string[]): Promise<boolean> {
  const missing = MlshimEnd.missing();
  if (missing !== undefined) {
    notes.push(`mlshim was not measured: ${missing}`);
    return false;
  }
  await end.up('10.99.0.4/32', far);
  return true;
}

async function kernelCase(samples: Samples, lab: Lab, end: KernelEnd, c: Case): Promise<void> {
  const before = cpuOf(end.daemon!.pid);
  const json = await lab.ok(end.ns, 'iperf3', iperfArgs(c, FAR), { timeoutMs: RUN_LIMIT_MS });
  const { gbits, cpuPerGbit } = iperfFigures(json, cpuOf(end.daemon!.pid) - before);
  samples.add(`${c.name} kernel`, 'Gbit/s', gbits);
  samples.add(`${c.name} kernel CPU`, 's/Gbit', cpuPerGbit);
}

async function mlshimCase(samples: Samples, end: MlshimEnd, c: Case): Promise<void> {
  const before = cpuOf(end.daemon!.pid);
  const { status, stdout, stderr } = await end.app('iperf3', iperfArgs(c, FAR), RUN_LIMIT_MS);
  if (status !== 0) throw new Error(`iperf3 under mlshim, ${c.name}, ended with ${status}:\n${stdout}${stderr}`);
  const { gbits, cpuPerGbit } = iperfFigures(stdout, cpuOf(end.daemon!.pid) - before);
  samples.add(`${c.name} mlshim`, 'Gbit/s', gbits);
  samples.add(`${c.name} mlshim CPU`, 's/Gbit', cpuPerGbit);
}

/** Kernel TCP across a router in the middle. CPU is the router's alone. */
async function transitCase(samples: Samples, lab: Lab, who: string, chain: Chain): Promise<void> {
  const c: Case = { name: 'transit', streams: 1, direction: 'up' };
  const before = chain.cpuSeconds();
  const json = await lab.ok(chain.a.ns, 'iperf3', iperfArgs(c, chain.to), { timeoutMs: RUN_LIMIT_MS });
  const { sum_received: sum } = (JSON.parse(json) as Iperf).end;
  samples.add(`transit through ${who}`, 'Gbit/s', sum.bits_per_second / 1e9);
  samples.add(`transit through ${who}, router CPU`, 's/Gbit', (chain.cpuSeconds() - before) / ((sum.bytes * 8) / 1e9));
}

/** Calls and heap of the data-plane worker in the middle of a transfer: connections come and go outside of it. */
async function steadyCase(samples: Samples, end: MlshimEnd, direction: 'up' | 'down'): Promise<void> {
  const args = [...iperfArgs({ name: 'steady', streams: 2, direction }, FAR), '--forceflush'];
  const transfer = end.serve('iperf3', [...args.filter((a) => a !== '--json'), '-t', '4', '-i', '0.5']);
  await transfer.until(/0\.[4-6]\d-1\.[01]\d +sec/, RUN_LIMIT_MS);
  const before = await end.counters();
  await transfer.until(/2\.[4-6]\d-3\.[01]\d +sec/, RUN_LIMIT_MS);
  const after = await end.counters();
  await transfer.exit();
  const packets = after.packets - before.packets;
  samples.add('addon calls per packet', '', (after.addonCalls - before.addonCalls) / packets);
  samples.add('heap growth per million packets', 'octets', ((after.heapUsed - before.heapUsed) * 1e6) / packets);
}

/** Short connections from the far end to a server under the shim. */
async function acceptCase(samples: Samples, lab: Lab, far: KernelEnd, end: MlshimEnd): Promise<void> {
  const before = end.routerCpu();
  const json = await lab.ok(
    far.ns,
    FLOWS,
    ['load', '10.99.0.4', String(ACCEPT_PORT), String(SECONDS), String(ACCEPT_WIDTH)],
    { timeoutMs: RUN_LIMIT_MS },
  );
  const { connectsPerSecond } = JSON.parse(json) as { connectsPerSecond: number };
  samples.add('accepts, all on this machine', '1/s', connectsPerSecond);
  samples.add(
    'accepts per CPU second of the router',
    '1/s',
    (connectsPerSecond * SECONDS) / (end.routerCpu() - before),
  );
}

function addLatency(samples: Samples, who: string, json: string): void {
  const { rttUs, connectUs } = JSON.parse(json) as { rttUs: number; connectUs: number };
  samples.add(`idle round trip ${who}`, 'us', rttUs);
  samples.add(`connect ${who}`, 'us', connectUs);
  // What is left after the handshake's round trip: the calls, the shim and the router.
  samples.add(`connect ${who}, without the round trip`, 'us', connectUs - rttUs);
}

/** Only ratios whose two sides were measured. */
function ratiosOf(samples: Samples): Record<string, number> {
  const all: Record<string, number> = {
    tcp1_vs_kernel_tun: samples.meanRatio('tcp1_up mlshim', 'tcp1_up kernel', 'tcp1_down mlshim', 'tcp1_down kernel'),
    tcp8_vs_kernel_tun: samples.meanRatio('tcp8_up mlshim', 'tcp8_up kernel', 'tcp8_down mlshim', 'tcp8_down kernel'),
    tcp1_up_vs_kernel_tun: samples.ratio('tcp1_up mlshim', 'tcp1_up kernel'),
    tcp1_down_vs_kernel_tun: samples.ratio('tcp1_down mlshim', 'tcp1_down kernel'),
    tcp8_up_vs_kernel_tun: samples.ratio('tcp8_up mlshim', 'tcp8_up kernel'),
    tcp8_down_vs_kernel_tun: samples.ratio('tcp8_down mlshim', 'tcp8_down kernel'),
    tcp1_up_vs_netstack: samples.ratio('tcp1_up mlshim', 'tcp1_up gVisor'),
    tcp1_down_vs_netstack: samples.ratio('tcp1_down mlshim', 'tcp1_down gVisor'),
    cpu_per_bit_vs_kernel_tun: samples.meanRatio(
      'tcp1_up mlshim CPU',
      'tcp1_up kernel CPU',
      'tcp1_down mlshim CPU',
      'tcp1_down kernel CPU',
    ),
    cpu_per_bit_up_vs_kernel_tun: samples.ratio('tcp1_up mlshim CPU', 'tcp1_up kernel CPU'),
    cpu_per_bit_down_vs_kernel_tun: samples.ratio('tcp1_down mlshim CPU', 'tcp1_down kernel CPU'),
    rtt_idle_vs_kernel_tun: samples.ratio('idle round trip mlshim', 'idle round trip kernel'),
    transit_vs_kernel_forwarding: samples.ratio('transit through mlshim', 'transit through kernel'),
    transit_cpu_vs_kernel_forwarding: samples.ratio(
      'transit through mlshim, router CPU',
      'transit through kernel, router CPU',
    ),
    napi_calls_per_packet: samples.median('addon calls per packet'),
    heap_growth_per_million_packets: samples.median('heap growth per million packets'),
    child_rss_mb_peak: samples.median('child resident set, peak'),
    connect_us: samples.median('connect mlshim, without the round trip'),
    accepts_per_second: samples.median('accepts per CPU second of the router'),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => Number.isFinite(value)));
}
