/** Filter functions that misbehave, in a routing worker: a file of routes is read through them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { RoutingClient } from '../../../router/app/routing-client.ts';
import { RoutingSupervisor } from '../../../router/app/routing-supervisor.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import type { BgpPeerStatus } from '../../../router/control/messages.ts';
import { type LogLine, makeLogger } from '../../../router/lib/log.ts';
import { posted } from '../../../router/lib/post.ts';
import { until } from '../../bgp/kit/bird.ts';
import { birdFile, TABLE_ASN } from '../../bgp/kit/mrt.ts';

interface Stage {
  readonly supervisor: RoutingSupervisor;
  readonly log: LogLine[];
  peer(): Promise<BgpPeerStatus>;
}

/**
 * A worker whose only peer is a file, read through `fromPeer` of a module with this text.
 * @param others what the module is changed to before each of the workers that follow
 */
async function begin(t: ExecutionContext, module: string, others: readonly string[] = []): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const texts = [module, ...others];
  const peer = {
    name: 'x',
    asn: TABLE_ASN,
    address: '127.0.0.2',
    mrt: birdFile(folder),
    import: { module: 'fromPeer' },
  };
  const settings = { asn: 65001, router_id: '10.0.0.2', filters: './f.mjs', peers: [peer] };
  const log: LogLine[] = [];
  const supervisor = new RoutingSupervisor(
    {
      boot: () => {
        const text = texts.shift();
        if (text !== undefined) writeFileSync(join(folder, 'f.mjs'), text);
        const bgp = posted(toBgp(bgpSchema.parse(settings), join(folder, 'mlshim.yaml')));
        const source = { v4: undefined, v6: undefined };
        return { links: [], vrfs: posted([]), routes: [], bgp, fpm: undefined, source };
      },
      onEvent: (e) => void (e.kind === 'log' && log.push(e)),
      toDataplane: () => undefined,
      closeFd: () => undefined,
      restarted: (client: RoutingClient) => client.send({ kind: 'start' }),
      gaveUp: () => t.fail('the router ended'),
    },
    makeLogger((line) => log.push(line), 'routing', 'debug'),
    300,
  );
  t.teardown(() => supervisor.stop());
  await supervisor.start();
  supervisor.serve();
  supervisor.client.send({ kind: 'start' });
  return {
    supervisor,
    log,
    peer: async () => (await supervisor.client.ask({ verb: 'bgp_show', args: { peer: 'x' } })).peers[0]!,
  };
}

test('a function that does not end costs one worker; the next one refuses what it was to judge, and says so', async (t) => {
  const s = await begin(t, 'export const fromPeer = (r) => { while (r.family === 4); return r; };\n');
  await until(() => s.log.some((l) => l.message === 'a filter function does not end'), 'the function to be noticed');
  t.is(s.log.find((l) => l.message === 'a filter function does not end')!.fields['function'], 'fromPeer');
  await until(async () => (await s.peer().catch(() => undefined))?.filter_errors !== undefined, 'another worker');
  await until(async () => (await s.peer()).filter_errors > 0, 'its routes');
  t.regex((await s.peer()).last_filter_error, /^Error: it did not end within 5 s and is not asked again/);
  t.is(s.log.filter((l) => l.message === 'worker ended').length, 1);
});

test('an operator who tries again and again has a router still: functions that do not end are no faults of workers', async (t) => {
  const endless = (n: number): string =>
    `export const fromPeer = (r) => { while (r.family === 4); return r; }; // ${n}\n`;
  const s = await begin(t, endless(0), [endless(1), endless(2), 'export const fromPeer = (r) => r;\n']);
  await until(async () => ((await s.peer().catch(() => undefined))?.accepted ?? 0) > 0, 'the routes');
  t.is(s.log.filter((l) => l.message === 'a filter function does not end').length, 3);
});

test('what a function leaves behind may fail without ending the worker, and is logged with its place', async (t) => {
  const s = await begin(
    t,
    `export function fromPeer(r) {
  setTimeout(() => { throw new Error('a timer'); }, 1);
  void Promise.reject(new Error('a promise'));
  return r;
}\n`,
  );
  const failures = (): string[] =>
    s.log.flatMap((l) => (l.message.startsWith('a filter function failed') ? [String(l.fields['error'])] : []));
  await until(
    () => ['timer', 'promise'].every((what) => failures().some((f) => f.endsWith(`Error: a ${what}`))),
    'both',
  );
  t.regex(failures()[0]!, /f\.mjs:\d:\d+: Error: a /);
  t.true((await s.peer()).received > 0);
  t.is(s.log.filter((l) => l.message === 'worker ended').length, 0);
});
