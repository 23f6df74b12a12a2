/**
 * Generates docs/config-keys.md, the reference of all keys of the configuration, from the JSON Schema of the built tree:
 * `npm run docs`; `--check` only compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eachKey, jsonSchema } from '../build/router/config/json-schema.js';

const OUT = join(import.meta.dirname, 'config-keys.md');

/** What a key may be, in a few words. */
function takes(s) {
  if (s.$ref !== undefined) return `a \`${s.$ref.split('/').at(-1)}\``;
  if (s.title !== undefined) return s.title;
  if (s.enum !== undefined) return s.enum.map((v) => `\`${v}\``).join(', ');
  if (s.const !== undefined) return `\`${s.const}\``;
  const parts = s.anyOf ?? s.allOf;
  if (parts !== undefined) {
    const all = [...new Set(parts.map(takes))];
    // One of something, or several of it.
    const lists = all.map((text) => all.find((one) => text === `a list: ${one}`) ?? '');
    const kept = all.filter((_, i) => lists[i] === '');
    return [...kept, ...(kept.length < all.length ? ['a list of them'] : [])].join(', or ');
  }
  if (s.type === 'integer') return `${s.minimum}-${s.maximum}`;
  if (s.type === 'boolean') return 'true, false';
  if (s.type === 'array') return `a list: ${takes(s.items)}`;
  if (s.type !== 'object') return 'text';
  return typeof s.additionalProperties === 'object' ? 'a mapping of names' : 'a mapping';
}

function usual(s, isRequired) {
  const value = s.default;
  if (isRequired) return '**required**';
  return value === undefined || typeof value === 'object' ? '' : `\`${value}\``;
}

const rows = new Map();
eachKey(jsonSchema(), (place, key, isRequired) => {
  rows.set(place, { what: key.description ?? '', takes: takes(key), usual: usual(key, isRequired) });
});

// What may be one or a list has its keys in both places.
for (const place of rows.keys()) {
  const inList = place.replace(/\.(\w+)$/, '[].$1');
  if (inList !== place && rows.has(inList)) rows.delete(place);
}

/** Each section of the file is a table, and so are the keys of a BGP peer. */
function partOf(place) {
  const section = /^(bgp\.peers\[\]|\w+)[.[]/.exec(place);
  return section === null ? '' : section[1];
}

const cell = (text) => text.replaceAll('|', '\\|');
const table = (part) => {
  const inside = [...rows].filter(([place]) => partOf(place) === part);
  const lines = inside.map(([place, r]) => `| \`${place}\` | ${cell(r.takes)} | ${r.usual} | ${cell(r.what)} |`);
  const head = part === '' ? 'The whole file' : `\`${part}\``;
  return `## ${head}\n| key | takes | default | |\n| --- | --- | --- | --- |\n${lines.join('\n')}\n`;
};

const parts = [...new Set([...rows.keys()].map(partOf))].filter((p) => p !== 'bgp.peers[]');
parts.splice(parts.indexOf('bgp') + 1, 0, 'bgp.peers[]');
const text = `# Keys of the configuration

Generated from the schema by \`npm run docs\`; do not edit. NAME is a name of your choice, \`[]\` an item of a list. A \`route_rule\`
stands in \`bgp.policies\` and in a peer's \`import\` and \`export\`, a \`route_match\` in such a rule and inside of another one. \`!file\`, \`!env\` and
\`!include\` may stand for any value; names of files start at the folder of the file. \`mlshim config schema\` is the same for editors.

${parts.map(table).join('\n')}`;

if (process.argv.includes('--check')) {
  const isCurrent = readFileSync(OUT, 'utf8') === text;
  if (!isCurrent) console.error('docs/config-keys.md is not what the schema says: run npm run docs');
  process.exitCode = isCurrent ? 0 : 1;
} else writeFileSync(OUT, text);
