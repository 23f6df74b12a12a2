/** The speakers of VRFs have the same settings as the main one, and no name of theirs stands in a user's way. */
import test from 'ava';
import { RoaTable, VrpList } from '../../../bgp/speaker.ts';
import { parseDistinguisher, parseRouteTarget } from '../../../bgp/vpn/route-distinguisher.ts';
import type { StreamPort } from '../../../router/app/bgp-transport.ts';
import { VrfSpeakers } from '../../../router/app/vrf-speakers.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import { crossTo } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { until } from '../../bgp/kit/bird.ts';

const NETWORK = Prefix.parse('192.168.1.0/24')!;
const target = parseRouteTarget('64601:100')!;

interface Parts {
  readonly roas?: RoaTable;
  readonly fib?: FibWriter;
  /** More VRFs, which import what red exports. */
  readonly importers?: readonly string[];
}

function speakers(
  bgp: object,
  { roas = new RoaTable(), fib = new FibWriter(), importers = [] }: Parts = {},
): VrfSpeakers {
  const settings = toBgp(
    bgpSchema.parse({ asn: 64601, router_id: '10.0.0.1', ...bgp }),
    '/nowhere/mlshim.yaml',
    () => 'wireguard',
  );
  const port: StreamPort = { connect: () => undefined!, listen: () => undefined, secure: () => undefined };
  return new VrfSpeakers({
    settings,
    vrfs: [
      {
        name: 'red',
        number: 1,
        config: {
          name: 'red',
          rd: parseDistinguisher('64601:1')!,
          importTargets: [target],
          exportTargets: [target],
          networks: [{ prefix: NETWORK }],
        },
      },
      ...importers.map((name, i) => ({
        name,
        number: 2 + i,
        config: {
          name,
          rd: parseDistinguisher(`64601:${2 + i}`)!,
          importTargets: [target],
          exportTargets: [],
          networks: [],
        },
      })),
    ],
    links: [{ index: 2, name: 'a', vrf: 1, mtu: 1420, addresses: ['10.1.0.1/30'] }],
    fib,
    random: () => 0.5,
    filters: new Map(),
    roas,
    port: () => port,
    sourceTo: () => undefined,
    changed: () => undefined,
    onEvent: () => undefined,
    restarting: undefined,
    onError: () => undefined,
    wake: () => undefined,
  });
}

test('a peer may be called "vpn", and the session inside the process cannot be named', (t) => {
  const vrfs = speakers({ peers: [{ name: 'vpn', asn: 64701, address: '10.1.0.2', via: 'a' }] });
  t.is(vrfs.speakerOf('vpn'), vrfs.named('red'));
  t.is(vrfs.speakerOf('(vpn)'), undefined);
  t.deepEqual(
    vrfs.snapshot().map((v) => v.name),
    ['vpn'],
  );
});

test('stations tell VRFs apart by name and route distinguisher', (t) => {
  t.deepEqual(
    speakers({}, { importers: ['blue'] })
      .monitored()
      .map((m) => [m.name, m.distinguisher]),
    [
      ['red', { kind: 'rd', ...parseDistinguisher('64601:1')! }],
      ['blue', { kind: 'rd', ...parseDistinguisher('64601:2')! }],
    ],
  );
});

test('ROAs judge the routes of VRFs too', (t) => {
  const roas = new RoaTable();
  const vrfs = speakers({}, { roas });
  const state = (): unknown => [...vrfs.named('red')!.routes('best')][0]?.roa;
  const before = state();
  const list = new VrpList();
  list.add(4, NETWORK.addr.a3, 0, 0, 0, NETWORK.length, 24, 64999);
  roas.addSource('test').update(list).step();
  t.is(before, 'unknown');
  t.is(state(), 'invalid');
});

test('what one VRF imports from another goes on by the table of that one, and no listing shows the sessions between them', async (t) => {
  const fib = new FibWriter();
  const vrfs = speakers({}, { fib, importers: ['blue'] });
  vrfs.start();
  const route = () => fib.exactRoute(2, NETWORK)[0];
  await until(() => route() !== undefined, 'the route of red in blue');
  t.deepEqual(route()?.nextHops, [{ link: crossTo(1), gateway: undefined }]);
  t.deepEqual(vrfs.snapshot(), []);
  t.is(vrfs.speakerOf('(vrf red)'), undefined);
  t.deepEqual(
    vrfs
      .named('blue')!
      .explain(NETWORK)
      .map((c) => [c.peer, c.nextHop]),
    [['(vrf red)', '10.1.0.1']],
  );
  await vrfs.stop((s) => s.shutdown('the test is over'), 10);
});
