/** Every `--json` is one valid document, with the fields that docs/json.md promises. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Io } from '../../../router/cli/command.ts';
import { COMMANDS } from '../../../router/cli/commands.ts';
import { main } from '../../../router/cli/main.ts';
import { DESCRIPTOR } from '../../../router/control/descriptor.ts';
import { pathsIn } from '../../../router/control/paths.ts';
import { ControlServer, type Handlers } from '../../../router/control/server.ts';
import {
  BFD,
  BGP,
  BGP_ROUTES,
  BGP_VPN,
  EVENTS,
  RELOADED,
  ROUTE_ANSWERS,
  ROUTES,
  RPKI,
  STATUS,
  TELLINGS,
} from './samples.ts';

interface Field {
  readonly type: string;
  readonly rule?: 'repeated';
  readonly keyType?: string;
  readonly options?: { readonly proto3_optional?: boolean };
}

const MESSAGES = DESCRIPTOR.nested.mlshim.nested as unknown as Readonly<
  Record<string, { readonly fields: Readonly<Record<string, Field>> }>
>;

const PRIMITIVES: Readonly<Record<string, string>> = {
  string: 'string',
  double: 'number',
  uint32: 'number',
  bool: 'boolean',
};

/** What is wrong with a value as a message, by the place in it. */
function faults(message: string, value: unknown, at: string): string[] {
  const { fields } = MESSAGES[message]!;
  const given = value as Readonly<Record<string, unknown>>;
  const surplus = Object.keys(given).filter((key) => fields[key] === undefined);
  const wrong = Object.entries(fields).flatMap(([name, f]) => fieldFaults(f, given[name], `${at}.${name}`));
  return [...surplus.map((key) => `${at}.${key} is not in ${message}`), ...wrong];
}

function fieldFaults(f: Field, value: unknown, at: string): string[] {
  if (value === undefined) return f.options?.proto3_optional === true ? [] : [`${at} is missing`];
  if (f.keyType !== undefined) return typeof value === 'object' ? [] : [`${at} is no mapping`];
  if (f.rule !== 'repeated') return oneFaults(f.type, value, at);
  return Array.isArray(value) ? value.flatMap((v, i) => oneFaults(f.type, v, `${at}[${i}]`)) : [`${at} is no list`];
}

function oneFaults(type: string, value: unknown, at: string): string[] {
  const primitive = PRIMITIVES[type];
  if (primitive === undefined) return faults(type, value, at);
  return typeof value === primitive ? [] : [`${at} is ${typeof value}`];
}

const HANDLERS: Partial<Handlers> = {
  status: () => STATUS,
  route_show: () => ROUTES,
  route_get: () => ROUTE_ANSWERS[0]!,
  bgp_show: () => BGP,
  bgp_peer: () => ({}),
  bgp_routes: () => BGP_ROUTES,
  bgp_vpn: () => BGP_VPN,
  bgp_explain: () => TELLINGS[0]!,
  bgp_rpki: () => RPKI,
  bfd_show: () => BFD,
  wg_show: () => ({ devices: [] }),
  reload: () => RELOADED,
  bgp_watch: (_, stream) => {
    stream.send({ events: EVENTS, lost: 0 });
    stream.end();
  },
};

const KEY = 'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
const DN42 = `bgp: { asn: 4242420229, router_id: 172.20.229.117, policy: dn42, dn42: { private_key: ${KEY} } }\n`;

/** A line for each command with `--json`: what is typed, and what the document, or each line of it, is. */
const ASKED: readonly (readonly [argv: string, message: string | undefined, of?: string])[] = [
  ['status', 'Status'],
  ['reload', 'Reloaded'],
  ['config diff', 'Reloaded'],
  ['route show', 'Route', 'routes'],
  ['route get 172.23.0.53', 'RouteAnswer'],
  ['uplink show', 'Uplink', '[]'],
  ['bgp show', 'BgpPeers'],
  ['bgp peer kioubit', 'BgpPeers'],
  ['bgp routes', 'BgpRoute', 'routes'],
  ['bgp vpn', 'BgpVpnRoute', 'routes'],
  ['bgp explain 172.23.0.0/24 to kioubit', 'BgpExplanation'],
  ['bgp rpki', 'Rpki'],
  ['bfd', 'BfdSessions'],
  ['fpm', 'Fpm'],
  ['wg show', 'WgDevices'],
  ['dn42 card -c FILE', undefined],
  ['dn42 lint -c FILE', undefined],
  [`dn42 add-peer 4242420263 -n --public-key ${KEY} -c FILE`, undefined],
  ['doctor -c FILE', undefined],
  ['config check FILE', undefined],
  ['config show FILE', undefined],
  ['explain B101', undefined],
  ['bgp peer kioubit down', undefined],
];

async function run(t: { teardown(fn: () => void): void }, argv: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  const paths = pathsIn(folder);
  const server = new ControlServer(HANDLERS as Handlers);
  await server.listen(paths.control);
  t.teardown(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const file = join(folder, 'mlshim.yaml');
  writeFileSync(file, DN42, { mode: 0o600 });
  let out = '';
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: () => undefined,
    env: { MLSHIM_SOCKET: paths.shim },
    isTty: false,
  };
  await main(
    argv.map((word) => (word === 'FILE' ? file : word)),
    io,
  );
  return out;
}

for (const [argv, message, of] of ASKED) {
  test(`${argv} --json is a document with the documented fields`, async (t) => {
    const document = JSON.parse(await run(t, [...argv.split(' '), '--json'])) as Record<string, unknown[]>;
    t.is(typeof document, 'object');
    if (message === undefined) return;
    const all = of === undefined ? [document] : of === '[]' ? (document as unknown as unknown[]) : document[of]!;
    t.true(all.length > 0);
    t.deepEqual(
      all.flatMap((one, i) => faults(message, one, `${message} ${i}`)),
      [],
    );
  });
}

test('a line of a stream is a document of its own', async (t) => {
  const lines = (await run(t, ['bgp', 'watch', '-J'])).trimEnd().split('\n');
  t.is(lines.length, EVENTS.length);
  for (const line of lines) {
    const event = JSON.parse(line) as object;
    t.deepEqual(
      Object.keys(event).filter((key) => MESSAGES['BgpEvent']!.fields[key] === undefined),
      [],
    );
  }
});

test('every command with --json is asked here, and says what it prints', (t) => {
  const asked = ASKED.map(([argv]) => argv);
  for (const c of COMMANDS.filter((one) => one.options['json'] !== undefined)) {
    const words = c.words.join(' ');
    t.true(words === 'bgp watch' || asked.some((a) => a === words || a.startsWith(`${words} `)), words);
    t.is(typeof c.json, 'string', words);
  }
  t.deepEqual(
    COMMANDS.filter((c) => c.json !== undefined && c.options['json'] === undefined),
    [],
  );
});
