/**
 * Generates docs/json.md, what `--json` prints, from the command table and the comments of control.proto: `npm run docs`;
 * `--check` only compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMMANDS } from '../build/router/cli/commands.js';

const OUT = join(import.meta.dirname, 'json.md');
const PROTO = join(import.meta.dirname, '../router/control/control.proto');
const TYPES = { string: 'text', double: 'number', uint32: 'number', bool: 'true, false' };

/** Messages by name: what each is, and its fields with what the comments say. */
function messagesOf(text) {
  const found = new Map();
  let current;
  let comments = [];
  for (const line of text.split('\n').map((l) => l.trim())) {
    const message = /^message (\w+) \{/.exec(line);
    const field = /^(repeated |optional )?(map<.*>|\w+) (\w+) = \d+;(?:\s*\/\/ (.*))?$/.exec(line);
    if (line.startsWith('//')) {
      comments.push(line.slice(2).trim());
      continue;
    }
    if (message !== null) {
      current = { what: comments.join(' '), fields: [] };
      found.set(message[1], current);
    } else if (field !== null && current !== undefined) {
      const [, label = '', type, name, after] = field;
      const what = [...comments, after].filter((t) => t !== undefined && t !== '').join('; ');
      current.fields.push({ name, type, label: label.trim(), what });
    } else if (line.startsWith('}')) current = undefined;
    comments = [];
  }
  return found;
}

const messages = messagesOf(readFileSync(PROTO, 'utf8'));
const linked = (name) => (messages.has(name) ? `[${name}](#${name.toLowerCase()})` : name);

function typeText({ type, label }) {
  const map = /^map<\w+, (\w+)>$/.exec(type);
  const one = map === null ? (TYPES[type] ?? linked(type)) : `a mapping of names to ${TYPES[map[1]]}`;
  return label === 'repeated' ? `a list: ${one}` : label === 'optional' ? `${one}, or not there` : one;
}

/** Messages that are printed, those inside of them after each. */
function printed() {
  const names = new Set();
  const add = (name) => {
    if (!messages.has(name) || names.has(name)) return;
    names.add(name);
    for (const f of messages.get(name).fields) add(f.type);
  };
  for (const c of COMMANDS) for (const word of c.json?.match(/\w+/g) ?? []) add(word);
  return [...names];
}

const cell = (text) => text.replaceAll('|', '\\|');
const commands = COMMANDS.filter((c) => c.json !== undefined).map(
  (c) => `| \`mlshim ${c.words.join(' ')}\` | ${cell(c.json.replace(/\b[A-Z]\w+/g, linked))} |`,
);
const sections = printed().map((name) => {
  const { what, fields } = messages.get(name);
  const rows = fields.map((f) => `| \`${f.name}\` | ${typeText(f)} | ${cell(f.what)} |`);
  return `## ${name}\n${what === '' ? '' : `${what}\n`}\n| field | | |\n| --- | --- | --- |\n${rows.join('\n')}\n`;
});

const text = `# What \`--json\` prints
<!-- Made by docs/json.mjs from router/cli/commands.ts and router/control/control.proto: npm run docs -->

\`-j\` prints one document, \`-J\` (listings, \`bgp watch\`) one per line. Names are in snake_case, times in the unit that the name ends with
(\`_s\`, \`_ms\`). Every field is always there, with 0, false, an empty text or an empty list where there is nothing to say, unless it says
"or not there". Within a major version fields are only added. A command that fails prints nothing on standard output, its
reason on standard error, and has an exit status of its own (\`mlshim explain CODE\`); 1 with a document is a negative answer.

| command | document |
| --- | --- |
${commands.join('\n')}

${sections.join('\n')}`;

if (process.argv.includes('--check')) {
  if (readFileSync(OUT, 'utf8') !== text) {
    console.error('docs/json.md is not what the commands print: npm run docs');
    process.exit(1);
  }
} else writeFileSync(OUT, text);
