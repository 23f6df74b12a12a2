/** MRT files as peers and as output: a table that BIRD dumped is replayed, written again, and read by bgpdump. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { Speaker } from '../../../bgp/speaker.ts';
import { MrtFiles, nameAt } from '../../../router/app/mrt-files.ts';
import { MrtTransport } from '../../../router/app/mrt-transport.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { driveByClock } from '../../bgp/kit/loopback.ts';
import { TABLE_ASN as ASN, birdFile } from '../../bgp/kit/mrt.ts';

const quiet = makeLogger(() => undefined, 'test', 'error');

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-mrt-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Replay {
  readonly speaker: Speaker;
  /** Resolves when `when` holds; looks at every change of the session or the tables. */
  until(when: () => boolean): Promise<void>;
}

function replay(t: ExecutionContext, path: string, asn = ASN): Replay {
  const address = Addr.parse('127.0.0.2')!;
  const transport = new MrtTransport([{ name: 'file', path, asn, address, isExternal: true }]);
  let look = (): void => undefined;
  const speaker = new Speaker({
    asn: 65001,
    routerId: Addr.parse('10.0.0.1')!,
    clock: systemClock,
    random: Math.random,
    transport,
    sink: { apply: () => look() },
    resolver: { isUp: () => true, subscribe: () => undefined },
    onEvent: () => look(),
  });
  speaker.addPeer({ name: 'file', address, link: 'x', asn, multihop: true, import: 'accept-all', connectRetryMs: 10 });
  const stop = driveByClock(speaker);
  t.teardown(() => {
    stop();
    transport.close();
  });
  return {
    speaker,
    until: (when) =>
      new Promise((resolve) => {
        look = () => {
          if (when()) resolve();
        };
        look();
        speaker.start();
      }),
  };
}

test('the routes of a file are those of an ordinary peer, and LOCAL_PREF of its router stays behind', async (t) => {
  const { speaker, until } = replay(t, birdFile(folderOf(t)));
  await until(() => speaker.totals.ipv4 === 2 && speaker.totals.ipv6 === 1);
  const [peer] = speaker.snapshot();
  t.like(peer, { state: 'Established', faults: 0, holdTimeS: 0, asn: ASN });
  t.deepEqual(
    [...speaker.routes('in')].map((r) => [r.prefix, r.asPath, r.nextHop, [...r.communities, ...r.largeCommunities]]),
    [
      ['172.20.1.0/24', '4242420002 4242420009', '10.9.9.2', ['64511:5']],
      ['172.20.2.0/25', '4242420002', '10.9.9.2', ['64512:1:2']],
      ['fd42:1::/48', '4242420002 4242420009', 'fd00:9::2', []],
    ],
  );
});

test('a file that is not there, or is not MRT, is the reason the peer is down', async (t) => {
  const folder = folderOf(t);
  const missing = replay(t, join(folder, 'nothing.mrt'));
  await missing.until(() => missing.speaker.snapshot()[0]!.lastError !== undefined);
  t.regex(missing.speaker.snapshot()[0]!.lastError!.text, /nothing\.mrt: ENOENT/);

  const path = join(folder, 'text.mrt');
  writeFileSync(path, 'this is not an MRT file at all, it is a sentence\n');
  const bad = replay(t, path);
  const text = (): string => bad.speaker.snapshot()[0]!.lastError?.text ?? '';
  await bad.until(() => text() !== '');
  t.regex(text(), /text\.mrt: (a record of \d+ octets|\d+ octets are left over)/);
});

test('names of files follow the time', (t) => {
  const at = Date.UTC(2026, 10, 26, 4, 5, 6);
  t.is(nameAt('/x/rib.%Y%m%d.%H%M%S.mrt', at), '/x/rib.20261126.040506.mrt');
  t.is(nameAt('100%%.mrt', at), '100%.mrt');
});

const BGPDUMP = '/usr/bin/bgpdump';
const dumped = existsSync(BGPDUMP) ? test : test.skip;

dumped(
  `bgpdump reads what we write as it reads BIRD's own file${existsSync(BGPDUMP) ? '' : ' (not installed: bgpdump)'}`,
  async (t) => {
    const folder = folderOf(t);
    const source = birdFile(folder);
    const { speaker, until } = replay(t, source);
    const files = new MrtFiles(speaker, quiet);
    const log = join(folder, 'log', 'updates.mrt');
    files.updates({ path: log, everyS: 900 });
    await until(() => speaker.totals.ipv4 === 2 && speaker.totals.ipv6 === 1);
    files.stop();
    const table = join(folder, 'ours.mrt');
    writeFileSync(table, Buffer.concat([...speaker.monitoring.mrtTable(() => 1)]));
    // Kind, time and local preference aside, which are the router's own.
    const lines = async (file: string): Promise<string[]> => {
      const { stdout } = await promisify(execFile)(BGPDUMP, ['-m', file]);
      return stdout
        .split('\n')
        .filter((l) => /^(TABLE_DUMP2|BGP4MP)\|\d+\|[BA]\|/.test(l))
        .map((l) =>
          l
            .split('|')
            .filter((_, i) => ![0, 1, 2, 9].includes(i))
            .join('|'),
        )
        .sort();
    };
    const expected = await lines(source);
    t.is(expected.length, 3);
    t.deepEqual(await lines(table), expected);
    t.deepEqual(await lines(log), expected);
  },
);
