/**
 * The library and the router agree: the structs of mlshim_proto.h as the C compiler lays them out are those of
 * router/shimlink/proto.ts, and the built library keeps the promises of shim/README.md that can be read from its file.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import * as proto from '../../router/shimlink/proto.ts';
import { LIBRARY, ROOT } from './programs.ts';

/** proto.ts's table, the C struct, and how field names translate where capitals alone do not say it. */
const STRUCTS: readonly [string, Record<string, number>, Record<string, string>][] = [
  ['mls_req', proto.Req, { Session: 'id + 4' }],
  ['mls_rep', proto.Rep, {}],
  ['mls_dgram', proto.Dgram, { IfIndex: 'ifindex' }],
  ['mls_accept', proto.Accept, {}],
  ['mls_ai', proto.Ai, { SockType: 'socktype' }],
  ['mls_ifaddr', proto.IfAddr, { IfIndex: 'ifindex' }],
  ['mls_opt', proto.Opt, { ValueMax: 'sizeof value' }],
];

const OPS: Record<string, string> = {
  GetSockName: 'GETSOCKNAME',
  GetPeerName: 'GETPEERNAME',
  GetSockOpt: 'GETSOCKOPT',
  SetSockOpt: 'SETSOCKOPT',
  NameInfo: 'NAMEINFO',
  IfAddrs: 'IFADDRS',
  RouteLane: 'ROUTE_LANE',
};

const snake = (name: string): string => name.replace(/(?<!^)([A-Z])/g, '_$1').toLowerCase();

function expression(struct: string, field: string, aliases: Record<string, string>): string {
  if (field === 'Size') return `sizeof(struct ${struct})`;
  const alias = aliases[field];
  if (alias?.startsWith('sizeof ')) return `sizeof(((struct ${struct} *)0)->${alias.slice(7)})`;
  const [name, plus] = (alias ?? snake(field)).split(' + ');
  return `offsetof(struct ${struct}, ${name}) + ${plus ?? 0}`;
}

test('structs and numbers are the same in C and TypeScript', (t) => {
  const wanted: [string, string, number][] = [];
  for (const [struct, table, aliases] of STRUCTS)
    for (const [field, value] of Object.entries(table))
      wanted.push([`${struct}.${field}`, expression(struct, field, aliases), value]);
  for (const [op, value] of Object.entries(proto.MlsOp)) wanted.push([op, `MLS_${OPS[op] ?? op.toUpperCase()}`, value]);
  for (const [flag, value] of Object.entries(proto.DgramFlag))
    wanted.push([`flag ${flag}`, `MLS_DG_${flag.toUpperCase()}`, value]);
  wanted.push(
    ['magic', 'MLS_MAGIC', proto.MLS_MAGIC],
    ['version', 'MLS_VERSION', proto.MLS_VERSION],
    ['payload', 'MLS_PAYLOAD_MAX', proto.MLS_PAYLOAD_MAX],
    ['lane', 'MLS_LANE_DIRECT', proto.MLS_LANE_DIRECT],
    ['admission', 'MLS_LANE_ADMIT', proto.MLS_LANE_ADMIT],
    ['accept flag', 'MLS_ACCEPT_KERNEL', proto.ACCEPT_IS_KERNEL],
  );
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-abi-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const lines = wanted.map(([, c]) => `\tprintf("%lu\\n", (unsigned long)(${c}));`);
  writeFileSync(
    join(dir, 'abi.c'),
    `#include <stddef.h>\n#include <stdio.h>\n#include "mlshim_proto.h"\nint main(void)\n{\n${lines.join('\n')}\n}\n`,
  );
  execFileSync('cc', [`-I${join(ROOT, 'shim/include')}`, '-o', join(dir, 'abi'), join(dir, 'abi.c')]);
  const got = execFileSync(join(dir, 'abi'), { encoding: 'utf8' }).trim().split('\n').map(Number);
  t.deepEqual(
    wanted.map(([name], i) => [name, got[i]]),
    wanted.map(([name, , value]) => [name, value]),
  );
});

const nm = (...args: string[]): string[] =>
  execFileSync('nm', ['-D', ...args, LIBRARY], { encoding: 'utf8' })
    .trim()
    .split('\n');

test('the library needs nothing of a libc but the places of errno, h_errno and the environment', (t) => {
  const needed = nm('--undefined-only').map((line) => line.trim());
  t.deepEqual(needed.sort(), ['U __errno_location', 'w __h_errno_location', 'w environ']);
});

test('the library names no other library, runs nothing at load and keeps no thread-local data', (t) => {
  const dynamic = execFileSync('readelf', ['-dlW', LIBRARY], { encoding: 'utf8' });
  for (const word of ['NEEDED', 'INIT', 'FINI', 'TLS', 'TEXTREL', 'VERNEED', 'RWE'])
    t.notRegex(dynamic, new RegExp(`\\b${word}`), word);
});

test('the library exports exactly what its map lists', (t) => {
  const map = readFileSync(join(ROOT, 'shim/mlshim.map'), 'utf8').replace(/\/\*.*?\*\//gs, '');
  const listed = map
    .slice(map.indexOf('global:') + 7, map.indexOf('local:'))
    .split(';')
    .map((s) => s.trim())
    .filter((s) => s !== '');
  const exported = nm('--defined-only').map((line) => line.split(' ').at(-1)!);
  t.deepEqual(exported.sort(), listed.sort());
});

test('the library writes no memory of its own but the static result of gethostbyname() and its settings', (t) => {
  const symbols = execFileSync('nm', [LIBRARY], { encoding: 'utf8' }).trim().split('\n');
  const writable = symbols.filter((line) => / [bBdD] /.test(line)).map((line) => line.split(' ').at(-1)!);
  t.deepEqual(writable.filter((name) => !name.startsWith('_')).sort(), [
    'old_host',
    'old_room',
    'remembered',
    'routing_known',
  ]);
});
