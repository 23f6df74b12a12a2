/**
 * The shape of a command and how a command line finds its command: unique prefixes of every word are accepted, a bare
 * noun means `show`. Help text comes from the same table. Parses options with node:util; runs nothing.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { MlshimError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { wrap } from './render.ts';

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
  /** What `--json` prints: a message of control.proto by its name, or the document in words (docs/json.md is made of it). */
  readonly json?: string;
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
  /** Columns of the terminal; undefined where standard output is none. */
  readonly columns?: number | undefined;
}

/** How wide listings of routes and events are: as the terminal, and a line each where there is none, as scripts cut them up. */
export function listingColumns({ columns }: Io): number {
  return columns === undefined ? Infinity : Math.max(80, columns);
}

export interface Found {
  readonly command: Command;
  /** The arguments behind the command's words. */
  readonly argv: readonly string[];
  /** Only the noun was given: its help is about all of its commands. */
  readonly isBare?: boolean;
}

/**
 * The command named by the first words of `argv`.
 * @throws MlshimError USAGE when there is none, or more than one; its detail `words` is the noun when that was found
 */
export function findCommand(table: readonly Command[], argv: readonly string[]): Found {
  const typed = argv[0] ?? '';
  const nouns = [...new Set(table.map((c) => c.words[0]!))];
  // `r g` can only be `route get`, although `r` alone could be `run` too.
  const both = table.filter((c) => c.words.length === 2 && startsWith(c, argv));
  const isExact = nouns.includes(typed);
  const first =
    !isExact && typed !== '' && both.length === 1
      ? both[0]!.words[0]!
      : pick(nouns, typed, 'command', verbsNamed(table, typed));
  const ofNoun = table.filter((c) => c.words[0] === first);
  const single = ofNoun.find((c) => c.words.length === 1);
  if (single !== undefined) return { command: single, argv: argv.slice(1) };
  const word = argv[1];
  const isBare = word === undefined || word.startsWith('-');
  const bare = ofNoun.find((c) => c.isDefault) ?? (asksForHelp(argv) ? ofNoun[0] : undefined);
  if (bare !== undefined && isBare) return { command: bare, argv: argv.slice(1), isBare };
  const verbs = ofNoun.map((c) => c.words[1]!);
  const second = pick(verbs, isBare ? '' : word, `"${first}" command`, [], [first]);
  return { command: ofNoun.find((c) => c.words[1] === second)!, argv: argv.slice(2) };
}

/** `bgp rpki` for `rpki`. */
function verbsNamed(table: readonly Command[], typed: string): string[] {
  return table.filter((c) => c.words[1] === typed).map((c) => c.words.join(' '));
}

function asksForHelp(argv: readonly string[]): boolean {
  return argv.includes('--help') || argv.includes('-h');
}

/** `help bgp peer` and `bgp help` as `bgp peer --help` and `bgp --help`. */
export function plainHelp(table: readonly Command[], argv: readonly string[]): readonly string[] {
  if (argv[0] === 'help') return [...argv.slice(1), '--help'];
  const isNoun = table.some((c) => c.words.length === 2 && c.words[0] === argv[0]);
  return isNoun && argv[1] === 'help' ? [argv[0]!, '--help'] : argv;
}

function startsWith(c: Command, argv: readonly string[]): boolean {
  return argv.length >= 2 && argv[1] !== '' && c.words.every((w, i) => w.startsWith(argv[i]!));
}

/**
 * @param meant what is suggested before the nearest word
 * @param before the words of the command that are known by then
 */
function pick(
  words: readonly string[],
  typed: string,
  what: string,
  meant: readonly string[],
  before: readonly string[] = [],
): string {
  if (words.includes(typed)) return typed;
  const refuse = (why: string): never => {
    throw new MlshimError('USAGE', why, { words: before });
  };
  if (typed === '') return refuse(`no ${what} given (known: ${words.join(', ')})`);
  const matches = words.filter((w) => w.startsWith(typed));
  if (matches.length === 1) return matches[0]!;
  if (matches.length > 1) return refuse(`"${typed}" is ambiguous: ${matches.join(', ')}`);
  const near = nearest(typed, words);
  const suggested = meant.length > 0 ? meant : near === undefined ? [] : [near];
  const help = suggested.length === 0 ? `known: ${words.join(', ')}` : `did you mean "${suggested.join('" or "')}"?`;
  return refuse(`unknown ${what} "${typed}" (${help})`);
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
    if (plain['help'] !== true) checkCount(command, positionals);
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

/** @throws MlshimError USAGE when there are too few or too many arguments */
function checkCount(command: Command, given: readonly string[]): void {
  if (given.length >= command.min && given.length <= command.max) return;
  const isMissing = given.length < command.min;
  const what = isMissing ? `${argWords(command)[given.length]} is missing` : `"${given[command.max]}" is too much`;
  throw new MlshimError('USAGE', `${what}\n${usage(command, '  usage: ')}`);
}

/** How a command is written, at most 80 columns wide. */
function usage(command: Command, before = ''): string {
  const words = usageWords(command);
  const indent = ' '.repeat(before.length + 2);
  return before + wrap(words, 80 - indent.length, 80 - before.length).join(`\n${indent}`);
}

/** Arguments of a command; what stands in brackets is one. */
function argWords({ args }: Command): string[] {
  return args.match(/(?:\[(?:[^[\]]|\[[^\]]*\])*\]|\S)+/g) ?? [];
}

function usageWords(command: Command): string[] {
  const options = Object.entries(command.options).map(([name, o]) => {
    const dash = o.short === undefined ? `--${name}` : `-${o.short}`;
    if (o.bare !== undefined) return `[${dash}[=${o.value ?? 'VALUE'}]]`;
    return o.type === 'boolean' ? `[${dash}]` : `[${dash} ${o.value ?? 'VALUE'}]`;
  });
  return [['mlshim', ...command.words].join(' '), ...options, ...argWords(command)].filter((w) => w !== '');
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
  return `${usage(command)}\n\n${wrap(command.summary.split(' '), 80).join('\n')}${options}${notes}\n`;
}

/** Help of a noun: its commands, a line each. */
export function nounHelp(table: readonly Command[], noun: string): string {
  const commands = table.filter((c) => c.words[0] === noun && c.hidden !== true);
  const bare = commands.find((c) => c.isDefault);
  const rows = commands.map((c): [string, string] => [c.words[1]!, c.summary]);
  const alone = bare === undefined ? '' : `mlshim ${noun} alone means mlshim ${bare.words.join(' ')}.\n`;
  const word = bare === undefined ? 'COMMAND' : '[COMMAND]';
  return `usage: mlshim ${noun} ${word} [OPTIONS] [ARGS]\n\n${columns(rows)}

${alone}mlshim ${noun} COMMAND --help tells more.
`;
}

/** Help of everything. */
export function tableHelp(table: readonly Command[]): string {
  const rows = table
    .filter((c) => c.hidden !== true)
    .map((c): [string, string] => [[...c.words, c.args].filter((w) => w !== '').join(' '), c.summary]);
  return `usage: mlshim COMMAND [OPTIONS] [ARGS]\n\n${columns(rows)}

Words may be cut short (mlshim r g 1.1.1.1). mlshim COMMAND --help tells more,
mlshim bgp --help lists the commands of bgp.
`;
}

/** Two columns, the second one wrapped at 80 columns. */
function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(32, Math.max(...rows.map(([left]) => left.length))) + 2;
  return rows
    .map(([left, right]) => {
      const lines = wrap(right.split(' '), 78 - width);
      const head = left.length + 2 > width ? `  ${left}\n  ${' '.repeat(width)}` : `  ${left.padEnd(width)}`;
      return head + lines.join(`\n  ${' '.repeat(width)}`);
    })
    .join('\n');
}
