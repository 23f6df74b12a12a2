/**
 * The kernel backend as a user has it: a host with two shaped ways out and no tunnel, the daemon as root, apps without a shim.
 */
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';
import type { Samples } from './table.ts';

const STREAMS = 10;
const IPERF_S = '5';
const ROOT = { unprivileged: false };

interface Iperf {
  readonly end: { readonly sum_received: { readonly bits_per_second: number } };
}

async function mbit(isps: HostIsps, router: Router, group: string, streams: number): Promise<number> {
  const server = await isps.iperf();
  const iperf = ['iperf3', '--json', '-R', '-t', IPERF_S, '-c', HOST_SERVER.v4, '-P', String(streams)];
  const { status, stdout, stderr } = await router.cli(['run', '--group', group, '--', ...iperf], ROOT);
  await server.stop();
  if (status !== 0) throw new Error(`iperf3 ended with ${status}: ${stdout}${stderr}`);
  return (JSON.parse(stdout) as Iperf).end.sum_received.bits_per_second / 1e6;
}

/** `NAME alone, kernel` and `both, kernel`. @throws what the daemon says when it cannot carry the backend here */
export async function measureKernelBackend(
  samples: Samples,
  rounds: number,
  log: (line: string) => void,
): Promise<void> {
  const lab = new Lab();
  let router: Router | undefined;
  try {
    const host = await lab.namespace('a');
    const isps = new HostIsps(lab, host);
    await isps.build();
    router = new Router(lab, host, { uid: 0, gid: 0 });
    const uplinks = HOST_ISPS.map(
      (i) => `  ${i.name}: { bandwidth: ${i.rate}Mbit, kernel: { interface: ${i.device} } }\n`,
    );
    const alone = HOST_ISPS.map(({ name }) => `  - { match: { group: ${name} }, use: ${name} }\n`);
    const both = '  - { match: { group: both }, use: [fiber, lte] }\n';
    router.write(`backend: kernel\nisolation: device\nuplinks:\n${uplinks.join('')}rules:\n${alone.join('')}${both}`);
    await router.up(ROOT);
    for (let round = 0; round < rounds; round++) {
      log(`kernel backend, round ${round + 1} of ${rounds}`);
      for (const { name } of HOST_ISPS)
        samples.add(`${name} alone, kernel`, 'Mbit/s', await mbit(isps, router, name, STREAMS / 2));
      samples.add('both, kernel', 'Mbit/s', await mbit(isps, router, 'both', STREAMS));
    }
  } finally {
    await router?.cli(['down'], ROOT);
    await lab.close();
  }
}
