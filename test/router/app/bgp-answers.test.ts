/** What the routing worker answers about peers and routes; the routes come from an MRT file that BIRD wrote. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { BgpAnswers, type BgpFacts } from '../../../router/app/bgp-answers.ts';
import { RoutingClient } from '../../../router/app/routing-client.ts';
import { parseConfig } from '../../../router/config/load.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { posted } from '../../../router/lib/post.ts';
import { hex } from '../../bgp/kit/describe.ts';

const GOLDEN = join(process.cwd(), 'test/golden/bgp/mrt/bird-2.0.12-table.hex');
const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
/** In the file: 172.20.1.0/24 of AS4242420009, 172.20.2.0/25 of AS4242420002, fd42:1::/48 of AS4242420009. */
const ROUTES = 3;

interface Room {
  readonly folder: string;
  readonly ask: RoutingClient['ask'];
}

/**
 * A router whose peer "file" has told its routes.
 * @param bgp lines of the `bgp` part
 * @param peer keys of the peer
 */
async function room(t: ExecutionContext, peer: string, bgp = '', filters = ''): Promise<Room> {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const line = readFileSync(GOLDEN, 'utf8').split('\n');
  writeFileSync(join(folder, 'bird.mrt'), hex(line.find((l) => l !== '' && !l.startsWith('#'))!));
  writeFileSync(join(folder, 'filters.mjs'), filters);
  const text = `uplinks: { a: { wireguard: { private_key: ${KEY}, addresses: [10.0.0.2/24] } } }
bgp:
  asn: 65001
  router_id: 10.0.0.2
  networks: [10.9.0.0/16]
  policy: transit
${filters === '' ? '' : '  filters: filters.mjs\n'}${bgp}
  peers:
    - { name: file, asn: 4242420002, address: 127.0.0.2, mrt: bird.mrt, ${peer} }
    - { name: core, asn: 65001, address: 10.0.0.1, via: a }
`;
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: join(folder, 'm.yaml'), text }, {});
  t.deepEqual(diagnostics, []);
  const worker = new Worker(new URL('../../../router/app/routing-worker.js', import.meta.url), {
    workerData: {
      links: [{ index: 2, name: 'a', vrf: 0, mtu: 1420, addresses: ['10.0.0.2/24'] }],
      vrfs: posted([]),
      routes: [],
      bgp: posted(config!.bgp),
      fpm: undefined,
      source: { v4: undefined, v6: undefined },
    },
  });
  t.teardown(() => worker.terminate());
  const routing = new RoutingClient(worker, () => undefined);
  await routing.ready;
  routing.send({ kind: 'start' });
  const ask: RoutingClient['ask'] = (question) => routing.ask(question);
  const received = async (): Promise<number> =>
    (await ask({ verb: 'bgp_show', args: { peer: 'file' } })).peers[0]!.received;
  while ((await received()) < ROUTES);
  return { folder, ask };
}

test('a peer shows its policies as they are written, and what failed in its filter', async (t) => {
  const { folder, ask } = await room(
    t,
    'import: { module: broken }, export: [no-default, { action: accept }]',
    '  policies: { no-default: [{ match: { prefix: 0.0.0.0/0 }, action: reject }] }',
    'export function broken(route) {\n  return route.nothing.at(0);\n}\n',
  );
  const { peers } = await ask({ verb: 'bgp_show', args: { peer: 'file' } });
  t.like(peers[0], {
    received: ROUTES,
    accepted: 0,
    import_policy: 'module broken',
    export_policy: 'rules (2)',
    filter_errors: ROUTES,
  });
  t.regex(peers[0]!.last_filter_error, new RegExp(`^${folder}/filters.mjs:2:24: TypeError: `));
  const { peers: others } = await ask({ verb: 'bgp_show', args: { peer: 'core' } });
  t.like(others[0], { import_policy: 'all', export_policy: 'all', filter_errors: 0, last_filter_error: '' });
});

test('an order that cannot be carried out now says why', async (t) => {
  const { ask } = await room(t, 'import: all');
  const order = (peer: string, action: string) => ask({ verb: 'bgp_peer', args: { peer, action } });
  await t.throwsAsync(order('core', 'refresh'), {
    code: 'NOT_NOW',
    message: 'bgp peer core cannot refresh now: its session is Idle',
  });
  await t.throwsAsync(order('file', 'stop'), { code: 'USAGE', message: /^"stop" is not one of up, down, / });
  await t.throwsAsync(ask({ verb: 'bgp_routes', args: { table: 'in', peer: '', prefix: '', vrf: 'red' } }), {
    message: 'no VRF "red" (known: none)',
  });
});

test('an address alone is the peer that has it; "for" asks for the routes around it', async (t) => {
  const { ask } = await room(t, 'import: all');
  const list = async (args: { readonly what?: string; readonly prefix?: string; readonly table?: string }) => {
    const all = { table: 'in', peer: '', prefix: '', ...args };
    const { routes, place } = await ask({ verb: 'bgp_routes', args: all });
    return [routes.map((r) => r.prefix).sort(), place];
  };
  const everything = ['172.20.1.0/24', '172.20.2.0/25', 'fd42:1::/48'];
  for (const what of ['127.0.0.2', 'file', 'AS4242420002']) t.deepEqual(await list({ what }), [everything, '']);
  t.deepEqual(await list({ prefix: '127.0.0.2' }), [[], '127.0.0.2']);
  t.deepEqual(await list({ what: '172.20.1.9' }), [['172.20.1.0/24'], '172.20.1.9']);
  await t.throwsAsync(list({ what: '172.20.1.0.1' }), { message: 'no bgp peer "172.20.1.0.1" (known: file, core)' });
});

test('a refused route is explained by the rule, its name and its line; a peer by why it is told or not', async (t) => {
  const { ask } = await room(
    t,
    'import: transit-in, export: [{ match: { source: local }, action: reject, name: ours }, accept]',
    `  policies:
    bogons:
      - { name: number 2, match: { prefix: 172.20.2.0/25 }, action: reject }
    transit-in:
      - bogons
      - { match: { family: ipv4 } }`,
  );
  const explain = (prefix: string, to = '') => ask({ verb: 'bgp_explain', args: { prefix, to } });
  const [second] = (await explain('172.20.2.0/25')).candidates;
  t.is(second!.route.refused, 'refused by import rule 1 "number 2" of bogons (m.yaml:9)');
  t.is(second!.lost_by, second!.route.refused);
  const rule = { policy: 'transit-in', list: 'bogons', number: 1, name: 'number 2', place: 'm.yaml:9', error: '' };
  t.deepEqual(second!.rule, rule);
  const [sixth] = (await explain('fd42:1::')).candidates;
  t.is(sixth!.route.prefix, 'fd42:1::/48');
  t.is(sixth!.route.refused, 'refused: no rule of transit-in accepts it');
  t.like(sixth!.rule, { policy: 'transit-in', number: 0, place: '' });
  t.is((await explain('172.20.1.0/24')).candidates[0]!.rule, undefined);

  const telling = async (prefix: string, to: string) => (await explain(prefix, to)).telling!;
  t.like(await telling('10.9.0.0/16', 'file'), {
    peer: 'file',
    told: false,
    routes: [],
    why: 'refused by export rule 1 "ours" (m.yaml:14)',
    rule: { policy: 'rules (2)', list: '', number: 1, name: 'ours', place: 'm.yaml:14', error: '' },
  });
  t.like(await telling('172.20.1.0/24', 'AS4242420002'), { told: false, why: 'there is no usable route to it' });
  t.is((await telling('172.20.1.0/24', 'core')).why, 'the session is not established (Idle)');
  await t.throwsAsync(telling('172.20.1.0/24', 'nobody'), { message: 'no bgp peer "nobody" (known: file, core)' });
});

test('a route is described by the table it is in, and by how many paths could have won', (t) => {
  const path = (asPath: string, more: object = {}) => ({ asPath, localPref: 100, isBest: false, ...more });
  const explaining = (...candidates: object[]) => ({ explain: () => candidates, peerNames: ['core'] });
  const main = explaining(path('65009 65002', { isBest: true }), path('65003'), path('65004', { refused: 'AS loop' }));
  const red = explaining(path('', { isBest: true }));
  const answers = new BgpAnswers({
    speaker: main,
    vrfs: { names: ['red'], named: (vrf: string) => (vrf === 'red' ? red : undefined), speakerOf: () => undefined },
  } as unknown as BgpFacts);
  const prefix = Prefix.parse('10.8.0.0/16')!;
  t.is(answers.describe(prefix, ''), 'BGP best of 2: AS path 65009 65002 (2), localpref 100');
  t.is(answers.describe(prefix, 'red'), 'BGP best of 1: AS path empty, localpref 100');
  t.throws(() => answers.describe(prefix, 'blue'), { message: 'no VRF "blue" (known: red)' });
});
