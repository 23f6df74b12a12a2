/**
 * End to end through WireGuard, in the same rounds: an app under mlshim's shim, kernel TCP over wireguard-go on a kernel
 * TUN, and gVisor's TCP inside wireguard-go (the engine of user-space WireGuard proxies), all against one far end.
 * Needs root for the namespaces; mlshim and its apps run as uid nobody. Both ends share this machine's CPUs, so Gbit/s say
 * little without the CPU seconds per Gbit beside them.
 */
import { join } from 'node:path';
import { Lab } from '../kit/lab.ts';
import { buildNetstack, type Chain, cpuOf, KernelEnd, MlshimEnd, makeChain, NetstackEnd } from './e2e-lab.ts';
import { type BenchOptions, type BenchReport, Samples } from './table.ts';

const SECONDS = 3;
const FAR = '10.99.0.1';
const IPERF_PORT = 5201;
const SINK_PORT = 5301;
const ECHO_PORT = 5401;
const PINGPONG = join(import.meta.dirname, 'pingpong.js');
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
    await lab.start(far.ns, process.execPath, [PINGPONG, 'serve', String(ECHO_PORT)]).until(/listening/);
    const withMlshim = await startMlshim(mlshim, farFrom(2), notes);

    const chains: [string, Chain][] = [['kernel', await makeChain(lab, 'kernel', IPERF_PORT)]];
    if (withMlshim) chains.push(['mlshim', await makeChain(lab, 'mlshim', IPERF_PORT)]);

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
      log(`round ${round} of ${rounds}: transit`);
      for (const [who, chain] of chains) await transitCase(samples, lab, who, chain);
      log(`round ${round} of ${rounds}: latency`);
      const args = [PINGPONG, FAR, String(ECHO_PORT), '200', '50'];
      addLatency(samples, 'kernel', await lab.ok(kernel.ns, process.execPath, args));
      if (withMlshim) addLatency(samples, 'mlshim', (await mlshim.app(process.execPath, args, RUN_LIMIT_MS)).stdout);
    }
    if (withMlshim) samples.add('child resident set, peak', 'MiB', mlshim.childPeakMib());
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
    tcp1_vs_kernel_tun: samples.ratio('tcp1_up mlshim', 'tcp1_up kernel'),
    tcp1_down_vs_kernel_tun: samples.ratio('tcp1_down mlshim', 'tcp1_down kernel'),
    tcp8_vs_kernel_tun: samples.ratio('tcp8_up mlshim', 'tcp8_up kernel'),
    tcp8_down_vs_kernel_tun: samples.ratio('tcp8_down mlshim', 'tcp8_down kernel'),
    tcp1_up_vs_netstack: samples.ratio('tcp1_up mlshim', 'tcp1_up gVisor'),
    tcp1_down_vs_netstack: samples.ratio('tcp1_down mlshim', 'tcp1_down gVisor'),
    kernel_tun_vs_netstack_up: samples.ratio('tcp1_up kernel', 'tcp1_up gVisor'),
    cpu_per_bit_vs_kernel_tun: samples.ratio('tcp1_up mlshim CPU', 'tcp1_up kernel CPU'),
    rtt_idle_vs_kernel_tun: samples.ratio('idle round trip mlshim', 'idle round trip kernel'),
    transit_vs_kernel_forwarding: samples.ratio('transit through mlshim', 'transit through kernel'),
    connect_us: samples.median('connect mlshim, without the round trip'),
    child_rss_mb_peak: samples.median('child resident set, peak'),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => Number.isFinite(value)));
}
