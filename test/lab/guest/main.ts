/** Runs the cases in the guest, one after the other, and tells each point over the second serial port. */
import { execFileSync } from 'node:child_process';
import { openSync, readFileSync, writeSync } from 'node:fs';
import { Lab } from '../../kit/lab.ts';
import { isWanted, leftoverCase, SUITES } from '../cases.ts';
import { type Point, pointLines } from '../tap.ts';
import { type BootKind, HOST, type Suite, type Trial } from './case.ts';
import { differences, snapshot } from './snapshot.ts';

const CASE_LIMIT_MS = 60_000;
const SETTLE_MS = 5_000;

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
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done in ${limitMs / 1000} s`)), limitMs);
  });
  const failure = await Promise.race([body({ lab, log: (line) => log.push(line) }), late]).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  clearTimeout(timer);
  const told: Point = { name, isOk: failure === undefined, seconds: (performance.now() - at) / 1000, log };
  points += 1;
  writeSync(port, pointLines(points, failure === undefined ? told : { ...told, error: failure }));
  return told.isOk;
}

async function runSuite(suite: Suite): Promise<void> {
  const cases = suite.cases.filter((one) => isWanted(only, suite, one));
  if (cases.length === 0) return;
  const before = await snapshot();
  const lab = new Lab();
  const silent: Trial = { lab, log: () => undefined };
  let broken: unknown;
  await suite.setup?.(silent).catch((error: unknown) => {
    broken = error;
  });
  for (const { name, limitMs, run } of cases)
    await point(name, lab, limitMs ?? CASE_LIMIT_MS, (trial) =>
      broken === undefined ? run(trial) : Promise.reject(broken),
    );
  await point(leftoverCase(suite).name, lab, CASE_LIMIT_MS, async () => {
    const undone = await suite.teardown?.(silent).then(
      () => undefined,
      (error: unknown) => error,
    );
    await lab.close();
    if (undone !== undefined) throw undone;
    // The kernel takes links of a removed namespace away in its own time.
    let left: readonly string[] = [];
    const isAsBefore = async (): Promise<boolean> => (left = differences(before, await snapshot())).length === 0;
    await lab.eventually('as before', isAsBefore, SETTLE_MS).catch(() => {
      throw new Error(left.join('\n'));
    });
  });
}

execFileSync('busybox', ['stty', '-F', '/dev/ttyS1', 'raw']);
// What loading a module adds stays: a device node, a sysctl.
execFileSync('modprobe', ['-a', 'tun', 'vrf', 'wireguard']);
// The guest's first namespace gets a name like those a lab makes; naming it changes nothing in it.
execFileSync('ip', ['netns', 'attach', HOST, '1']);
for (const suite of SUITES) if (suite.boot === boot) await runSuite(suite);
