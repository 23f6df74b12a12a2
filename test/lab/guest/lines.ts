/** The access lines the other suites measure on: each has its own rate, delay and resolver, and fails as lines do. */
import assert from 'node:assert/strict';
import { AccessLines, gateway, hostAddresses, LINES } from '../../kit/access-lines.ts';
import { best, mbps } from '../../kit/iperf.ts';
import { SERVER } from '../../kit/isps.ts';
import { HOST, type Suite, type Trial } from './case.ts';

let access: AccessLines;

async function setup({ lab }: Trial): Promise<void> {
  access = new AccessLines(lab, HOST);
  await access.build({ withDelay: true });
  await access.resolvers();
  await access.iperf();
}

async function rates({ lab, log }: Trial): Promise<void> {
  for (const { device, rate } of LINES) {
    const bound = ['-c', SERVER.v4, '--bind-dev', device, '-R', '-P', '4', '-t', '2', '-J'];
    const measured = await best(rate * 0.85, async () => mbps(await lab.ok(HOST, 'iperf3', bound)));
    log(`${device}: ${measured.toFixed(1)} of ${rate} Mbit/s`);
    assert.ok(measured > rate * 0.85 && measured < rate * 1.1, `${device}: ${measured} Mbit/s`);
  }
}

async function delays({ lab, log }: Trial): Promise<void> {
  for (const { device, delayMs } of LINES)
    for (const server of [SERVER.v4, SERVER.v6]) {
      const said = await lab.ok(HOST, 'ping', ['-I', device, '-c', '3', '-i', '0.2', server]);
      const rtt = Number(/= ([\d.]+)\//.exec(said)![1]);
      log(`${device} to ${server}: ${rtt} ms`);
      assert.ok(rtt >= delayMs && rtt < delayMs + 30, said);
    }
}

async function whichOf(lab: Trial['lab'], resolver: string): Promise<string> {
  return (await lab.ok(HOST, 'dig', ['+short', '+tries=1', `@${resolver}`, 'which.example'])).trim();
}

async function resolvers({ lab }: Trial): Promise<void> {
  for (const line of LINES)
    for (const resolver of Object.values(gateway(line))) assert.equal(await whichOf(lab, resolver), line.which);
}

async function failures({ lab }: Trial): Promise<void> {
  const line = LINES[1]!;
  const reach = async (to: string): Promise<boolean> =>
    (await lab.run(HOST, 'ping', ['-I', line.device, '-c', '1', '-W', '1', to])).status === 0;
  for (const [kind, router] of [
    ['cut', true],
    ['unplug', false],
  ] as const) {
    await access[kind](line.name, true);
    assert.equal(await reach(SERVER.v4), false, kind);
    assert.equal(await reach(gateway(line).v4), router, `${kind}: the line's router`);
    await access[kind](line.name, false);
    await lab.eventually(`${kind}, mended: IPv4`, () => reach(SERVER.v4), 10_000);
    await lab.eventually(`${kind}, mended: IPv6`, () => reach(SERVER.v6), 10_000);
  }
  const addresses = await lab.ok(HOST, 'ip', ['addr', 'show', 'dev', line.device]);
  for (const address of Object.values(hostAddresses(line))) assert.ok(addresses.includes(address), addresses);
}

export const lines: Suite = {
  name: 'lines',
  boot: 'measured',
  setup,
  cases: [
    { name: 'lines-rates', title: "each access line of the guest carries its rate from the server's side", run: rates },
    { name: 'lines-delays', title: 'each access line has its own delay, for IPv4 and IPv6', run: delays },
    { name: 'lines-resolvers', title: 'each access line has a resolver with answers of its own', run: resolvers },
    {
      name: 'lines-failures',
      title: 'a line that is cut or unplugged carries nothing, and carries again',
      run: failures,
    },
  ],
};
