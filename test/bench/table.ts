/**
 * What every benchmark shares: rounds of interleaved variants, medians with their spread, and the printed table.
 * Variants run in turn within a round, so that a slow minute of the machine hits all of them.
 */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';

export interface BenchOptions {
  readonly rounds: number;
  /** Progress lines; nothing with --json. */
  readonly log: (line: string) => void;
}

/** One figure: the medians of its samples, in the unit of its name. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: number;
}

/** What a benchmark module's `run` gives back. Ratios are of medians. */
export interface BenchReport {
  readonly results: readonly Figure[];
  readonly ratios: Readonly<Record<string, number>>;
  /** What was not measured, and why. */
  readonly notes?: readonly string[];
}

/** A benchmark module: `test/bench/NAME.ts`. */
export interface BenchModule {
  run(options: BenchOptions): Promise<BenchReport>;
}

/** Samples of several figures, collected in any order. */
export class Samples {
  readonly #byName = new Map<string, { unit: string; values: number[] }>();

  add(name: string, unit: string, value: number): void {
    const entry = this.#byName.get(name) ?? { unit, values: [] };
    entry.values.push(value);
    this.#byName.set(name, entry);
  }

  median(name: string): number {
    return medianOf(this.#byName.get(name)?.values ?? []);
  }

  /** Ratio of two medians; NaN when one was not measured. */
  ratio(a: string, b: string): number {
    return this.median(a) / this.median(b);
  }

  /** Geometric mean of two ratios of medians. */
  meanRatio(a1: string, b1: string, a2: string, b2: string): number {
    return Math.sqrt(this.ratio(a1, b1) * this.ratio(a2, b2));
  }

  figures(): Figure[] {
    return [...this.#byName].map(([name, { unit, values }]) => ({
      name,
      unit,
      median: medianOf(values),
      min: Math.min(...values),
      max: Math.max(...values),
      samples: values.length,
    }));
  }
}

export function medianOf(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** CPU seconds this process has used. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export function machineLine(): string {
  const [first] = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} x ${first?.model.trim() ?? 'unknown CPU'}, ${gib} GiB, Linux ${release()}, Node ${process.version}`;
}

/** The commit the benchmark ran at, with a mark when the tree was changed. */
export function commitLine(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim();
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return git('rev-parse', '--short', 'HEAD') + (changed ? ' with local changes' : '');
  } catch {
    return 'unknown';
  }
}

/** The report as text, one figure per line. */
export function renderReport(bench: string, report: BenchReport): string {
  const rows = report.results.map((f) => [
    f.name,
    short(f.median),
    `${short(f.min)} - ${short(f.max)}`,
    f.unit,
    String(f.samples),
  ]);
  const table = [['figure', 'median', 'min - max', 'unit', 'n'], ...rows];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  const isText = (i: number): boolean => i === 0 || i === 3;
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (isText(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  const ratios = Object.entries(report.ratios).map(([name, value]) => `  ${name}: ${short(value)}`);
  return [
    `${bench}: ${machineLine()}, commit ${commitLine()}`,
    '',
    ...table.map(line),
    ...(ratios.length > 0 ? ['', 'ratios', ...ratios] : []),
    ...(report.notes ?? []).flatMap((note, i) => (i === 0 ? ['', `note: ${note}`] : [`note: ${note}`])),
  ].join('\n');
}

/** Three significant digits, without an exponent. */
function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value === 0 || Math.abs(value) >= 1000) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}
