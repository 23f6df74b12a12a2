/** The kernel backend on Debian's own kernel, in a guest: every case there is a test here, which reads its point. */
import test from 'ava';
import { BOOTS, listed } from './cases.ts';
import { missing } from './qemu.ts';
import { bootAll, GuestRun } from './run.ts';
import type { Point } from './tap.ts';

const LISTED = BOOTS.flatMap((kind) => listed(kind));
const reason = await missing();

/** A point for each case: what the guest tells of it, or why it never told. */
class Board {
  readonly #points = new Map<string, Promise<Point>>();
  readonly #tell = new Map<string, (point: Point) => void>();

  constructor(names: readonly string[]) {
    for (const name of names) this.#points.set(name, new Promise((resolve) => this.#tell.set(name, resolve)));
  }

  tell(point: Point): void {
    this.#tell.get(point.name)?.(point);
  }

  /** Cases that have told nothing so far never will. */
  close(names: readonly string[], why: string): void {
    for (const name of names)
      this.tell({ name, isOk: false, seconds: 0, log: [], figures: {}, error: `did not run: ${why}` });
  }

  get(name: string): Promise<Point> {
    return this.#points.get(name)!;
  }
}

const board = new Board(LISTED.map(({ name }) => name));
const said: string[] = [];
let guest: GuestRun | undefined;
let ended: Promise<void> | undefined;

async function runAll(): Promise<void> {
  try {
    const run = await GuestRun.prepare({ kernel: 'stock', only: [], say: (line) => said.push(line) });
    guest = run;
    await bootAll(BOOTS, async (kind) => {
      await run.boot(kind, (point) => board.tell(point));
      const names = listed(kind).map(({ name }) => name);
      board.close(names, `the guest ended before:\n${run.lastWords(kind)}`);
    });
  } catch (error) {
    board.close(
      LISTED.map(({ name }) => name),
      error instanceof Error ? error.message : String(error),
    );
    throw error;
  } finally {
    guest?.close();
  }
}

if (reason === undefined) {
  test.before('boot the guest', () => {
    ended = runAll();
    ended.catch(() => undefined);
  });
  test.after.always('end the guest', () => guest?.close());
}

for (const { name, title } of LISTED) {
  if (reason !== undefined) {
    test.skip(`${title} (${reason})`, (t) => t.pass());
    continue;
  }
  test.serial(title, async (t) => {
    const { isOk, seconds, log, error } = await board.get(name);
    t.log(`${name}, ${seconds.toFixed(1)} s`);
    for (const line of log) t.log(line);
    t.true(isOk, error);
  });
}

if (reason === undefined)
  test.serial('the guest is built, boots and ends by itself', async (t) => {
    await ended;
    for (const line of said) t.log(line);
    t.pass();
  });
