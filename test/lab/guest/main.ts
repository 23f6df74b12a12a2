/** Runs the cases in the guest, one after the other, and tells each point over the second serial port. */
import { execFileSync } from 'node:child_process';
import { openSync, readFileSync, writeSync } from 'node:fs';
import { Lab } from '../../kit/lab.ts';
import { isWanted, leftoverCase, SUITES } from '../cases.ts';
import { type Point, pointLines } from '../tap.ts';
import { type BootKind, HOST, type Suite, type Trial } from './case.ts';
import { leftovers, snapshot } from './snapshot.ts';

/** An emulated processor is about eight times slower, and this machine may be busy besides. */
const PATIENCE = 6;
const CASE_LIMIT_MS = 180_000;

const words = readFileSync('/proc/cmdline', 'utf8').trim().split(' ');
const word = (key: string): string | undefined =>
  words.find((text) => text.startsWith(`lab.${key}=`))?.slice(key.length + 5);

const boot = word('boot') as BootKind;
const only = (word('only') ?? '').split(',').filter((name) => name !== '');
const port = openSync('/dev/ttyS1', 'w');
let points = 0;

/** Run one case, or the like of one, within its time and tell how it went. */
async function point(name: string, lab: Lab, limitMs: number, body: (trial: Trial) => Promise<void>): Promise<boolean> {
  const at = performance.now();
  const log: string[] = [];
  const figures: Record<string, number> = {};
  const trial: Trial = {
    lab,
    log: (line) => log.push(line),
    figure: (key, value) => {
      figures[key] = value;
    },
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done in ${limitMs / 1000} s`)), limitMs);
  });
  const failure = await Promise.race([body(trial), late]).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  clearTimeout(timer);
  const told: Point = { name, isOk: failure === undefined, seconds: (performance.now() - at) / 1000, log, figures };
  points += 1;
  writeSync(port, pointLines(points, failure === undefined ? told : { ...told, error: failure }));
  return told.isOk;
}

async function runSuite(suite: Suite): Promise<void> {
  const cases = suite.cases.filter((one) => isWanted(only, suite, one));
  if (cases.length === 0) return;
  const observer = new Lab();
  const before = await snapshot(observer);
  const lab = new Lab();
  const silent: Trial = { lab, log: () => undefined, figure: () => undefined };
  let broken: unknown;
  await suite.setup?.(silent).catch((error: unknown) => {
    broken = error;
  });
  for (const { name, limitMs, run } of cases) {
    const why = broken;
    await point(name, lab, limitMs ?? CASE_LIMIT_MS, (trial) => (why === undefined ? run(trial) : Promise.reject(why)));
    if (broken !== undefined) broken = new Error(`the suite "${suite.name}" could not be set up`);
  }
  await point(leftoverCase(suite).name, lab, CASE_LIMIT_MS, async () => {
    const undone = await suite.teardown?.(silent).then(
      () => undefined,
      (error: unknown) => error,
    );
    await lab.close();
    if (undone !== undefined) throw undone;
    const left = await leftovers(observer, before);
    await observer.close();
    if (left.length > 0) throw new Error(left.join('\n'));
  });
}

Lab.patience = PATIENCE;
execFileSync('busybox', ['stty', '-F', '/dev/ttyS1', 'raw']);
// What loading a module adds stays: a device node, a sysctl.
execFileSync('modprobe', ['-a', 'tun', 'vrf', 'wireguard']);
// So does the kernel's rule for VRFs, which it makes with the first one and never again.
execFileSync('ip', ['link', 'add', 'first', 'type', 'vrf', 'table', '1']);
execFileSync('ip', ['link', 'del', 'first']);
// The guest's first namespace gets a name like those a lab makes; naming it changes nothing in it.
execFileSync('ip', ['netns', 'attach', HOST, '1']);
for (const suite of SUITES) if (suite.boot === boot) await runSuite(suite);
