import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Speaker } from '../../../bgp/speaker.ts';
import { BgpMonitoring, type MonitoredSpeaker } from '../../../router/app/bgp-monitoring.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import type { BgpConfig } from '../../../router/config/bgp-model.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { until } from '../../bgp/kit/bird.ts';

interface Station {
  readonly port: number;
  readonly connections: readonly Socket[];
  /** Octets it was told. */
  said: number;
}

async function station(t: ExecutionContext): Promise<Station> {
  const connections: Socket[] = [];
  const server: Server = createServer((socket) => {
    connections.push(socket);
    socket.on('data', (b) => {
      self.said += b.length;
    });
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const self: Station = { port: (server.address() as AddressInfo).port, connections, said: 0 };
  return self;
}

const settings = (more: object): BgpConfig =>
  toBgp(bgpSchema.parse({ asn: 65001, router_id: '10.0.0.1', ...more }), '/nowhere/mlshim.yaml');

/** @returns also how many listen to the speaker */
function monitored(t: ExecutionContext, first: BgpConfig) {
  const speaker = new Speaker({
    asn: 65001,
    routerId: Addr.parse('10.0.0.1')!,
    clock: systemClock,
    random: () => 0.5,
    transport: { connect: () => ({ abort: () => undefined }), listen: () => undefined },
    sink: { apply: () => undefined },
    resolver: { isUp: () => true, subscribe: () => undefined },
  });
  let monitors = 0;
  const add = speaker.addMonitor.bind(speaker);
  speaker.addMonitor = (monitor) => {
    monitors++;
    const remove = add(monitor);
    return () => {
      monitors--;
      remove();
    };
  };
  const monitoring = new BgpMonitoring(
    first,
    speaker,
    [],
    'test',
    makeLogger(() => undefined, 'bgp', 'debug'),
  );
  t.teardown(() => monitoring.stop());
  monitoring.start();
  return { monitoring, speaker, monitors: () => monitors };
}

test('stations come and go one by one, and one that stays notices nothing', async (t) => {
  const [a, b, c] = await Promise.all([station(t), station(t), station(t)]);
  const bmp = (...of: Station[]): BgpConfig => settings({ bmp: of.map((s) => `127.0.0.1:${s.port}`) });
  const { monitoring, monitors } = monitored(t, bmp(a, b));
  await until(() => a.said > 0 && b.said > 0, 'both are told');
  const ended = new Promise((resolve) => a.connections[0]!.once('end', resolve));
  const before = b.said;
  monitoring.reload(bmp(b, c), []);
  await ended;
  await until(() => c.said > 0, 'the new one is told');
  await until(() => monitors() === 2, 'nothing is fed to the one that is gone');
  t.is(b.connections.length, 1);
  t.is(b.said, before);
});

test('stations are told everything anew when a VRF comes or has another distinguisher', async (t) => {
  const a = await station(t);
  const bmp = settings({ bmp: [`127.0.0.1:${a.port}`] });
  const { monitoring, speaker } = monitored(t, bmp);
  const red = (low: number): MonitoredSpeaker => ({
    name: 'red',
    speaker,
    distinguisher: { kind: 'rd', high: 65001, low },
  });
  for (const [connections, vrfs] of [
    [1, []],
    [2, [red(1)]],
    [2, [red(1)]],
    [3, [red(2)]],
  ] as const) {
    monitoring.reload(bmp, vrfs);
    await until(() => a.connections.length === connections && a.said > 0, 'the station is told');
  }
  t.is(a.connections.length, 3);
});

test('MRT files begin, change and end, each by itself', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const updates = { file: join(dir, 'updates') };
  const { monitoring, monitors } = monitored(t, settings({ mrt: { updates } }));
  t.is(monitors(), 1);
  monitoring.reload(settings({ mrt: { updates, tables: { file: join(dir, 'tables'), every: '1s' } } }), []);
  await until(() => readdirSync(dir).includes('tables'), 'a table is written');
  t.is(monitors(), 1);
  monitoring.reload(settings({ mrt: { updates: { file: join(dir, 'others') } } }), []);
  t.is(monitors(), 1);
  monitoring.reload(settings({}), []);
  t.is(monitors(), 0);
});
