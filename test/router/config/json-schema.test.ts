import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import test from 'ava';
import { DESCRIPTIONS } from '../../../router/config/descriptions.ts';
import { eachKey, jsonSchema } from '../../../router/config/json-schema.ts';
import { configSchema } from '../../../router/config/schema.ts';
import { SourceTree } from '../../../router/config/tree.ts';

const FOLDER = join(import.meta.dirname, '../../../../test/router/config');
const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

/** Strict: the schema itself must be one of draft-7, without keywords nobody knows. */
const ajv = new Ajv({ strict: true, strictRequired: false, allowUnionTypes: true, allErrors: true });
const validate = ajv.compile(jsonSchema() as object);

/** What an editor sees: the tree before anything is made of its texts. */
function treeOf(path: string): unknown {
  return new SourceTree(path, path, readFileSync(path, 'utf8'), { MLSHIM_TEST_KEY: KEY }).root;
}

type Issue = NonNullable<ReturnType<typeof configSchema.safeParse>['error']>['issues'][number];

/** Whether an issue is one of shape: kinds, keys, words and bounds. What a text says is beyond a JSON Schema. */
function isShape(issue: Issue): boolean {
  if (issue.code === 'invalid_union') return issue.errors.every((branch) => (branch as Issue[]).some(isShape));
  return issue.code !== 'custom' && issue.code !== 'invalid_key';
}

const said = (): string => ajv.errorsText(validate.errors);

for (const folder of ['warned', 'broken']) {
  const files = readdirSync(join(FOLDER, folder)).filter((f) => f.endsWith('.yaml'));
  test(`editors are told the same as config check: ${folder}`, (t) => {
    let refused = 0;
    for (const file of files) {
      const root = treeOf(join(FOLDER, folder, file));
      if (root === undefined) continue;
      const issues = configSchema.safeParse(root).error?.issues ?? [];
      const expected = issues.filter(isShape).map((i) => `${i.path.join('.')}: ${i.code} ${i.message}`);
      if (expected.length > 0) refused++;
      t.is(validate(root), expected.length === 0, `${file}: ${said()}; ${expected.join('; ')}`);
    }
    t.is(refused > 0, folder === 'broken');
  });
}

const bgp = (peer: object, more: object = {}): object => ({
  uplinks: { a: { wireguard: { private_key: KEY } } },
  bgp: { asn: 65001, router_id: '10.0.0.1', ...more, peers: [{ asn: 65002, address: 'fe80::2', via: 'a', ...peer }] },
});

const rule = (match: unknown): object => bgp({ import: [{ match }, 'accept'] }, { policies: { p: [{ match }, 'p2'] } });

test('rules may be nested, and each place of a rule knows its keys', (t) => {
  for (const match of [
    { not: { as_path_contains: '64496..64511' } },
    { not: { as_path_contains: [64512, '64513..64515'] } },
    { any: [{ not: { any: [{ roa: 'valid' }, { peer: ['x', 'y'] }] } }, {}] },
    {
      all: [{ prefix: '10.0.0.0/8+' }, { prefix: [{ prefix: 'fd00::/8', min: 44, max: 64 }, '172.20.0.0/14{21,29}'] }],
    },
    { path_length: 3, med: { min: 1 }, local_pref: { max: 5 }, origin: 'igp', next_hop: ['10.0.0.0/8'] },
  ]) {
    t.true(validate(rule(match)), `${JSON.stringify(match)}: ${said()}`);
    t.true(configSchema.safeParse(rule(match)).success);
  }
  for (const match of [
    { not: [{ roa: 'valid' }] },
    { not: { roa: 'good' } },
    { not: { not: { as_path_contain: 1 } } },
    { any: { roa: 'valid' } },
    { all: [{ any: [{ prefix: { min: 1 } }] }] },
    { prefix: [] },
    { path_length: 5000 },
    { med: { least: 1 } },
    'accept',
  ]) {
    t.false(validate(rule(match)), JSON.stringify(match));
    t.false(configSchema.safeParse(rule(match)).success, JSON.stringify(match));
  }
});

test('keys that take several kinds take each of them, and no other', (t) => {
  for (const peer of [
    { bfd: true },
    { bfd: { interval: '300ms', strict: true } },
    { max_prefixes: 10 },
    { max_prefixes: { limit: 10, action: 'restart', restart_after: 60 } },
    { asn: 'AS1.10' },
    { asn: [65002, 65003] },
    { multihop: 3, ttl_security: 3 },
    { export: { module: 'f' } },
    { local_as: { asn: 65009, no_prepend: true } },
    { graceful_restart: 'helper' },
    { dn42: { latency: 3, bandwidth: '100M', crypto: 'psk' } },
  ])
    t.true(validate(bgp(peer)), `${JSON.stringify(peer)}: ${said()}`);
  for (const peer of [
    { bfd: 'yes' },
    { bfd: { strict: 'yes' } },
    { max_prefixes: { limt: 10 } },
    { asn: [] },
    { asn: true },
    { multihop: 0 },
    { export: { modul: 'f' } },
    { local_as: {} },
    { graceful_restart: 'both' },
    { adress: 'fe80::3' },
  ])
    t.false(validate(bgp(peer)), JSON.stringify(peer));
});

test('each key is described, and nothing else is', (t) => {
  const places = new Set<string>();
  eachKey(jsonSchema(), (place) => void places.add(place));
  const said = Object.keys(DESCRIPTIONS);
  t.deepEqual(
    [...places].filter((p) => !said.includes(p)),
    [],
    'these need a line in router/config/descriptions.ts',
  );
  t.deepEqual(
    said.filter((p) => !places.has(p)),
    [],
    'these are no keys any more',
  );
});
