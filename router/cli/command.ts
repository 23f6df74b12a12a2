/**
 * The shape of a command and how a command line finds its command: unique prefixes of every word are accepted, a bare
 * noun means `show`. Help text comes from the same table. Parses options with node:util; runs nothing.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { MlshimError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  /** Name of the value in help, such as FILE. */
  readonly value?: string;
  /** What a string option means when it is given without `=VALUE`. */
  readonly bare?: string;
  readonly help: string;
}

export interface Command {
  /** `status`, or noun and verb: `route get`. */
  readonly words: readonly string[];
  /** Positional arguments in help: `DST`, `[PEER]`, `[-- APP ARGS...]`. */
  readonly args: string;
  readonly summary: string;
  /** What help says below the options: marks, examples. */
  readonly notes?: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  /** How many positional arguments are allowed. */
  readonly min: number;
  readonly max: number;
  /** A noun's command that is meant when only the noun is given. */
  readonly isDefault?: boolean;
  /** Left out of `--help`'s list. */
  readonly hidden?: boolean;
  /** Resolves to the exit status. */
  run(input: Input): Promise<number>;
}

export interface Input {
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  /** What follows `--`; undefined when there is no `--`. */
  readonly rest: readonly string[] | undefined;
  readonly io: Io;
}

/** Where a command writes; tests give their own. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** Resolves when most of what was written has been taken. */
  drained?(): Promise<void>;
  readonly env: NodeJS.ProcessEnv;
  /** Whether standard output is a terminal, and which colours it has. */
  readonly isTty: boolean;
}

export interface Found {
  readonly command: Command;
  /** The arguments behind the command's words. */
  readonly argv: readonly string[];
}

/**
 * The command named by the first words of `argv`.
 * @throws MlshimError USAGE when there is none, or more than one
 */
export function findCommand(table: readonly Command[], argv: readonly string[]): Found {
  const typed = argv[0] ?? '';
  const nouns = [...new Set(table.map((c) => c.words[0]!))];
  // `r g` can only be `route get`, although `r` alone could be `run` too.
  const both = table.filter((c) => c.words.length === 2 && startsWith(c, argv));
  const isExact = nouns.includes(typed);
  const first = !isExact && typed !== '' && both.length === 1 ? both[0]!.words[0]! : pick(nouns, typed, 'command');
  const ofNoun = table.filter((c) => c.words[0] === first);
  const single = ofNoun.find((c) => c.words.length === 1);
  if (single !== undefined) return { command: single, argv: argv.slice(1) };
  const word = argv[1];
  const bare = ofNoun.find((c) => c.isDefault);
  if (bare !== undefined && (word === undefined || word.startsWith('-'))) return { command: bare, argv: argv.slice(1) };
  const verbs = ofNoun.map((c) => c.words[1]!);
  const second = pick(verbs, word ?? '', `"${first}" command`);
  return { command: ofNoun.find((c) => c.words[1] === second)!, argv: argv.slice(2) };
}

function startsWith(c: Command, argv: readonly string[]): boolean {
  return argv.length >= 2 && argv[1] !== '' && c.words.every((w, i) => w.startsWith(argv[i]!));
}

function pick(words: readonly string[], typed: string, what: string): string {
  if (words.includes(typed)) return typed;
  const matches = typed === '' ? [] : words.filter((w) => w.startsWith(typed));
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) throw new MlshimError('USAGE', `"${typed}" is ambiguous: ${matches.join(', ')}`);
  const near = nearest(typed, words);
  const help = near === undefined ? ` (known: ${words.join(', ')})` : ` (did you mean "${near}"?)`;
  throw new MlshimError('USAGE', typed === '' ? `no ${what} given${help}` : `unknown ${what} "${typed}"${help}`);
}

/**
 * Options and arguments of one command.
 * @throws MlshimError USAGE
 */
export function parseInput(command: Command, argv: readonly string[], io: Io): Input {
  const dashes = argv.indexOf('--');
  const own = dashes < 0 ? argv : argv.slice(0, dashes);
  const rest = dashes < 0 ? undefined : argv.slice(dashes + 1);
  const options: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean', short: 'h' } };
  for (const [name, o] of Object.entries(command.options))
    options[name] = { type: o.type, ...(o.short !== undefined && { short: o.short }) };
  try {
    const args = own.map((word) => {
      const bare = word.startsWith('--') ? command.options[word.slice(2)]?.bare : undefined;
      return bare === undefined ? word : `${word}=${bare}`;
    });
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true, strict: true });
    const plain = values as Record<string, string | boolean | undefined>;
    if (plain['help'] !== true && (positionals.length < command.min || positionals.length > command.max))
      throw new MlshimError('USAGE', `usage: ${usageLine(command)}`);
    return { args: positionals, options: plain, rest, io };
  } catch (e) {
    if (e instanceof MlshimError) throw e;
    const known = Object.keys(options);
    const wrong = /'--?([\w-]+)/.exec((e as Error).message)?.[1];
    const near = wrong === undefined || known.includes(wrong) ? undefined : nearest(wrong, known);
    const reason = (e as Error).message.split('. ')[0]!;
    throw new MlshimError('USAGE', near === undefined ? reason : `${reason} (did you mean --${near}?)`);
  }
}

export function usageLine(command: Command): string {
  const options = Object.entries(command.options).map(([name, o]) => {
    const dash = o.short === undefined ? `--${name}` : `-${o.short}`;
    if (o.bare !== undefined) return `[${dash}[=${o.value ?? 'VALUE'}]]`;
    return o.type === 'boolean' ? `[${dash}]` : `[${dash} ${o.value ?? 'VALUE'}]`;
  });
  return ['mlshim', ...command.words, ...options, command.args].filter((w) => w !== '').join(' ');
}

/** Help of one command. */
export function commandHelp(command: Command): string {
  const rows = Object.entries(command.options).map(([name, o]): [string, string] => {
    const placeholder = o.value ?? 'VALUE';
    const value = o.bare !== undefined ? `[=${placeholder}]` : o.type === 'string' ? ` ${placeholder}` : '';
    return [`${o.short === undefined ? '    ' : `-${o.short}, `}--${name}${value}`, o.help];
  });
  const options = rows.length === 0 ? '' : `\n\n${columns(rows)}`;
  const notes = command.notes === undefined ? '' : `\n\n${command.notes.map((n) => `  ${n}`.trimEnd()).join('\n')}`;
  return `${usageLine(command)}\n\n${command.summary}${options}${notes}\n`;
}

/** Help of everything. */
export function tableHelp(table: readonly Command[]): string {
  const rows = table
    .filter((c) => c.hidden !== true)
    .map((c): [string, string] => [[...c.words, c.args].filter((w) => w !== '').join(' '), c.summary]);
  return `usage: mlshim COMMAND [OPTIONS] [ARGS]\n\n${columns(rows)}

Words may be cut short (mlshim r g 1.1.1.1). mlshim COMMAND --help tells more.
`;
}

/** Two columns, the second one wrapped at 80 columns. */
function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(32, Math.max(...rows.map(([left]) => left.length))) + 2;
  return rows
    .map(([left, right]) => {
      const lines = wrap(right, 78 - width);
      const head = left.length + 2 > width ? `  ${left}\n  ${' '.repeat(width)}` : `  ${left.padEnd(width)}`;
      return head + lines.join(`\n  ${' '.repeat(width)}`);
    })
    .join('\n');
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.length - 1;
    if (lines[last] === '') lines[last] = word;
    else if (lines[last]!.length + 1 + word.length <= width) lines[last] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}
