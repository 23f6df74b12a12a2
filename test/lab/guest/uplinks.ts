/** Applications on two access lines through the kernel backend: the sum of both, rules, names, failures. */
import assert from 'node:assert/strict';
import { hostAddresses, LINES, type LinePlan, VIDEO } from '../../kit/access-lines.ts';
import { best } from '../../kit/iperf.ts';
import { SERVER } from '../../kit/isps.ts';
import type { Case, Suite, Trial } from './case.ts';
import { downloadCases } from './downloads.ts';
import { alternates, asksByLine, HostRouter, QUICK, shown, WIFI, WIRED } from './host-router.ts';
import { opener, readOpened, tally } from './opens.ts';

/** A new flow goes elsewhere this long after a line was cut, at the latest: two probes of 200 ms and one's timeout, and a slow machine. */
const MOVES_IN_MS = 1_000;
const STREAMS = 10;
/** Octets of a full frame on the line, and what of them is the application's: TCP with timestamps; UDP of 1,400 octets. */
const GOODPUT: Readonly<Record<string, number>> = {
  'tcp v4': 1448 / 1514,
  'tcp v6': 1428 / 1514,
  'udp v4': 1400 / 1442,
  'udp v6': 1400 / 1462,
};
/** Of both lines. */
const RATES = LINES.reduce((all, { rate }) => all + rate, 0);

let host: HostRouter;

async function setup(trial: Trial): Promise<void> {
  host = new HostRouter(trial);
  await host.build();
  host.configure();
  await host.up();
}

function sum(protocol: 'tcp' | 'udp', family: 'v4' | 'v6'): Case {
  const goodput = GOODPUT[`${protocol} ${family}`]!;
  const lines = RATES * goodput;
  const words = ['-c', SERVER[family], '-P', String(STREAMS), '-R', '-O', '1', '-t', '3'];
  if (protocol === 'udp') words.push('-u', '-l', '1400', '-b', '8M');
  return {
    name: `sum-${protocol}-${family}`,
    title: `ten ${protocol.toUpperCase()} streams of one application get the sum of both lines (IP${family})`,
    run: async ({ log, figure }) => {
      const measured = await best(0.95 * lines, async () => {
        const { mbit, streams } = await host.iperf(undefined, ...words);
        log(
          `${mbit.toFixed(1)} of ${lines.toFixed(1)} Mbit/s (${((100 * mbit) / lines).toFixed(0)} %): ${shown(streams)}`,
        );
        assert.deepEqual(Object.keys(streams).sort(), host.addresses(family).sort());
        return mbit;
      });
      figure('sum_of_uplinks', measured / RATES);
      figure('sum_of_uplinks_payload', measured / lines);
      assert.ok(measured >= 0.95 * lines, `${measured} Mbit/s`);
    },
  };
}

function onlyOne(group: string, line: LinePlan): Case {
  return {
    name: `group-${group}`,
    title: `an application of the group "${group}" uses ${line.device} only`,
    run: async ({ log }) => {
      const { mbit, streams } = await host.iperf(group, '-c', SERVER.v4, '-P', '4', '-R', '-t', '2');
      log(`${mbit.toFixed(1)} of ${line.rate} Mbit/s: ${shown(streams)}`);
      assert.deepEqual(streams, { [hostAddresses(line).v4]: 4 });
      assert.ok(mbit < line.rate);
      const found = tally(await host.open(group, 'udp', { to: SERVER.v6, count: 6 }));
      assert.deepEqual(found, { [hostAddresses(line).v6]: 6 });
    },
  };
}

async function refuses(): Promise<void> {
  await assert.rejects(host.app(undefined, 'curl', '-sS', '--max-time', '5', `http://${SERVER.v4}:5999/`), (error) =>
    /ended with 7:/.test(String(error)),
  );
}

async function byDomain({ log }: Trial): Promise<void> {
  const found = tally(await host.open(undefined, 'tcp', { to: VIDEO.name, count: 6 }));
  log(shown(found));
  assert.deepEqual(found, { [hostAddresses(WIFI).v4]: 6 });
}

/** Longer than a connection takes to come about. */
const CONNECTS_IN_MS = 500;

async function moves({ lab, log, figure }: Trial): Promise<void> {
  host.configure({ probe: QUICK });
  await host.reload();
  await host.usable({ wired: true, wifi: true });
  const app = host.start('mixed', ...opener('tcp', { count: 0, everyMs: 20 }));
  const from = hostAddresses(WIFI).v4;
  await app.until(new RegExp(`"from":"${from}"`));
  const cutAt = Date.now();
  await host.access.cut('wifi', true);
  await host.usable({ wired: true, wifi: false });
  await lab.eventually('sockets open after it', async () =>
    readOpened(app.stdout).some(({ at }) => at > cutAt + 2 * MOVES_IN_MS),
  );
  const mendedAt = Date.now();
  await host.access.cut('wifi', false);
  await host.usable({ wired: true, wifi: true });
  await lab.eventually('the line is used again', async () =>
    readOpened(app.stdout).some((one) => one.at > mendedAt && one.from === from),
  );
  await app.stop();
  const opened = readOpened(app.stdout);
  // What was connecting when the line was cut fails too: it began before.
  const isLost = (one: { at: number; error?: string; from?: string }): boolean =>
    one.at < mendedAt &&
    (one.error === undefined ? one.at > cutAt && one.from === from : one.at > cutAt - CONNECTS_IN_MS);
  const last = Math.max(cutAt, ...opened.filter(isLost).map(({ at }) => at));
  log(`${opened.length} sockets; the last that still went to the cut line began ${last - cutAt} ms after the cut`);
  figure('failover_seconds', (last - cutAt) / 1000);
  assert.ok(last - cutAt <= MOVES_IN_MS);
  assert.deepEqual(
    opened.filter((one) => one.error !== undefined && !isLost(one)),
    [],
    'no other socket failed',
  );
  host.configure();
  await host.reload();
}

async function reported(): Promise<void> {
  const { backend, uplinks } = await host.status();
  assert.equal(backend, 'kernel');
  assert.deepEqual(
    uplinks.map(({ name, usable }) => [name, usable]),
    LINES.map(({ name }) => [name, true]),
  );
}

export const uplinks: Suite = {
  name: 'uplinks',
  boot: 'measured',
  setup,
  teardown: () => host.down(),
  cases: [
    { name: 'uplinks-status', title: 'the daemon reports the kernel backend and both uplinks', run: reported },
    sum('tcp', 'v4'),
    sum('tcp', 'v6'),
    sum('udp', 'v4'),
    sum('udp', 'v6'),
    onlyOne('wired', WIRED),
    onlyOne('wireless', WIFI),
    {
      name: 'group-mixed',
      title:
        'sockets of a group of equal weights alternate: TCP, UDP and the first datagram of unconnected UDP sockets',
      run: ({ log }) => alternates(host, log),
    },
    { name: 'rule-reject', title: 'what a rule rejects is refused at once', run: refuses },
    {
      name: 'names-plain',
      title: "names are asked of the resolver of an application's own line",
      run: ({ log }) => asksByLine(host, log),
    },
    {
      name: 'rule-domain',
      title: 'a rule by domain holds for the first connection to a name just asked for',
      run: byDomain,
    },
    {
      name: 'line-cut',
      title: 'new flows leave a line that was cut within a second and use it again when it is back',
      run: moves,
    },
    ...downloadCases(() => host),
  ],
};
