import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import test from 'ava';

const ROOT = join(import.meta.dirname, '../../..');

/** Which rooms a room may import (docs/architecture.md); a file of its own overrides its room. Itself is always allowed. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'router/lib': [],
  'router/wire': ['router/lib'],
  'router/fib': ['router/lib'],
  'router/native': ['router/lib'],
  'router/tcp': ['router/wire', 'router/lib'],
  'router/stack': ['router/tcp', 'router/wire', 'router/fib', 'router/lib'],
  'router/uplink': ['router/lib', 'router/wire', 'router/fib', 'router/native'],
  'router/shimlink': ['router/stack', 'router/tcp', 'router/wire', 'router/fib', 'router/native', 'router/lib'],
  'router/config': [
    'router/lib',
    'router/uplink/balancer',
    'router/uplink/probe',
    'router/uplink/rule',
    'router/wire/dns',
    'wg/quick',
    'wg/keys',
    'wg/model',
    'bgp/bfd/auth',
    'bgp/export',
    'bgp/fsm/negotiate',
    'bgp/limits',
    'bgp/monitor/bmp-instance',
    'bgp/origination',
    'bgp/peer-config',
    'bgp/ranges',
    'bgp/relation',
    'bgp/rib/multipath',
    'bgp/policy/dn42',
    'bgp/policy/path-pattern',
    'bgp/policy/rule',
    'bgp/policy/text',
    'bgp/vpn/route-distinguisher',
    'bgp/rpki/roa-file',
    'bgp/rpki/roa-table',
  ],
  'router/control': ['router/lib'],
  'router/birdctl': ['router/lib', 'bgp/show', 'bgp/wire'],
  'router/fpm': ['router/fib', 'router/wire/netlink', 'router/lib'],
  'router/kernel': ['router/lib', 'router/wire', 'router/fib', 'router/native', 'router/uplink'],
  bgp: ['router/lib'],
  wg: ['router/lib'],
  'router/app': ['router', 'bgp', 'wg'],
  'router/cli': [
    'router/control/client',
    'router/control/messages',
    'router/control/paths',
    'router/control/process-identity',
    'router/config',
    'router/lib',
    'wg/quick',
    'wg/keys',
    'wg/show',
    'router/app/lifeline',
    'router/kernel/capabilities',
    'router/kernel/host-paths',
    'router/kernel/host-probes',
    'router/kernel/peer-pid',
    'router/kernel/ptrace',
    'router/kernel/takedown',
  ],
};

/** Rooms nobody else may import. */
const ROOFS = ['router/app', 'router/cli'];

/** Where each library and each kind of I/O may enter. Folders end in "/". */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  'ip-num': ['router/lib/ranges.ts'],
  protobufjs: ['router/control/codec.ts', 'router/control/make-descriptor.mjs', 'router/fpm/protobuf.ts'],
  zod: ['router/config/'],
  yaml: ['router/config/'],
  'node:net': [
    'router/control/',
    'router/app/',
    'router/cli/',
    'wg/supervisor.ts',
    'wg/control.ts',
    'router/kernel/relay.ts',
    'router/uplink/kernel.ts',
  ],
  'node:child_process': [
    'router/kernel/loader.ts',
    'router/app/',
    'router/cli/',
    'router/config/filter-probe.ts',
    'router/config/users.ts',
    'wg/supervisor.ts',
  ],
  'node:fs': [
    'router/control/server.ts',
    'router/control/process-identity.ts',
    'router/config/',
    'router/app/',
    'router/cli/',
    'wg/supervisor.ts',
    'router/lib/version.ts',
    'router/kernel/',
  ],
};

interface Import {
  /** Path from the root, with its extension. */
  readonly from: string;
  readonly what: string;
  /** Path from the root, for imports of our own files. */
  readonly to: string | undefined;
  /** Types only: nothing is left of it at run time. */
  readonly isType: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.ts') && !f.endsWith('.d.ts'))
    .map((f) => join(folder, f));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+'([^']+)'|import\('([^']+)'\)|(?:^|\n)import\s+'([^']+)'/g,
  );
  return [...found].map((m) => {
    const what = (m[1] ?? m[2] ?? m[3])!;
    const isType = /^\s*(import|export)\s+type\s/.test(m[0]);
    const to = what.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(file), what)) : undefined;
    return { from: file, what, to, isType };
  });
}

const ALL = ['router', 'bgp', 'wg'].flatMap(sources).flatMap(importsOf);

const room = (path: string): string =>
  path.startsWith('router/') ? path.split('/').slice(0, 2).join('/') : path.split('/')[0]!;
const isBelow = (path: string, place: string): boolean =>
  path === place || path === `${place}.ts` || path.startsWith(`${place}/`);

test('imports point down', (t) => {
  for (const { from, to } of ALL) {
    if (to === undefined || room(from) === room(to)) continue;
    const allowed = MAY_IMPORT[room(from)];
    if (allowed === undefined) t.fail(`${from}: the room ${room(from)} is not in docs/architecture.md`);
    else
      t.true(
        allowed.some((place) => isBelow(to, place)),
        `${from} must not import ${to}`,
      );
  }
});

test('nobody imports the roof', (t) => {
  for (const { from, to } of ALL) {
    const roof = ROOFS.find((r) => to !== undefined && isBelow(to, r));
    if (roof === undefined || room(from) === roof) continue;
    // The one exception: what the daemon and its starter tell each other.
    t.true(from.startsWith('router/cli/') && to === 'router/app/lifeline.ts', `${from} must not import ${to}`);
  }
});

test('every library and every kind of I/O has one door', (t) => {
  for (const { from, what, to } of ALL) {
    if (to !== undefined) continue;
    const name = Object.keys(DOORS).find((d) => what === d || what.startsWith(`${d}/`));
    if (name === undefined) continue;
    t.true(
      DOORS[name]!.some((door) => (door.endsWith('/') ? from.startsWith(door) : from === door)),
      `${from} must not import ${what}`,
    );
  }
});

test('the tree has no import cycle', (t) => {
  const edges = new Map<string, string[]>();
  for (const { from, to, isType } of ALL)
    if (to !== undefined && !isType) edges.set(from, [...(edges.get(from) ?? []), to]);
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, trail: readonly string[]): void => {
    if (trail.includes(file)) cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
    if (trail.includes(file) || done.has(file)) return;
    for (const next of edges.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of edges.keys()) visit(file, []);
  t.true(done.size > 100, 'the imports were found');
  t.deepEqual(cycles, []);
});

test('clocks, timers and chance are read at the edges only', (t) => {
  const edges = [
    'router/lib/clock.ts',
    'router/lib/rand.ts',
    'router/app/',
    'router/cli/',
    'router/control/',
    'router/config/filter-probe.ts',
    'router/kernel/host-paths.ts',
    'wg/supervisor.ts',
  ];
  for (const file of ['router', 'bgp', 'wg'].flatMap(sources)) {
    if (edges.some((e) => (e.endsWith('/') ? file.startsWith(e) : file === e))) continue;
    const code = readFileSync(join(ROOT, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    const found = /\b(Date\.now|performance\.now|setTimeout|setInterval|setImmediate|Math\.random)\b/.exec(code);
    t.is(found, null, `${file} uses ${found?.[0]}`);
  }
});
