import test from 'ava';
import { memlockOf } from '../../../router/kernel/host-probes.ts';

const limits = (soft: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 1048576              files
Max locked memory         ${soft.padEnd(20)} unlimited            bytes
`;

test('locked memory matters before Linux 5.11, and only where it cannot be raised', (t) => {
  t.true(memlockOf('5.11.0', limits('65536'), false).isEnough);
  t.true(memlockOf('6.1.0-56-cloud-amd64', limits('65536'), false).isEnough);
  t.true(memlockOf('5.10.0-33-amd64', limits('unlimited'), false).isEnough);
  t.true(memlockOf('5.10.0-33-amd64', limits('65536'), true).isEnough);
  t.true(memlockOf('5.10.0', limits(String(128 << 20)), false).isEnough);
  t.deepEqual(memlockOf('5.10.0-33-amd64', limits('8388608'), false), {
    isEnough: false,
    detail: '8192 KiB of memory may be locked, and maps of programs count before Linux 5.11',
  });
});
