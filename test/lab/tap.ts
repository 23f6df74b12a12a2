/** What the guest's cases found, as the TAP lines that leave the guest over its second serial port. */

export interface Point {
  readonly name: string;
  readonly isOk: boolean;
  readonly seconds: number;
  /** What the case said, line by line: figures and other proof. */
  readonly log: readonly string[];
  /** Measurements by name, for benchmarks. */
  readonly figures: Readonly<Record<string, number>>;
  /** Why it failed. */
  readonly error?: string;
}

/** A point with its diagnostics; the YAML block holds one line of JSON, which is YAML. */
export function pointLines(number: number, { name, isOk, ...more }: Point): string {
  return `${isOk ? 'ok' : 'not ok'} ${number} - ${name}\n  ---\n  ${JSON.stringify(more)}\n  ...\n`;
}

/** Reads lines as they come; lines of others (a kernel's last words) are left out. */
export class PointReader {
  #rest = '';
  #open: { name: string; isOk: boolean } | undefined;
  readonly #onPoint: (point: Point) => void;

  constructor(onPoint: (point: Point) => void) {
    this.#onPoint = onPoint;
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line.trimEnd());
  }

  #line(line: string): void {
    const point = /^(not )?ok \d+ - (.*)$/.exec(line);
    if (point !== null) this.#open = { isOk: point[1] === undefined, name: point[2]! };
    else if (this.#open !== undefined && line.startsWith('  {')) {
      this.#onPoint({ ...this.#open, ...(JSON.parse(line) as Omit<Point, 'name' | 'isOk'>) });
      this.#open = undefined;
    }
  }
}
