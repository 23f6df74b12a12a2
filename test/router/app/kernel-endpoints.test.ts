import test from 'ava';
import { KernelEndpoints } from '../../../router/app/kernel-endpoints.ts';
import type { TunnelState } from '../../../router/app/kernel-tunnels.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { makeLogger } from '../../../router/lib/log.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PEER = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';
const START = 1_700_000_000_000;

function config(endpoint: string): Config {
  const text = `uplinks: { vpn: { wireguard: { private_key: ${KEY}, addresses: [10.0.0.2/24], peers: [{ public_key: ${PEER}, endpoint: '${endpoint}' }] } } }`;
  const { config, diagnostics } = parseConfig({ shown: 'x.yaml', path: '/x.yaml', text }, {});
  if (config === undefined) throw new Error(JSON.stringify(diagnostics));
  return config;
}

/** Endpoints with a clock and a resolver of ours. */
function endpoints() {
  const said: string[] = [];
  const world = { now: START, answer: ['192.0.2.1'] as readonly string[], moves: 0, asked: [] as string[], said };
  const log = makeLogger(({ message }) => said.push(message), 'wg');
  const all = new KernelEndpoints(
    {
      resolve: async (uplink, host) => {
        world.asked.push(`${uplink} ${host}`);
        if (world.answer.length === 0) throw new Error('no such name');
        return world.answer.map((a) => Addr.parse(a)!);
      },
      moved: () => {
        world.moves++;
      },
    },
    log,
    () => world.now,
  );
  const where = (c: Config): string => {
    const found = all.of('vpn', c.uplinks[0]!.wireguard!.peers[0]!);
    return found === undefined ? '' : `${found.addr} ${found.port}`;
  };
  /** The tunnel is looked at: octets sent, and when the peer answered last. */
  const look = async (c: Config, txBytes: number, latestHandshakeMs: number): Promise<void> => {
    const { publicKey } = c.uplinks[0]!.wireguard!.peers[0]!;
    const peer = { publicKey, txBytes, latestHandshakeMs, rxBytes: 0, endpoint: undefined };
    all.look(new Map([['vpn', { failed: 0, peers: [peer] } as unknown as TunnelState]]));
    await new Promise((done) => setImmediate(done));
  };
  return { all, world, where, look };
}

test('a peer that answers no more is found at its new address, and is asked for every 20 s', async (t) => {
  const { all, world, where, look } = endpoints();
  const c = config('peer.example:7');
  await all.adopt(c);
  t.is(where(c), '192.0.2.1 7');
  await look(c, 100, START);
  world.now += 134_000;
  await look(c, 900, START);
  t.is(world.asked.length, 1);
  world.now += 1000;
  await look(c, 1000, START);
  t.is(world.asked.length, 2);
  t.is(world.moves, 1, 'the first address; the second answer was the same');
  world.answer = ['198.51.100.1'];
  world.now += 19_000;
  await look(c, 1100, START);
  t.is(world.asked.length, 2);
  world.now += 1000;
  await look(c, 1200, START);
  t.deepEqual(world.asked, Array(3).fill('vpn peer.example'));
  t.is(world.moves, 2);
  t.is(where(c), '198.51.100.1 7');
});

test('a name without an address is told and asked again', async (t) => {
  const { all, world, where, look } = endpoints();
  const c = config('peer.example:7');
  world.answer = [];
  await all.adopt(c);
  t.is(where(c), '');
  t.deepEqual(all.errorsOf('vpn'), ['no such name']);
  world.answer = ['192.0.2.1'];
  world.now += 1000;
  await look(c, 0, 0);
  t.is(where(c), '192.0.2.1 7');
  t.deepEqual([all.errorsOf('vpn').length, world.moves], [0, 1]);
});

test('a configuration that is refused leaves the endpoints of the one before', async (t) => {
  const { all, world, where } = endpoints();
  const [one, other] = [config('peer.example:7'), config('192.0.2.77:8')];
  await all.adopt(one);
  await all.adopt(other);
  t.deepEqual([where(one), where(other)], ['192.0.2.1 7', '192.0.2.77 8']);
  all.retain(other);
  t.deepEqual([where(one), where(other)], ['', '192.0.2.77 8']);
  t.is(world.asked.length, 1, 'an address is not asked for');
});

test('an address of one interface is a problem in words', async (t) => {
  const { all, world } = endpoints();
  await all.adopt(config('[fe80::1%eth0]:7'));
  t.regex(all.errorsOf('vpn').join(), /\[fe80::1%eth0\]:7 names an interface/);
  t.is(world.asked.length, 0);
});
