/** What the kernel backend relies on, tried on the distribution's own kernel without any part of ours. */
import assert from 'node:assert/strict';
import { release } from 'node:os';
import { HOST, type Suite, type Trial } from './case.ts';

const ip = (lab: Trial['lab'], ...args: string[]): Promise<string> => lab.ok(HOST, 'ip', args);

async function vrfMovesRoutes({ lab }: Trial): Promise<void> {
  await ip(lab, 'link', 'add', 'red', 'type', 'vrf', 'table', '1001');
  await ip(lab, 'link', 'set', 'red', 'up');
  await ip(lab, 'link', 'add', 'wired', 'type', 'dummy');
  await ip(lab, 'addr', 'add', '10.77.0.1/24', 'dev', 'wired');
  await ip(lab, '-6', 'addr', 'add', 'fd00:77::1/64', 'dev', 'wired', 'nodad');
  await ip(lab, 'link', 'set', 'wired', 'up');
  assert.match(await ip(lab, 'route'), /10\.77\.0\.0\/24/);
  await ip(lab, 'link', 'set', 'wired', 'master', 'red');
  assert.match(await ip(lab, 'route', 'show', 'table', '1001'), /10\.77\.0\.0\/24/);
  assert.doesNotMatch(await ip(lab, 'route'), /10\.77\.0\.0\/24/);
  for (const family of ['-4', '-6']) assert.match(await ip(lab, family, 'rule'), /lookup \[l3mdev-table\]/);
  assert.doesNotMatch(await ip(lab, '-6', 'addr', 'show', 'dev', 'wired'), /fd00:77::1/, 'IPv6 addresses go');
  assert.match(await ip(lab, 'addr', 'show', 'dev', 'wired'), /10\.77\.0\.1/, 'IPv4 addresses stay');
  await ip(lab, 'link', 'del', 'wired');
  await ip(lab, 'link', 'del', 'red');
}

async function kernelHas({ lab }: Trial): Promise<void> {
  await ip(lab, 'link', 'add', 'wg9', 'type', 'wireguard');
  await lab.ok(HOST, 'wg', ['show', 'wg9']);
  await ip(lab, 'link', 'del', 'wg9');
  await ip(lab, 'link', 'add', 'shaped', 'type', 'dummy');
  await lab.ok(HOST, 'tc', ['qdisc', 'add', 'dev', 'shaped', 'root', 'handle', '1:', 'netem', 'delay', '40ms']);
  await lab.ok(HOST, 'tc', 'qdisc add dev shaped parent 1: tbf rate 20mbit burst 32kb latency 60ms'.split(' '));
  await ip(lab, 'link', 'del', 'shaped');
  await lab.ok(HOST, 'ip', ['tuntap', 'add', 'tun9', 'mode', 'tun']);
  await ip(lab, 'link', 'del', 'tun9');
}

async function cgroups({ lab, log }: Trial): Promise<void> {
  log(`Linux ${release()}`);
  const links = await lab.ok(HOST, 'bpftool', ['feature', 'probe', 'kernel']);
  assert.match(links, /program_type cgroup_sock_addr is available/);
  assert.match(links, /map_type lpm_trie is available/);
}

export const facts: Suite = {
  name: 'facts',
  boot: 'plain',
  cases: [
    {
      name: 'kernel-programs',
      title: 'programs of cgroups for addresses of sockets, and longest-match maps, are there',
      run: cgroups,
    },
    { name: 'kernel-devices', title: 'the kernel has WireGuard, TUN, delay and rate limits', run: kernelHas },
    {
      name: 'vrf-moves-routes',
      title: 'enslaving an interface moves its routes to the table of the VRF and takes its IPv6 addresses',
      run: vrfMovesRoutes,
    },
  ],
};
