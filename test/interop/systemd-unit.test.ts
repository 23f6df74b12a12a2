/** docker/systemd/mlshim.service: what the unit forbids is nothing that the router needs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatKey, generatePrivateKey } from '../../wg/keys.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

const UNIT = readFileSync(join(import.meta.dirname, '../../../docker/systemd/mlshim.service'), 'utf8');
const { it } = labTests(Lab.missing('python3'));

/** Runs a program that may make sockets of the families in the first argument only, as systemd does it (seccomp(2)). */
const CONFINED = `
import ctypes, os, platform, socket, struct, sys
NR = {'x86_64': 41, 'aarch64': 198}[platform.machine()]
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EAFNOSUPPORT = 0x7fff0000, 0x00050000 | 97
families = [getattr(socket, name) for name in sys.argv[1].split()]
code = [(LOAD, 0, 0, 0), (IF_EQUAL, 0, len(families) + 2, NR), (LOAD, 0, 0, 16)]
code += [(IF_EQUAL, len(families) - i, 0, family) for i, family in enumerate(families)]
code += [(RETURN, 0, 0, EAFNOSUPPORT), (RETURN, 0, 0, ALLOW)]
octets = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(code), ctypes.addressof(octets))), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
`;

it('with the address families of the unit a router has tunnels and paths of the host', async (t) => {
  const families = /^RestrictAddressFamilies=(.*)$/m.exec(UNIT)![1]!;
  const lab = new Lab();
  try {
    const [host, isp] = [await lab.namespace('a'), await lab.namespace('b')];
    await lab.veth('eth0', host, '192.0.2.1/24', isp, '192.0.2.2/24');
    await lab.host('ip', ['-n', host, 'route', 'add', 'default', 'via', '192.0.2.2']);
    const router = new Router(lab, host);
    const key = formatKey(generatePrivateKey());
    router.write(`uplinks:
  tunnel: { wireguard: { private_key: ${key}, addresses: [10.0.0.1/24] } }
  path: { kernel: { interface: eth0 } }
rules:
  - { use: [tunnel, path] }
`);
    const { words, options } = router.command(['up', '--foreground', '-c', router.config]);
    const daemon = lab.start(host, 'python3', ['-c', CONFINED, families, ...words], options);
    await daemon.until(/ready/);
    const uplinks = await router.json<{ name: string; state: string }[]>('uplink');
    // Nobody is at the other end of the tunnel.
    t.deepEqual(uplinks.map((u) => `${u.name} ${u.state}`).sort(), ['path up', 'tunnel down']);
    t.is(await daemon.stop('SIGTERM'), 0);
  } finally {
    await lab.close();
  }
});
