import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Io } from '../../../router/cli/command.ts';
import { main } from '../../../router/cli/main.ts';
import { bgpEventLine } from '../../../router/cli/watch.ts';
import type { BgpRouteStatus, Verbs } from '../../../router/control/messages.ts';
import { pathsIn } from '../../../router/control/paths.ts';
import { ControlServer, type Handlers } from '../../../router/control/server.ts';
import { MlshimError } from '../../../router/lib/errors.ts';
import { BGP, BGP_VPN, STATUS, TELLINGS } from './samples.ts';

const ROUTE: Omit<BgpRouteStatus, 'prefix'> = {
  peer: 'b',
  best: true,
  next_hop: 'fe80::2',
  as_path: '65002 65003',
  origin: 'IGP',
  local_pref: 100,
  communities: ['65002:1', '65002:2'],
  uplink: 'b',
  refused: '',
  roa: '',
  cluster_list: [],
};
const PREFIXES = ['fd42::/48', '10.2.0.0/16', '10.0.0.0/8', '10.2.0.0/24'];
const IN_ORDER = ['10.0.0.0/8', '10.2.0.0/16', '10.2.0.0/24', 'fd42::/48'];

async function cli(t: ExecutionContext, argv: readonly string[], over: Partial<Handlers>, columns?: number) {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  const paths = pathsIn(folder);
  const server = new ControlServer(over as Handlers);
  await server.listen(paths.control);
  t.teardown(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  let out = '';
  let err = '';
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: { MLSHIM_SOCKET: paths.shim },
    isTty: false,
    columns,
  };
  return { status: await main(argv, io), out, err };
}

/** A listing in parts of one route each. */
const inParts: Partial<Handlers> = {
  bgp_routes: ({ from = '' }) => {
    const n = Number(from.slice(2) || 0);
    return {
      routes: [{ ...ROUTE, prefix: PREFIXES[n]! }],
      next: n + 1 < PREFIXES.length ? `4:${n + 1}` : '',
      place: '',
    };
  },
};

test('a listing is the same document whether it came in one part or in many', async (t) => {
  const whole = IN_ORDER.map((prefix) => ({ ...ROUTE, prefix }));
  const parts = await cli(t, ['bgp', 'routes', '--json'], inParts);
  const once = await cli(t, ['bgp', 'routes', '--json'], {
    bgp_routes: () => ({ routes: whole, next: '', place: '' }),
  });
  t.is(parts.out, once.out);
  t.deepEqual(JSON.parse(parts.out), JSON.parse(JSON.stringify({ routes: whole })));
  const none = await cli(t, ['bgp', 'routes', '--json'], { bgp_routes: () => ({ routes: [], next: '', place: '' }) });
  t.deepEqual(JSON.parse(none.out), { routes: [] });
});

test('a route per line as JSON, or as a format says', async (t) => {
  const lines = (await cli(t, ['bgp', 'routes', '-J'], inParts)).out.trimEnd().split('\n');
  t.deepEqual(
    lines.map((l) => (JSON.parse(l) as BgpRouteStatus).prefix),
    IN_ORDER,
  );
  const { out } = await cli(t, ['bgp', 'routes', '--format', '{prefix}\\t{communities}'], inParts);
  t.is(out.split('\n')[3], 'fd42::/48\t65002:1 65002:2');
});

test('a format that names a field wrongly is told which fields there are', async (t) => {
  const refused = async (...argv: string[]) => {
    const { status, err } = await cli(t, argv, { ...inParts, bgp_show: () => BGP });
    t.is(status, 2, argv.join(' '));
    return err;
  };
  t.regex(
    await refused('bgp', 'routes', '--format', 'prefix'),
    /"prefix" names no field, such as \{prefix\} \(known: /,
  );
  const near = await refused('bgp', 'routes', '--format', '{prefix} {next-hop}');
  t.regex(
    near,
    /no field "next-hop" \(did you mean \{next_hop\}\? known: prefix, peer, best, next_hop, .*age_s, .*aggregator, stale\)/,
  );
  t.regex(near, /hint: mlshim bgp routes --help/);
  t.regex(await refused('bgp', '--format', '{prefix}'), /no field "prefix" \(known: name, asn, address, /);
  t.regex(await refused('bgp', '--format', '{name}', '--json'), /exclude each other/);
  t.regex(await refused('bgp', 'routes', '-jJ'), /exclude each other/);
});

test('every field of the JSON can be named in a format', async (t) => {
  const handlers: Partial<Handlers> = { ...inParts, bgp_show: () => BGP };
  const peers = (JSON.parse((await cli(t, ['bgp', '-j'], handlers)).out) as typeof BGP).peers;
  const routes = JSON.parse((await cli(t, ['bgp', 'routes', '-j'], handlers)).out) as { routes: BgpRouteStatus[] };
  for (const [argv, one] of [
    [['bgp'], peers[0]],
    [['bgp', 'routes'], routes.routes[0]],
  ] as const) {
    for (const field of Object.keys(one!))
      t.is((await cli(t, [...argv, '--format', `{${field}}`], handlers)).status, 0, field);
  }
  const { out } = await cli(t, ['bgp', '--format', '{name} {families}'], handlers);
  t.regex(out, /^AS4242420263 \{"family":"ipv4",.*\} \{"family":"ipv6",/m);
});

test('what fits in one part is in the order of prefixes', async (t) => {
  const routes = PREFIXES.map((prefix) => ({ ...ROUTE, prefix }));
  const { out } = await cli(t, ['bgp', 'routes'], { bgp_routes: () => ({ routes, next: '', place: '' }) });
  t.deepEqual(
    out
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((l) => l.split(/\s+/)[1]),
    ['10.0.0.0/8', '10.2.0.0/16', '10.2.0.0/24', 'fd42::/48'],
  );
  t.is(
    (await cli(t, ['bgp', 'routes'], { bgp_routes: () => ({ routes: [], next: '', place: '' }) })).out,
    'no routes\n',
  );
});

test('a listing has a line for each route, and is folded on a terminal', async (t) => {
  const routes = [{ ...ROUTE, prefix: '10.2.0.0/16', as_path: '4242420001 '.repeat(12).trim() }];
  const handlers: Partial<Handlers> = { bgp_routes: () => ({ routes, next: '', place: '' }) };
  t.is((await cli(t, ['bgp', 'routes'], handlers)).out.trimEnd().split('\n').length, 2);
  const folded = (await cli(t, ['bgp', 'routes'], handlers, 60)).out.trimEnd().split('\n');
  t.true(folded.length > 3);
  for (const line of folded) t.true(line.length <= 80, line);
  t.is((await cli(t, ['bgp', 'routes'], handlers, 300)).out.trimEnd().split('\n').length, 2);
});

test('words of a query find their place', async (t) => {
  const asked: Verbs['bgp_routes'][] = [];
  const handlers: Partial<Handlers> = {
    bgp_routes: (args) => {
      asked.push(args);
      return { routes: [], next: '', place: args.prefix };
    },
  };
  await cli(t, ['bgp', 'routes', 'in', 'b', '10.0.0.0/8', '--longer'], handlers);
  t.like(asked[0], { table: 'in', peer: 'b', prefix: '10.0.0.0/8', longer: true });
  t.is((await cli(t, ['bgp', 'routes', '--longer'], handlers)).status, 2);
});

test('VPN routes are asked for by distinguisher and prefix, in parts, and shown in each form', async (t) => {
  const asked: Verbs['bgp_vpn'][] = [];
  const [first, ...others] = BGP_VPN.routes;
  const handlers: Partial<Handlers> = {
    bgp_vpn: (args) => {
      asked.push(args);
      return args.from === undefined || args.from === ''
        ? { routes: [first!], next: '1' }
        : { routes: others, next: '' };
    },
  };
  const { out, status } = await cli(t, ['bgp', 'vpn', '10.0.0.2:7', 'fd09::/48', '--json'], handlers);
  t.is(status, 0);
  t.deepEqual(JSON.parse(out), JSON.parse(JSON.stringify({ routes: BGP_VPN.routes })));
  t.like(asked[0], { rd: '10.0.0.2:7', prefix: 'fd09::/48' });
  t.is(asked[1]!.from, '1');
  await cli(t, ['bgp', 'vpn', '192.168.1.7'], handlers);
  t.like(asked[2], { rd: '', prefix: '192.168.1.7' });
  const format = await cli(t, ['bgp', 'vpn', '--format', '{rd} {prefix} {label}'], handlers);
  t.is(format.out.split('\n')[1], '10.0.0.2:7 fd09::/48 1006');
  t.is((await cli(t, ['bgp', 'vpn', '-J'], handlers)).out.trimEnd().split('\n').length, 3);
  t.is((await cli(t, ['bgp', 'vpn', '192.168.1.7', '10.0.0.2:7'], handlers)).status, 2);
  const none: Partial<Handlers> = { bgp_vpn: () => ({ routes: [], next: '' }) };
  t.is((await cli(t, ['bgp', 'vpn'], none)).out, 'no VPN routes\n');
  t.is((await cli(t, ['bgp', 'vpn'], none)).status, 0);
  t.is((await cli(t, ['bgp', 'vpn', '64601:1'], none)).status, 1);
});

test('a dump is written as it arrives; a file that cannot be written is an error', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const dump: Partial<Handlers> = {
    bgp_dump: ({ from = '' }) => ({ mrt: Uint8Array.of(from === '' ? 1 : 2), next: from === '' ? '0:9:1' : '' }),
  };
  const path = join(folder, 'table.mrt');
  t.is((await cli(t, ['bgp', 'dump', path], dump)).status, 0);
  t.deepEqual([...readFileSync(path)], [1, 2]);
  const nowhere = await cli(t, ['bgp', 'dump', join(folder, 'no', 'where.mrt')], dump);
  t.is(nowhere.status, 1);
  t.regex(nowhere.err, /where\.mrt/);
  const refused: Partial<Handlers> = {
    bgp_dump: () => {
      throw new MlshimError('USAGE', 'BGP is not configured');
    },
  };
  t.is((await cli(t, ['bgp', 'dump', path], refused)).status, 2);
  t.deepEqual([...readFileSync(path)], [1, 2], 'what was there stays');
});

test('orders carry their text and direction', async (t) => {
  const asked: Verbs['bgp_peer'][] = [];
  const handlers: Partial<Handlers> = {
    bgp_peer: (args) => {
      asked.push(args);
      return {};
    },
  };
  const order = (...words: string[]) => cli(t, ['bgp', 'peer', 'b', ...words], handlers);
  for (const words of [['down', 'back', 'at', 'noon'], ['refresh', 'in'], ['reset'], ['up']])
    t.is((await order(...words)).status, 0);
  t.deepEqual(
    asked.map((a) => [a.action, a.text, a.direction]),
    [
      ['down', 'back at noon', ''],
      ['refresh', '', 'in'],
      ['reset', '', ''],
      ['up', '', ''],
    ],
  );
  for (const words of [['refresh', 'sideways'], ['up', 'now'], ['stop']]) t.is((await order(...words)).status, 2);
});

test('an order that is carried out is repeated in JSON, and one that cannot be is told with its reason', async (t) => {
  const done = await cli(t, ['bgp', 'peer', 'b', 'down', 'back', 'soon', '--json'], { bgp_peer: () => ({}) });
  t.deepEqual(JSON.parse(done.out), { peer: 'b', action: 'down', text: 'back soon', direction: '' });
  const refused = await cli(t, ['bgp', 'peer', 'b', 'refresh'], {
    bgp_peer: () => {
      throw new MlshimError('NOT_NOW', 'bgp peer b cannot refresh now: its session is Idle');
    },
  });
  t.is(refused.status, 1);
  t.is(
    refused.err,
    'mlshim: bgp peer b cannot refresh now: its session is Idle\n  hint: mlshim bgp peer PEER shows the state of the session\n',
  );
});

test('fpm is a part of the status, and 1 when nobody is connected', async (t) => {
  const connected = await cli(t, ['fpm', '--json'], { status: () => STATUS });
  t.deepEqual(JSON.parse(connected.out), JSON.parse(JSON.stringify(STATUS.fpm)));
  t.is(connected.status, STATUS.fpm!.state === 'connected' ? 0 : 1);
  const waiting = await cli(t, ['fpm'], { status: () => ({ ...STATUS, fpm: { ...STATUS.fpm!, state: 'waiting' } }) });
  t.is(waiting.status, 1);
  const { fpm: _, ...without } = STATUS;
  t.regex((await cli(t, ['fpm'], { status: () => without })).err, /fpm is not configured/);
});

test('sessions that are not up come first, in text and in JSON', async (t) => {
  const handlers: Partial<Handlers> = { bgp_show: () => BGP };
  const { out } = await cli(t, ['bgp', '--json'], handlers);
  t.deepEqual(
    (JSON.parse(out) as typeof BGP).peers.map((p) => p.state),
    ['Active', 'Established'],
  );
  t.is(
    (await cli(t, ['bgp', '--format', '{name} {state}'], handlers)).out,
    'kioubit Active\nAS4242420263 Established\n',
  );
});

test('words of a listing are a peer and a place by their form; one alone is for the daemon to tell', async (t) => {
  const asked: Verbs['bgp_routes'][] = [];
  const handlers: Partial<Handlers> = {
    bgp_routes: (args) => {
      asked.push(args);
      const isPeer = args.what !== '10.9.9.9' && args.prefix === '';
      return { routes: [], next: '', place: isPeer ? '' : args.prefix || args.what! };
    },
  };
  const list = async (...words: string[]) => (await cli(t, ['bgp', 'routes', ...words], handlers)).status;
  t.is(await list('in', '4242420263'), 0, 'an empty listing is an answer');
  t.is(await list('out', 'fe80::2'), 0);
  t.is(await list('in', 'fe80::2', '10.0.0.0/8'), 1);
  t.is(await list('10.9.9.9'), 1, 'nothing is there');
  t.is(await list('in', 'for', 'fe80::2'), 1);
  t.is(await list('in', 'b', 'for', '10.0.0.1'), 1);
  t.is(await list('10.0.0.0/8'), 1);
  t.is(await list('10.0.0.0/8', 'b'), 1);
  t.is(await list('fe80::2', '--longer'), 1);
  t.deepEqual(
    asked.map((a) => [a.table, a.peer, a.prefix, a.what]),
    [
      ['in', '', '', '4242420263'],
      ['out', 'fe80::2', '', ''],
      ['in', 'fe80::2', '10.0.0.0/8', ''],
      ['best', '', '', '10.9.9.9'],
      ['in', '', 'fe80::2', ''],
      ['in', 'b', '10.0.0.1', ''],
      ['best', '', '10.0.0.0/8', ''],
      ['best', 'b', '10.0.0.0/8', ''],
      ['best', '', 'fe80::2', ''],
    ],
  );
  for (const words of [
    ['in', 'a', 'b', 'c'],
    ['in', 'b', '--longer'],
    ['out', 'b', '--longer'],
  ])
    t.is(await list(...words), 2, words.join(' '));
});

test('explain asks about a prefix, or about telling it to a peer', async (t) => {
  const asked: Verbs['bgp_explain'][] = [];
  const handlers: Partial<Handlers> = {
    bgp_explain: (args) => {
      asked.push(args);
      return TELLINGS[['kioubit', 'core', 'other', 'vpn', 'kept'].indexOf(args.to!)]!;
    },
  };
  const run = (...words: string[]) => cli(t, ['bgp', 'explain', ...words], handlers);
  t.is((await run('172.23.0.0/24', 'to', 'kioubit')).status, 0);
  const refused = await run('172.23.0.0/24', 'to', 'core');
  t.is(refused.status, 1);
  t.regex(refused.out, /^172\.23\.0\.0\/24 to core: NOT TOLD\n/);
  const told = JSON.parse((await run('172.23.0.0/24', 'to', 'kioubit', '-j')).out) as (typeof TELLINGS)[0];
  t.deepEqual(told.telling, JSON.parse(JSON.stringify(TELLINGS[0]!.telling)) as typeof told.telling);
  t.deepEqual(
    asked.map((a) => [a.prefix, a.to]),
    [
      ['172.23.0.0/24', 'kioubit'],
      ['172.23.0.0/24', 'core'],
      ['172.23.0.0/24', 'kioubit'],
    ],
  );
  t.is((await run('192.168.1.0/24', 'to', 'vpn')).status, 0, 'as a VPN route alone');
  t.is((await run('172.23.0.0/24', 'to', 'kept')).status, 1);
  for (const words of [['10.0.0.0/8', 'b'], ['10.0.0.0/8', 'to'], ['10.0.0.0/8', 'for', 'b'], []])
    t.is((await run(...words)).status, 2, words.join(' '));
});

test('a line of JSON for an event leaves out what says nothing', (t) => {
  const event = { time_ms: 1, kind: 'session', peer: 'b', from: 'Idle', to: 'Connect', why: '', prefix: '' } as const;
  t.is(
    bgpEventLine({ ...event, as_path: '', next_hops: [] }),
    '{"time_ms":1,"kind":"session","peer":"b","from":"Idle","to":"Connect"}\n',
  );
});

test('a code is explained as JSON too', async (t) => {
  const { out, status } = await cli(t, ['explain', 'B101', '-j'], {});
  t.is(status, 0);
  t.is((JSON.parse(out) as { code: string }).code, 'B101');
});

test('who has words in another order is told the right one', async (t) => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [
      ['peer', 'down', 'x', 'new', 'cable'],
      'mlshim: "x" is not one of up, down, refresh, reset: did you mean bgp peer x down new cable?\n',
    ],
    [['peer', 'x', 'dwon'], 'mlshim: "dwon" is not one of up, down, refresh, reset\n'],
    [['routes', 'x', 'in'], 'mlshim: the table comes first: did you mean bgp routes in x?\n'],
    [
      ['routes', '10.0.0.0/8', 'out', 'x'],
      'mlshim: the table comes first: did you mean bgp routes out 10.0.0.0/8 x?\n',
    ],
  ];
  for (const [argv, expected] of cases) {
    const { status, err } = await cli(t, ['bgp', ...argv], {});
    t.is(status, 2);
    t.true(err.startsWith(expected), err);
  }
});
