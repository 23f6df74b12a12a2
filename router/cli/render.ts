/** Text building blocks of the read commands: tables, and numbers with units as people read them. Pure functions. */
import { MlshimError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';

/** Columns of a terminal. */
const WIDTH = 80;

/** A table without rules: columns two blanks apart, no blanks at line ends. */
export function table(rows: readonly (readonly string[])[], widths = columnWidths(rows)): string {
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The width each column needs. */
export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return widths;
}

/** Words in lines of at most `width` columns, the first of them `first`; a longer word has a line of its own. */
export function wrap(words: readonly string[], width: number, first = width): string[] {
  const lines: string[] = [''];
  for (const word of words) {
    const last = lines.length - 1;
    if (lines[last] === '') lines[last] = word;
    else if (lines[last]!.length + 1 + word.length <= (last === 0 ? first : width)) lines[last] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Text behind a mark, wrapped and indented, behind a comma or the like where that is possible. */
export function hanging(mark: string, text: string, indent = mark.length + 2, columns = WIDTH): string {
  const width = columns - indent;
  const parts = text.split(/(?<=[,;:]) /).flatMap((part) => (part.length > width ? part.split(' ') : [part]));
  return `${mark}${wrap(parts, width, columns - mark.length).join(`\n${' '.repeat(indent)}`)}\n`;
}

/**
 * A table whose last column is text of any length. Where it does not fit beside the others, it has lines of its own below
 * its row; the title of such a column goes without saying.
 * @param head titles of the columns; undefined = none are shown
 */
export function textTable(
  head: readonly string[] | undefined,
  rows: readonly (readonly string[])[],
  columns = WIDTH,
): string {
  const all = head === undefined ? rows : [head, ...rows];
  const widths = columnWidths(all.map((row) => row.slice(0, -1)));
  const lines = all.map((row) => withTexts(row.slice(0, -1), widths, [row.at(-1)!], [0], columns));
  if (head !== undefined) lines[0] = firstLine(lines[0]!);
  return lines.join('\n');
}

/**
 * A row of a table and texts of any length behind it. Those that do not fit have lines of their own below.
 * @param textWidths of the columns the texts stand in; a longer text is as long as it is
 */
export function withTexts(
  row: readonly string[],
  widths: readonly number[],
  texts: readonly string[],
  textWidths: readonly number[],
  columns: number,
): string {
  const lines = [row.map((cell, i) => cell.padEnd(widths[i]!)).join('  ')];
  for (const [i, text] of texts.entries()) {
    if (lines.length === 1 && lines[0]!.length + 2 + text.length <= columns)
      lines[0] += `  ${text.padEnd(textWidths[i] ?? 0)}`;
    else if (text !== '') lines.push(...wrap(text.split(' '), columns - 4).map((line) => `    ${line}`));
  }
  return lines.map((line) => line.trimEnd()).join('\n');
}

/** How wide the column of a text is behind rows of these columns, for the texts that fit there. */
export function textWidth(widths: readonly number[], texts: readonly string[], columns: number): number {
  const room = columns - widths.reduce((sum, w) => sum + w + 2, 0);
  return Math.max(0, ...texts.map((text) => text.length).filter((length) => length <= room));
}

/** The titles of a table without those that have no room. */
export function firstLine(text: string): string {
  return text.split('\n')[0]!;
}

/** Three significant digits: 4.12, 41.2, 412. */
function significant(n: number): string {
  if (n === 0) return '0';
  const digits = n < 10 ? 1 : 0;
  return n.toFixed(digits).replace(/\.0$/, '');
}

function scaled(n: number, base: number, units: readonly string[]): string {
  let i = 0;
  let v = n;
  while (v >= base && i < units.length - 1) {
    v /= base;
    i++;
  }
  return `${significant(v)} ${units[i]}`;
}

/** Bits per second: `41 Mb/s`; a plain 0 for silence. */
export function bitRate(bitsPerSecond: number): string {
  return bitsPerSecond < 1 ? '0' : scaled(bitsPerSecond, 1000, ['b/s', 'kb/s', 'Mb/s', 'Gb/s']);
}

/** `3d4h`, `2h5m`, `7m3s`, `12s`: the two largest units. */
export function duration(seconds: number): string {
  const s = Math.floor(seconds);
  const units: readonly (readonly [string, number])[] = [
    ['d', 86400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, n]) => s >= n);
  if (first < 0) return '0s';
  let rest = s;
  let out = '';
  for (const [unit, n] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / n);
    if (count > 0) out += `${count}${unit}`;
    rest -= count * n;
  }
  return out;
}

/** `1h2m` for what is stable, `00:02:10` for what counts up. */
export function clockTime(seconds: number): string {
  const s = Math.floor(seconds);
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${two(Math.floor(s / 3600))}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

const FIELD = /\{([A-Za-z0-9_-]+)\}/g;

/**
 * @param known the fields there are
 * @throws MlshimError USAGE when a format names no field, or one that is not there
 */
export function checkFormat(format: string, known: readonly string[]): void {
  const named = [...format.matchAll(FIELD)].map((m) => m[1]!);
  if (named.length === 0)
    throw new MlshimError('USAGE', `"${format}" names no field, such as {${known[0]}} (known: ${known.join(', ')})`);
  const wrong = named.find((name) => !known.includes(name));
  if (wrong === undefined) return;
  const near = nearest(wrong, known);
  const meant = near === undefined ? '' : `did you mean {${near}}? `;
  throw new MlshimError('USAGE', `no field "${wrong}" (${meant}known: ${known.join(', ')})`);
}

/** A line of `--format`: `{field}` stands for a value, `\\t` and `\\n` for what they do elsewhere. */
export function formatted(format: string, values: object): string {
  const texts = values as Readonly<Record<string, unknown>>;
  const line = format.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  return `${line.replace(FIELD, (_, name: string) => {
    const v = texts[name];
    if (v === undefined || v === null) return '';
    return Array.isArray(v) ? v.map(valueText).join(' ') : valueText(v);
  })}\n`;
}

function valueText(v: unknown): string {
  return typeof v === 'object' ? JSON.stringify(v) : String(v);
}
