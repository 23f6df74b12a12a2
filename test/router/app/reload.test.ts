import test from 'ava';
import { birdConfigure, Reloader, type ReloadPort } from '../../../router/app/reload.ts';
import type { Config } from '../../../router/config/model.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { until } from '../../bgp/kit/bird.ts';

const CONFIG: Config = {
  file: 'x.yaml',
  backend: 'auto',
  isolation: 'vrf',
  strict: false,
  uplinks: [],
  vrfs: [],
  routes: [],
  policy: { rules: [], groups: [] },
  dns: { servers: [], search: [] },
  source: { v4: undefined, v6: undefined },
  bgp: undefined,
  fpm: undefined,
  birdSocket: undefined,
  loopback: 'kernel',
  bufferBytes: 1,
};
const UPLINK = {
  name: 'a',
  vrf: undefined,
  bandwidth: undefined,
  probe: undefined,
  whenDown: 'reset' as const,
  dns: [],
  host: undefined,
  wireguard: {
    addresses: [],
    mtu: 1420,
    privateKey: new Uint8Array(32),
    listenPort: 0,
    peers: [],
    installRoutes: true,
  },
};

function make(next: () => Config, apply: ReloadPort['apply'] = async () => undefined) {
  const said: string[] = [];
  const log = makeLogger((line) => said.push(`${line.level} ${line.message}`), 'daemon', 'debug');
  const applied: Config[] = [];
  const port: ReloadPort = {
    load: async () => next(),
    apply: async (c, changes) => {
      await apply(c, changes);
      applied.push(c);
    },
  };
  return { reloader: new Reloader(CONFIG, port, log), applied, said };
}

const WITH_UPLINK: Config = { ...CONFIG, uplinks: [UPLINK] };
const OTHER: Config = { ...CONFIG, uplinks: [{ ...UPLINK, name: 'b' }] };

test('a difference is carried out once; without one nothing is', async (t) => {
  const { reloader, applied } = make(() => WITH_UPLINK);
  const first = await reloader.reload({ check: false, confirm_s: 0 });
  t.like(first, { applied: true, reverts_in_s: 0 });
  t.deepEqual(
    first.changes.map((c) => c.path),
    ['uplinks.a'],
  );
  t.deepEqual((await reloader.reload({ check: false, confirm_s: 0 })).changes, []);
  t.deepEqual(applied, [WITH_UPLINK]);
});

test('a check changes nothing', async (t) => {
  const { reloader, applied } = make(() => WITH_UPLINK);
  t.like(await reloader.reload({ check: true, confirm_s: 0 }), { applied: false });
  t.is(reloader.current, CONFIG);
  t.deepEqual(applied, []);
});

test('what needs a new start is refused with its places, and nothing is done', async (t) => {
  const { reloader, applied } = make(() => ({ ...WITH_UPLINK, loopback: 'stack', bufferBytes: 2 }));
  await t.throwsAsync(reloader.reload({ check: false, confirm_s: 0 }), {
    code: 'RELOAD_REFUSED',
    message:
      'cannot change while the router runs: loopback (applications hold sockets that were made by it), buffers (memory is divided at the start)',
  });
  t.deepEqual(applied, []);
});

test('a change that fails leaves the configuration as it was', async (t) => {
  const { reloader } = make(
    () => WITH_UPLINK,
    async () => {
      throw new Error('no');
    },
  );
  await t.throwsAsync(reloader.reload({ check: false, confirm_s: 0 }), { message: 'no' });
  t.is(reloader.current, CONFIG);
});

test('a configuration nobody confirms goes by itself, one that is confirmed stays', async (t) => {
  const { reloader, applied, said } = make(() => WITH_UPLINK);
  await reloader.reload({ check: false, confirm_s: 0.02 });
  t.true(reloader.revertsInS! <= 0.02);
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (applied.length === 2) resolve();
      else setImmediate(look);
    };
    look();
  });
  t.is(applied[1], CONFIG);
  t.true(said.includes('info configuration taken back: nobody confirmed'));
  t.throws(() => reloader.confirm(), { message: 'no configuration waits for a confirmation' });
  await reloader.reload({ check: false, confirm_s: 60 });
  reloader.confirm();
  t.is(reloader.revertsInS, undefined);
  t.is(reloader.current, WITH_UPLINK);
});

test('a reload that finds nothing different leaves a trial alone, and begins none', async (t) => {
  const { reloader, applied } = make(() => WITH_UPLINK);
  await reloader.reload({ check: false, confirm_s: 60 });
  t.is((await reloader.reload({ check: false, confirm_s: 0 })).reverts_in_s, 60, 'and tells of it');
  t.is((await reloader.reload({ check: true, confirm_s: 0 })).reverts_in_s, 60);
  t.is((await reloader.reload({ check: false, confirm_s: 90 })).reverts_in_s, 90, 'more time for the same');
  await reloader.undo('test');
  t.is(reloader.current, CONFIG);
  t.deepEqual(applied, [WITH_UPLINK, CONFIG]);
  const same = make(() => CONFIG);
  t.is((await same.reloader.reload({ check: false, confirm_s: 60 })).reverts_in_s, 0);
  t.is(same.reloader.revertsInS, undefined);
});

/** B is on trial and C is being loaded, until `succeed` or `fail`. */
async function loadingC(trial_s: number, confirm_s: number) {
  let next = WITH_UPLINK;
  let succeed: () => void = () => undefined;
  let fail: (e: Error) => void = () => undefined;
  const held = new Promise<void>((resolve, reject) => {
    succeed = resolve;
    fail = reject;
  });
  const { reloader, applied, said } = make(
    () => next,
    (c) => (c === OTHER ? held : Promise.resolve()),
  );
  await reloader.reload({ check: false, confirm_s: trial_s });
  // Timers of one length fire in the order in which they began: that of the trial has fired when this one does.
  const trialEnds = () => new Promise((resolve) => setTimeout(resolve, trial_s * 1000));
  next = OTHER;
  const loading = reloader.reload({ check: false, confirm_s });
  return { reloader, applied, said, loading, succeed, fail, trialEnds };
}

test('a trial that ends while something else is loaded goes back when that has failed', async (t) => {
  const { reloader, applied, loading, fail, trialEnds } = await loadingC(0.02, 0);
  await trialEnds();
  fail(new Error('no'));
  await t.throwsAsync(loading, { message: 'no' });
  await until(() => applied.length === 2, 'the configuration before', 5000);
  t.is(reloader.current, CONFIG);
});

for (const confirm_s of [0, 60]) {
  const how = confirm_s === 0 ? 'for good' : 'on trial';
  test(`a trial that ends while something else is loaded ${how} takes nothing back when that has succeeded`, async (t) => {
    const { reloader, applied, said, loading, succeed, trialEnds } = await loadingC(0.02, confirm_s);
    await trialEnds();
    succeed();
    t.like(await loading, { applied: true, reverts_in_s: confirm_s });
    await new Promise(setImmediate); // what waited for the end of the load has gone on
    t.deepEqual(applied, [WITH_UPLINK, OTHER]);
    t.is(reloader.current, OTHER);
    t.deepEqual(said, Array(2).fill('info configuration loaded'));
    t.is(reloader.isOnTrial, confirm_s > 0);
    await reloader.undo('test');
    t.is(reloader.current, confirm_s > 0 ? CONFIG : WITH_UPLINK, 'the last that was not on trial, or the last');
  });

  test(`what is confirmed while something else is loaded ${how} is what that goes back to`, async (t) => {
    const { reloader, loading, succeed } = await loadingC(60, confirm_s);
    await new Promise(setImmediate); // C is being applied
    reloader.confirm();
    succeed();
    t.like(await loading, { applied: true, reverts_in_s: confirm_s });
    t.is(reloader.current, OTHER);
    t.is(reloader.isOnTrial, confirm_s > 0, 'the confirmation was not of what was being loaded');
    await reloader.undo('test');
    t.is(reloader.current, WITH_UPLINK);
  });
}

test('what is confirmed while something else is loaded stays when that fails', async (t) => {
  const { reloader, applied, loading, fail, trialEnds } = await loadingC(0.02, 60);
  await trialEnds();
  reloader.confirm();
  fail(new Error('no'));
  await t.throwsAsync(loading, { message: 'no' });
  await new Promise(setImmediate); // what waited for the end of the load has gone on
  t.deepEqual(applied, [WITH_UPLINK]);
  t.false(reloader.isOnTrial);
});

test('a second trial goes back to what was confirmed last', async (t) => {
  let next = WITH_UPLINK;
  const { reloader, applied } = make(() => next);
  await reloader.reload({ check: false, confirm_s: 60 });
  next = OTHER;
  await reloader.reload({ check: false, confirm_s: 60 });
  await reloader.undo('test');
  t.deepEqual(applied, [WITH_UPLINK, OTHER, CONFIG]);
});

test('configure of BIRD does the same in its own words', async (t) => {
  const { reloader } = make(() => WITH_UPLINK);
  const ask = (what: 'load' | 'check' | 'confirm' | 'undo', timeoutS?: number) =>
    birdConfigure(reloader, { kind: 'configure', what, timeoutS });
  t.deepEqual(await ask('check'), [[[2, 'Reading configuration from x.yaml']], [20, 'Configuration OK']]);
  t.deepEqual(await ask('confirm'), [[], [19, 'Nothing to do']]);
  t.deepEqual(await ask('undo'), [[[21, 'Undo requested']], [19, 'Nothing to do']]);
  const reading = [2, 'Reading configuration from x.yaml'];
  t.deepEqual(await ask('load', 60), [
    [reading, [22, 'Undo scheduled in 60 s']],
    [3, 'Reconfigured'],
  ]);
  t.deepEqual(await ask('confirm'), [[], [18, 'Reconfiguration confirmed']]);
  t.deepEqual(await ask('undo'), [[[21, 'Undo requested']], [3, 'Reconfigured']], 'what was confirmed too');
  t.is(reloader.current, CONFIG);
  t.deepEqual(await ask('load'), [[reading], [3, 'Reconfigured']]);
  t.deepEqual(await ask('undo'), [[[21, 'Undo requested']], [3, 'Reconfigured']], 'and what was never on trial');
  t.deepEqual(await ask('undo'), [[[21, 'Undo requested']], [19, 'Nothing to do']]);
});
