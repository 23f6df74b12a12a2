import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Check, Say } from '../../../router/cli/doctor.ts';
import { checkHoldTimers, checkRoaAge } from '../../../router/cli/doctor-routing.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';
import type { RpkiStatus } from '../../../router/control/messages.ts';
import { BGP } from './samples.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

function config(bgp: string, probe = ''): Config {
  const text = `uplinks: { dn42: { ${probe}wireguard: { private_key: ${KEY}, addresses: [fe80::1/64], peers: [] } } }
bgp: { asn: 4242420001, router_id: 10.0.0.1, ${bgp} }\n`;
  const { config, diagnostics } = parseConfig({ shown: 'x.yaml', path: '/x.yaml', text }, {});
  if (config === undefined) throw new Error(JSON.stringify(diagnostics));
  return config;
}

function saying(check: (say: Say) => void): Check[] {
  const said: Check[] = [];
  check((name, verdict, text, hint = '') => said.push({ name, verdict, text, hint }));
  return said;
}

const peers = (more: string): string =>
  `peers: [{ name: p, asn: 4242420002, via: dn42, address: 'fe80::2', import: all, export: none${more} }]`;

test('without a router the configured hold time is looked at', (t) => {
  const said = (more: string, probe?: string) =>
    saying((say) => checkHoldTimers(say, config(peers(more), probe), undefined));
  const PROBE = "probe: { to: 'fe80::2', every: 1s, timeout: 300ms, fall: 3 }, ";
  t.like(said(''), [{ verdict: 'ok', text: 'bgp peer p: its configured hold time is 90 s' }]);
  t.like(said(', hold_time: 0s'), [{ verdict: 'warn' }]);
  t.like(said(', hold_time: 0s, bfd: true'), [{ verdict: 'ok' }]);
  t.like(said(', hold_time: 3s'), [{ verdict: 'warn' }]);
  const [slow] = said('', PROBE);
  t.like(slow, { name: 'hold-timer', verdict: 'warn' });
  t.regex(slow!.text, /hold time is 90 s, probes take uplink dn42 out within 1\.9 s/);
  t.like(said(', bfd: true', PROBE), [{ verdict: 'ok' }]);
});

test('with a router it is what was negotiated, of sessions that stand', (t) => {
  const [up, ...others] = BGP.peers;
  const said = saying((say) => checkHoldTimers(say, config(''), [{ ...up!, hold_time_s: 0, bfd: '' }, ...others]));
  t.is(said.length, BGP.peers.filter((p) => p.state === 'Established').length);
  t.like(said[0], { verdict: 'warn' });
  t.regex(said[0]!.text, /AS4242420263: its hold time is 0, so silence never ends/);
});

function files(t: { teardown: (fn: () => void) => void }): string {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test('without a router files of ROAs are as old as they are on the disk', (t) => {
  const file = join(files(t), 'roas.json');
  const c = config(`rpki: { files: ['${file}', 'https://example.org/roas.json'] }`);
  const said = () => saying((say) => checkRoaAge(say, c, undefined));
  t.like(said(), [{ name: 'roa-age', verdict: 'fail', text: `ROA file ${file}: no such file` }]);
  writeFileSync(file, '{"roas":[]}');
  t.like(said(), [{ verdict: 'ok' }]);
  const old = Date.now() / 1000 - 100_000;
  utimesSync(file, old, old);
  t.like(said(), [{ verdict: 'warn' }]);
  t.deepEqual(
    saying((say) => checkRoaAge(say, config(''), undefined)),
    [],
  );
});

test('with a router files and caches are held against their refresh', (t) => {
  const c = config(`rpki: { files: [r.json], servers: [{ host: 10.0.0.9, refresh: 10m }], refresh: 15m }`);
  const file = { name: 'r.json', vrps: 5, read_s: 60, age_s: 600, failures: 0, last_error: '' };
  const server: RpkiStatus['servers'][number] = {
    ...{ name: '10.0.0.9:8282', uplink: '', preference: 1, state: 'synchronized', version: 1 },
    ...{ vrps: 5, updated_s: 30, expires_s: 7000, last_error: '' },
  };
  const said = (f: Partial<typeof file>, s: Partial<typeof server>) =>
    saying((say) =>
      checkRoaAge(say, c, {
        ...{ vrps_ipv4: 5, vrps_ipv6: 0, loading: false, revalidated: 0, not_refreshed: [] },
        ...{ files: [{ ...file, ...f }], servers: [{ ...server, ...s }] },
      }),
    ).map((check) => check.verdict);
  t.deepEqual(said({}, {}), ['ok', 'ok']);
  t.deepEqual(said({ read_s: 1801 }, { updated_s: 1201 }), ['warn', 'warn']);
  t.deepEqual(said({ age_s: 90_000 }, { state: 'stopped' }), ['warn', 'ok']);
  const { updated_s: _, ...untold } = server;
  t.deepEqual(
    saying((say) =>
      checkRoaAge(say, c, {
        ...{ vrps_ipv4: 0, vrps_ipv6: 0, loading: false, revalidated: 0, not_refreshed: [] },
        ...{ files: [{ ...file, last_error: 'no such file' }], servers: [{ ...untold, last_error: 'refused' }] },
      }),
    ).map((check) => check.text),
    ['ROA file r.json: no such file', 'RPKI cache 10.0.0.9:8282 has not told its ROAs (refused)'],
  );
});
