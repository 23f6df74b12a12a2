import test from 'ava';
import { chooseBackend } from '../../../router/app/backend.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';
import type { HostProbe } from '../../../router/kernel/host-probes.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

function config(more: string): Config {
  const text = `uplinks: { a: { kernel: { interface: eth1 } }, b: { wireguard: { private_key: ${KEY} } } }\n${more}`;
  return parseConfig({ shown: 'x.yaml', path: '/x.yaml', text }, {}).config!;
}

const RULES = 'rules: [{ use: [a, b] }]\n';
const probe = (name: string, isPresent: boolean, isNeeded = true): HostProbe => {
  return { name, isPresent, isNeeded, detail: `about ${name}`, hint: '' };
};
const ALL = async (): Promise<HostProbe[]> => [probe('privileges', true), probe('socket-destroy', false, false)];
const NOTHING = async (): Promise<HostProbe[]> => [probe('privileges', true), probe('vrf-device', false)];
const UNASKED = async (): Promise<HostProbe[]> => {
  throw new Error('the host is not looked at');
};

test('auto takes the kernel where all that is needed is there', async (t) => {
  t.deepEqual(await chooseBackend(config(RULES), false, ALL), { backend: 'kernel', reason: '' });
});

test('auto says what is missing', async (t) => {
  t.deepEqual(await chooseBackend(config(RULES), false, NOTHING), {
    backend: 'userspace',
    reason: 'vrf-device: about vrf-device',
  });
});

test('a demand that is refused says what to do, or what the verifier said of a program', async (t) => {
  const kernel = config('backend: kernel\n');
  const one = { ...probe('vrf-device', false), hint: 'modprobe vrf' };
  const program = { ...probe('program-connect4', false), log: '0: (bf) r6 = r1\nR1 invalid mem access\n' };
  const message = async (p: HostProbe): Promise<string> =>
    (await t.throwsAsync(chooseBackend(kernel, false, async () => [p])))!.message;
  t.is(await message(one), 'backend: kernel: vrf-device: about vrf-device (modprobe vrf)');
  t.is(
    await message(program),
    'backend: kernel: program-connect4: about program-connect4\n0: (bf) r6 = r1\nR1 invalid mem access',
  );
});

test('auto leaves the host alone without rules, for one command, and for what the kernel does not do', async (t) => {
  const reason = async (c: Config, isPrivate = false): Promise<string> =>
    (await chooseBackend(c, isPrivate, UNASKED)).reason;
  t.regex(await reason(config('')), /no rules/);
  t.regex(await reason(config(RULES), true), /for one command/);
  t.regex(await reason(config(`${RULES}loopback: stack\n`)), /loopback/);
});

test('what is asked for is done or refused with the reason', async (t) => {
  const kernel = config('backend: kernel\n');
  t.is((await chooseBackend(kernel, true, ALL)).backend, 'kernel');
  await t.throwsAsync(chooseBackend(kernel, false, NOTHING), {
    code: 'BACKEND_UNAVAILABLE',
    message: 'backend: kernel: vrf-device: about vrf-device',
  });
  t.deepEqual(await chooseBackend(config(`backend: userspace\n${RULES}`), false, UNASKED), {
    backend: 'userspace',
    reason: '',
  });
});
