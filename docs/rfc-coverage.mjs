/**
 * Generates docs/rfc-coverage.md from the RFC citations in the code: `npm run docs`; `--check` only compares.
 * A citation is `RFC 9293 §3.10.7.4` or `RFC 9293`; the regular form is what makes this table possible.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const OUT = join(import.meta.dirname, 'rfc-coverage.md');
const CODE = ['router', 'bgp', 'wg', 'shim'];
/** Speaks of RFCs to users; what does as they say cites them itself. */
const NOT_CODE = 'router/config/descriptions.ts';
const CITATION = /\bRFC (\d{3,5})(?:,? §([0-9A-Z]+(?:\.[0-9A-Za-z]+)*))?/g;

/** @returns Map of RFC number -> Map of file -> Set of sections */
function collect() {
  const rfcs = new Map();
  for (const folder of CODE) {
    for (const path of readdirSync(join(ROOT, folder), { recursive: true }).sort()) {
      if (!/\.(ts|c|h|cc|go)$/.test(path)) continue;
      const file = `${folder}/${path}`;
      if (file === NOT_CODE) continue;
      for (const [, number, section] of readFileSync(join(ROOT, file), 'utf8').matchAll(CITATION)) {
        if (!rfcs.has(number)) rfcs.set(number, new Map());
        const files = rfcs.get(number);
        if (!files.has(file)) files.set(file, new Set());
        if (section !== undefined) files.get(file).add(section);
      }
    }
  }
  return rfcs;
}

const byNumber = (a, b) => a.localeCompare(b, 'en', { numeric: true });
const rows = [...collect()]
  .sort(([a], [b]) => byNumber(a, b))
  .map(([number, files]) => {
    const where = [...files].map(([file, sections]) => {
      const list = [...sections].sort(byNumber).map((s) => `§${s}`);
      return `${file}${list.length > 0 ? ` (${list.join(', ')})` : ''}`;
    });
    return `| [${number}](https://www.rfc-editor.org/rfc/rfc${number}) | ${where.join('<br>')} |`;
  });

const text = `# RFC coverage

Generated from the citations in the code by \`npm run docs\`; do not edit. A row says where an RFC is implemented or
consciously deviated from, not that every clause of it is.

| RFC | where |
| --- | --- |
${rows.join('\n')}
`;

if (process.argv.includes('--check')) {
  const isCurrent = readFileSync(OUT, 'utf8') === text;
  if (!isCurrent) console.error('docs/rfc-coverage.md is not what the code cites: run npm run docs');
  process.exitCode = isCurrent ? 0 : 1;
} else writeFileSync(OUT, text);
