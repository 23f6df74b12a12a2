/** Every YAML block of the documentation is a configuration, or a part of one that this file completes. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Ajv } from 'ajv';
import test, { type ExecutionContext } from 'ava';
import { formatDiagnostics } from '../../../router/config/diagnostic.ts';
import { eachKey, jsonSchema } from '../../../router/config/json-schema.ts';
import { checkConfig } from '../../../router/config/load.ts';
import { SourceTree } from '../../../router/config/tree.ts';
import { formatKey, generatePrivateKey, publicKey } from '../../../wg/keys.ts';

const ROOT = join(import.meta.dirname, '../../../..');
const ROAS = '{ "roas": [{ "prefix": "172.20.229.112/28", "maxLength": 28, "asn": "AS4242420229" }] }';
const validate = new Ajv({ strict: true, allowUnionTypes: true }).compile(jsonSchema() as object);

const key = (): string => formatKey(generatePrivateKey());
const foreignKey = (): string => formatKey(publicKey(generatePrivateKey()));

/** Path and text of the blocks, by `FILE:LINE`. */
function blocksOf(file: string, language: string): (readonly [place: string, text: string])[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const found = text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'));
  return [...found].map((m) => [`${file}:${text.slice(0, m.index).split('\n').length}`, m[1]!]);
}

const DOCS = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((f) => `docs/${f}`)].filter((f) => f.endsWith('.md'));

/** A part of a file as a file: below `bgp` or `bgp.peers` where it belongs there, with the uplinks it names. */
function completed(block: string): string {
  let text = block.replaceAll('KEY', foreignKey()).replaceAll('HOST:PORT', 'peer.example.net:20229');
  if (text.startsWith('- ')) text = `bgp:\n  dn42: { private_key: ${key()} }\n  peers:\n${text.replace(/^/gm, '    ')}`;
  if (text.startsWith('  ')) text = `bgp:\n${text}`;
  if (!/^ {2}asn:/m.test(text)) text = text.replace(/^bgp:\n/m, 'bgp:\n  asn: 4242421080\n  router_id: 172.20.229.1\n');
  if (!/^ {2}policy:/m.test(text)) text = text.replace(/^bgp:\n/m, 'bgp:\n  policy: transit\n');
  if (/^uplinks:/m.test(text)) return text;
  const named = [...new Set([...text.matchAll(/\bvia: (\w+)/g)].map((m) => m[1]!))];
  return named.length === 0 && /private_key/.test(text)
    ? text
    : `${text}\nuplinks:\n${[...named, 'other'].map((name) => `  ${name}: { wireguard: { private_key: ${key()} } }\n`).join('')}`;
}

/** What a text names stands beside it: keys, included peers and tunnels, ROAs, the module of docs/policy.md. */
function writeNamed(folder: string, text: string): void {
  const write = (name: string, content: string): void => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content, { mode: 0o600 });
  };
  for (const [, name] of text.matchAll(/!file ([\w./-]+)/g)) write(name!, name!.endsWith('.pass') ? 'secret' : key());
  for (const [, name] of text.matchAll(/!include ([\w./*-]+)/g)) {
    const isPeers = name!.includes('*');
    const peer = `- asn: 4242420263\n  wireguard: { public_key: ${foreignKey()} }\n`;
    write(name!.replace('*', 'AS4242420263'), isPeers ? peer : `{ private_key: ${key()}, addresses: [10.0.0.1/24] }\n`);
  }
  for (const [, name] of text.matchAll(/(roa\/[\w.]+)/g)) write(name!, ROAS);
  const filters = /filters: (\S+)/.exec(text)?.[1];
  if (filters !== undefined)
    write(filters, blocksOf('docs/policy.md', 'ts')[0]![1].replace(/: Filter\w+( \| undefined)?|^import.*$/gm, ''));
}

async function check(t: ExecutionContext, place: string, block: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const text = completed(block);
  writeNamed(folder, text);
  const path = join(folder, 'mlshim.yaml');
  const { diagnostics } = await checkConfig({ shown: place, path, text }, {});
  t.deepEqual(diagnostics, [], `${place}:\n${text}\n${formatDiagnostics(diagnostics)}`);
  t.true(validate(new SourceTree(place, path, text, {}).root), `${place}: ${JSON.stringify(validate.errors)}`);
}

for (const file of DOCS) {
  const blocks = blocksOf(file, 'ya?ml');
  if (blocks.length === 0) continue;
  test(`the configurations of ${file} load without a warning`, async (t) => {
    for (const [place, block] of blocks) await check(t, place, block);
  });
}

test('keys that the documentation names with their place exist', (t) => {
  const known = new Set<string>();
  eachKey(jsonSchema(), (place) => known.add(place.replace(/\[\]|\.NAME/g, '')));
  const sections = [...known].filter((k) => !k.includes('.'));
  const named = new RegExp(`(?<![\\w./-])(?:${sections.join('|')})(?:\\.[a-z0-9_]+)+(?![\\w(.]*[/(])`, 'g');
  let found = 0;
  for (const file of DOCS)
    for (const [, code] of readFileSync(join(ROOT, file), 'utf8').matchAll(/`([^`\n]+)`/g))
      for (const [key] of code!.matchAll(named)) {
        found++;
        t.true(known.has(key), `${file}: ${key}`);
      }
  t.true(found > 20, `${found} keys`);
});

test('a block that is wrong would be noticed', async (t) => {
  const wrong = completed('- asn: 4242420263\n  wiregard:\n    public_key: KEY\n');
  const { diagnostics } = await checkConfig({ shown: 'x', path: '/nowhere/x.yaml', text: wrong }, {});
  t.regex(diagnostics[0]!.message, /unknown key "wiregard" \(did you mean "wireguard"\?/);
});
