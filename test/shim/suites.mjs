/**
 * Other projects' test suites under the shim: `npm run suites -- libuv --bin build/uv_run_tests`,
 * `npm run suites -- ltp --dir ltp/testcases/kernel/syscalls`. The suite is built elsewhere, by hand; this runs its network
 * tests one process each against a data plane whose loopback is in our stack and compares with the checked-in list
 * test/shim/suites/NAME.txt of tests that pass. A listed test that fails is an error; lists may only grow.
 *
 * --native      over the kernel instead (what can be reached here)
 * --only REGEX  some tests only
 * --update      write the list anew, keeping what was listed
 * --build DIR   another build than build/
 * --user ID     run as this user (libuv wants an ordinary one: 65534 is the default when started as root)
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** Ends the test that runs now and removes its folder. */
let abandon = () => {};
let router;
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, async () => {
    abandon();
    await router?.stop(); // its worker sleeps in the kernel, where process.exit() cannot reach it
    process.exit(130);
  });

/** Runs a program; resolves to { status, output }, status undefined when it had to be killed. */
function run(program, args, { cwd, env, timeoutMs }) {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    let isLate = false;
    const collect = (b) => {
      if (output.length < 100_000) output += b;
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const killGroup = () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // Already gone.
      }
    };
    abandon = () => {
      killGroup();
      rmSync(env.TMPDIR, { recursive: true, force: true });
    };
    const timer = setTimeout(() => {
      isLate = true;
      killGroup();
    }, timeoutMs);
    child.on('error', (e) => collect(String(e)));
    child.on('exit', (status) => {
      clearTimeout(timer);
      killGroup(); // children a failed test left behind
      done({ status: isLate ? undefined : status, output });
    });
  });
}

const isProgram = (path) => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

const SUITES = {
  libuv: {
    option: 'bin',
    user: 65534,
    async list(bin) {
      const { output } = await run(bin, ['--list'], { env: process.env, timeoutMs: 10_000 });
      // "name   (helpers: ...)"
      const names = output.split('\n').map((line) => line.trim().split(' ')[0]);
      return names.filter((n) => /tcp|udp|getaddr|connect|poll|socket|ping|ipc|listen|interface/.test(n));
    },
    start: (bin, name) => ({ program: bin, args: [name], timeoutMs: 20_000 }),
    verdict: ({ status, output }) => (/# SKIP/.test(output) ? 'skip' : status === 0 ? 'pass' : 'fail'),
  },
  ltp: {
    option: 'dir',
    user: undefined,
    async list(dir) {
      const folders =
        /^(accept4?|bind|connect|epoll_.*|getpeername|getsockname|getsockopt|listen|poll|ppoll|pselect|recv.*|select|send.*|setsockopt|shutdown|socket.*|sockioctl|splice|close_range)$/;
      return readdirSync(dir)
        .filter((f) => folders.test(f) && f !== 'sendfile')
        .flatMap((f) => readdirSync(join(dir, f)).map((p) => `${f}/${p}`))
        .filter((p) => !/\.|Makefile/.test(p) && isProgram(join(dir, p)));
    },
    start: (dir, name) => ({
      program: join(dir, name),
      args: [],
      cwd: dirname(join(dir, name)),
      env: { LTPROOT: resolve(dir, '..', '..', '..'), LTP_COLORIZE_OUTPUT: 'n', KCONFIG_SKIP_CHECK: 'y' },
      timeoutMs: 90_000,
    }),
    // Exit bits: 1 failed, 2 broken, 4 warned, 32 not configured (what was configured may have passed).
    verdict: ({ status }) => (status === 0 || status === 4 ? 'pass' : status === 32 ? 'skip' : 'fail'),
  },
};

function parse(argv) {
  const [name, ...rest] = argv;
  const options = {};
  for (let i = 0; i < rest.length; i++) {
    const key = rest[i].replace(/^--/, '');
    options[key] = ['native', 'update', 'verbose'].includes(key) ? true : rest[++i];
  }
  return { name, options };
}

const { name, options } = parse(process.argv.slice(2));
const suite = SUITES[name];
const where = suite && options[suite.option];
if (where === undefined) {
  console.error(
    'usage: suites libuv --bin PATH | ltp --dir PATH  [--native] [--build DIR] [--only REGEX] [--update] [--user ID] [--verbose]',
  );
  process.exit(2);
}
// Opened first: the user the tests run as may not be allowed to.
const listFd = openSync(join(ROOT, 'test', 'shim', 'suites', `${name}.txt`), options.update ? 'a+' : 'r');
const user = options.user === undefined ? suite.user : Number(options.user);
if (user !== undefined && process.getuid() === 0) {
  process.setgid(user);
  process.setuid(user);
}

const listed = new Set(
  readFileSync(listFd, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#')),
);
const path = resolve(where);
const wanted = new RegExp(options.only ?? '');
const names = (await suite.list(path)).filter((n) => wanted.test(n));

const build = resolve(options.build ?? join(ROOT, 'build'));
const env = { ...process.env };
delete env.MLSHIM_SOCKET;
if (!options.native) {
  const { startDataplane } = await import(join(build, 'test', 'kit', 'dataplane.js'));
  router = await startDataplane();
  env.MLSHIM_SOCKET = router.socket;
  env.LD_PRELOAD = join(build, 'shim', 'libmlshim.so');
}

const counts = { pass: 0, fail: 0, skip: 0 };
const passed = [];
const lost = [];
for (const test of names) {
  const scratch = mkdtempSync(join(tmpdir(), 'mlshim-suite-'));
  const { program, args, cwd, timeoutMs, env: more } = suite.start(path, test);
  const outcome = await run(program, args, {
    cwd: cwd ?? scratch,
    timeoutMs,
    env: { ...env, ...more, TMPDIR: scratch },
  });
  abandon();
  const verdict = suite.verdict(outcome);
  counts[verdict]++;
  if (verdict === 'pass') passed.push(test);
  else if (listed.has(test) && verdict === 'fail') lost.push(test);
  if (verdict === 'fail') {
    console.log(
      `not ok - ${test}${outcome.status === undefined ? ' (timed out)' : ''}${listed.has(test) ? ' # listed' : ''}`,
    );
    if (options.verbose) console.log(outcome.output.replace(/^/gm, '    '));
  } else {
    console.log(`ok - ${test}${verdict === 'skip' ? ' # SKIP' : ''}`);
  }
}
await router?.stop();

const grown = passed.filter((t) => !listed.has(t));
if (options.update) {
  ftruncateSync(listFd);
  const lines = [...new Set([...listed, ...passed])].sort().map(
    (t) => `${t}
`,
  );
  writeSync(listFd, lines.join(''));
} else if (!options.native && grown.length > 0) console.log(`# not in the list yet: ${grown.join(' ')}`);
if (lost.length > 0 && !options.native) console.log(`# in the list but failed: ${lost.join(' ')}`);
console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped`);
process.exitCode = lost.length > 0 && !options.native ? 1 : 0;
