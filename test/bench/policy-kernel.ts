/**
 * The kernel backend as a user has it: a host with two shaped ways out and no tunnel, the daemon as root, apps without a shim.
 */
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { iperf } from '../kit/iperf.ts';
import { Lab } from '../kit/lab.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';
import type { Samples } from './table.ts';

const STREAMS = 10;
const IPERF = ['-R', '-t', '5', '-c', HOST_SERVER.v4, '-P'];

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
    router = new Router(lab, host, ROOT_ACCOUNT);
    const uplinks = HOST_ISPS.map(
      (i) => `  ${i.name}: { bandwidth: ${i.rate}Mbit, kernel: { interface: ${i.device} } }\n`,
    );
    const alone = HOST_ISPS.map(({ name }) => `  - { match: { group: ${name} }, use: ${name} }\n`);
    const both = '  - { match: { group: both }, use: [fiber, lte] }\n';
    router.write(`backend: kernel\nisolation: device\nuplinks:\n${uplinks.join('')}rules:\n${alone.join('')}${both}`);
    await router.up();
    const context = { isps, router };
    const mbit = async (group: string, streams: number): Promise<number> =>
      (await iperf(context, group, ...IPERF, String(streams))).mbit;
    for (let round = 0; round < rounds; round++) {
      log(`kernel backend, round ${round + 1} of ${rounds}`);
      for (const { name } of HOST_ISPS) samples.add(`${name} alone, kernel`, 'Mbit/s', await mbit(name, STREAMS / 2));
      samples.add('both, kernel', 'Mbit/s', await mbit('both', STREAMS));
    }
  } finally {
    await router?.cli(['down']);
    await lab.close();
  }
}
